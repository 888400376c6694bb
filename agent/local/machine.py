"""One machine's deployment, part by part: what is brought along, and what is the user's own.

The parts are stopped in the order in which they need each other: the worker ends its sessions and
ships them while Postgres still runs.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from agent.local import livekit_server, loopback, page, parts, postgres, processes
from agent.local.interrupts import Interrupts
from agent.local.livekit_server import Credentials, LiveKitServer
from agent.local.parts import Environment, Part
from agent.local.postgres import Postgres
from agent.local.processes import Child, ChildDiedError, Children
from agent.local.screen import Screen
from agent.local.supervision import Supervision
from agent.settings import Settings, secret
from persistence import migrate

WORKER_STOP_SECONDS = 120.0
"""For sessions to end and to be shipped; within it `COACH_SHIP_SECONDS` may wait for Postgres."""
API_STOP_SECONDS = 15.0
PAGE_SECONDS = 600.0
"""For the page to be built; 10 to 30 as a rule, most of it the download."""
STOPPED_WELL = (0, -signal.SIGTERM)
"""How a worker ends that leaves nothing undone: one that was told before it could listen has begun
nothing."""


class PartLostError(Exception):
    """A part without which the others cannot go on has ended."""


class PortTakenError(Exception):
    """The port that was asked for is taken."""


class Machine:
    """The parts of one `coach up`; each `start_…` says what it did."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        screen: Screen,
        interrupts: Interrupts,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self.settings = settings
        self._folder = folder
        self.screen = screen
        self.interrupts = interrupts
        self._proxied = parts.proxied(environment)
        self._environment: Environment = parts.environment(settings, environment)
        self._lacking = parts.missing(settings)
        self._children = Children(folder)
        self._supervision = Supervision(self._children, screen, interrupts)
        self._postgres: Postgres | None = None
        self._livekit: LiveKitServer | None = None
        self._page_build: Child | None = None
        self._stopped_first: list[Part] = []
        self._stand_in: Part | None = None
        self._port_is_asked = False

    def end_orphans(self) -> None:
        """End what an earlier run left."""
        orphans = self._children.end_orphans()
        if orphans:
            self.screen.note("earlier run", f"was killed; ended what it left: {_listed(orphans)}")

    def api_port(self, asked: int | None) -> int:
        """Return the port for the API: that of the user, else the usual one or a free one.

        Raises PortTakenError for one that the user wants.
        """
        port = self.settings.api_port if asked is None else asked
        chosen = asked is not None or "api_port" in self.settings.model_fields_set
        self._port_is_asked = chosen and port != 0
        if port and loopback.is_free(port):
            return port
        if self._port_is_asked:
            raise PortTakenError(
                f"port {port} of {loopback.HOST} is taken: name another, or 0 for a free one"
            )
        return loopback.free_port()

    def begin_page(self) -> None:
        """Build the page if it is not there, beside everything else."""
        if page.can_be_built() and not page.is_current():
            command = parts.command("agent.local.page")
            self._page_build = self._children.spawn("page", command, os.environ)

    def await_page(self) -> None:
        """Return when the page is built, or cannot be: then everything else goes on without."""
        build, why = self._page_build, "this package came without it"
        if build is not None:
            try:
                with self.screen.working("page", "building"):
                    processes.finish(build, PAGE_SECONDS, self.interrupts.pause)
                self.screen.did("page", "built")
            except ChildDiedError:
                why = f"{' '.join(build.tail(1))}: see {build.log}"
            self._end_page_build()
        if not page.is_current() and page.can_be_built() and page.is_there():
            self.screen.note("page", f"is an older one; the new one could not be built: {why}")
        elif not page.is_there():
            self.screen.note("page", f"missing, everything else works: {why}")

    def start_postgres(self) -> None:
        """Start Postgres, unless there is one, and bring its schema up to date."""
        if self._lacking.postgres:
            data = postgres.data_dir(self._folder.parent)
            with self.screen.working("Postgres", "starting"):
                self._postgres = postgres.start(data)
            self._environment["DATABASE_URL"] = self._postgres.url
            self.screen.did("Postgres", f"started, data in {data}")
        else:
            self.screen.did("Postgres", "yours (DATABASE_URL)")
        self.interrupts.check()
        with self.screen.working("schema", "migrating"):
            migrate.upgrade(self.database_url)
        self.screen.did("schema", "up to date")
        self.interrupts.check()

    def start_livekit(self) -> None:
        """Start a LiveKit server, unless there is one; the first time it is built."""
        if not self._lacking.livekit:
            self.screen.did("LiveKit", f"yours (LIVEKIT_URL), {self.livekit_url}")
            return
        binary = livekit_server.find() or self._built_livekit()
        credentials = livekit_server.credentials(self._folder)
        pause = self.interrupts.pause
        with self.screen.working("LiveKit", "starting"):
            self._livekit = livekit_server.start(self._children, binary, credentials, pause=pause)
        self._environment |= {
            "LIVEKIT_URL": self._livekit.url,
            "LIVEKIT_API_KEY": credentials.key,
            "LIVEKIT_API_SECRET": credentials.secret,
        }
        self.screen.did("LiveKit", f"started {binary} on {self.livekit_url}")

    def begin_providers(self) -> None:
        """Start the stand-in for the providers whose key is missing, and do not wait for it."""
        if not self._lacking.providers:
            return
        port = str(loopback.free_port())
        program = ["agent.local.providers", "--port", port, "--brain", "offline"]
        self._stand_in = Part(
            "providers",
            lambda: self._children.spawn("providers", parts.command(*program), self._environment),
            lambda child: parts.stand_in_urls(child) is not None,
            stop_seconds=5,
        )
        self._supervision.begin(self._stand_in)

    def await_providers(self) -> None:
        """Say whose speech and answers are used; return when they can be."""
        lacking = {"Deepgram": self._lacking.deepgram, "OpenAI": self._lacking.openai}
        with_keys = [name for name in lacking if not lacking[name]]
        if with_keys:
            self.screen.did("providers", f"{_listed(with_keys)}, with your keys")
        if with_keys and self._proxied and (self._stand_in or self._lacking.livekit):
            self.screen.note("providers", "are called without your proxy: local parts need that")
        if self._stand_in is None:
            return
        urls = parts.stand_in_urls(self._supervision.await_ready(self._stand_in)) or {}
        self._environment |= parts.stand_in_environment(urls, self._lacking)
        self.screen.note(
            "providers",
            f"no key for {_listed([name for name in lacking if lacking[name]])}: what would be "
            "theirs comes from an offline stand-in. It hears roughly, speaks like a machine and "
            "answers from a small script",
        )

    def start_api_and_worker(self, port: int) -> str:
        """Start both at once, since each takes seconds; return the API's URL."""
        worker = self._part("worker", "start", {}, parts.worker_registered, WORKER_STOP_SECONDS)
        self._begin(worker)
        url = f"http://{loopback.HOST}:{self._start_api(port)}/"
        self.screen.did("api", f"started on {url}")
        self._supervision.await_ready(worker)
        self.screen.did("worker", f"started, takes calls for agent {self.settings.agent_name!r}")
        return url

    def look_after(self) -> None:
        """Restart what died; raises PartLostError or ChildDiedError where that does not help."""
        if self._postgres is not None and not self._postgres.running():
            raise PartLostError(f"Postgres has ended, see {self._postgres.data_dir / 'log'}")
        if self._livekit is not None and not self._livekit.child.running():
            raise ChildDiedError(self._livekit.child)
        self._supervision.look_after()

    def stop(self) -> bool:
        """Stop everything in order; return whether all that was said is in Postgres."""
        shipped = True
        self._end_page_build()
        for part in self._stopped_first:
            child = self._supervision.stop(part)
            code = child.process.returncode if child is not None else 0
            if part.name == "worker" and child is not None and code not in STOPPED_WELL:
                shipped = False
                self.screen.note("worker", str(ChildDiedError(child)))
                self.screen.note("worker", "what is not in Postgres yet is kept on disk")
        if self._livekit is not None:
            livekit_server.stop(self._children, self._livekit)
            self.screen.did("LiveKit", "stopped")
        if self._stand_in is not None:
            self._supervision.stop(self._stand_in)
        if self._postgres is not None:
            with self.screen.working("Postgres", "stopping"):
                self._postgres.stop()
            self.screen.did("Postgres", "stopped")
        return shipped

    @property
    def database_url(self) -> str:
        url = self.settings.database_url
        return self._environment["DATABASE_URL"] if url is None else url.get_secret_value()

    @property
    def livekit_url(self) -> str:
        return self._livekit.url if self._livekit else self.settings.livekit_url or ""

    @property
    def livekit_credentials(self) -> Credentials:
        if self._livekit is not None:
            return self._livekit.credentials
        given = self.settings
        return Credentials(given.livekit_api_key or "", secret(given.livekit_api_secret))

    def _end_page_build(self) -> None:
        build, self._page_build = self._page_build, None
        if build is not None:
            self._children.stop(build, deadline=0)

    def _built_livekit(self) -> Path:
        self.screen.note("LiveKit", f"building {livekit_server.VERSION}, once for this machine")
        with self.screen.working("LiveKit", "building") as report:
            return livekit_server.find_or_build(self._children, report, self.interrupts.pause)

    def _start_api(self, port: int) -> int:
        """Start the API on `port`, or on another if that was taken meanwhile; return which."""
        given = {"COACH_API_HOST": loopback.HOST, "COACH_API_PORT": str(port)}
        api = self._part("api", "api", given, parts.api_serves, API_STOP_SECONDS)
        self._begin(api)
        try:
            self._supervision.await_ready(api)
        except ChildDiedError:
            if self._port_is_asked or loopback.is_free(port):
                raise
            self._stopped_first.remove(api)
            self._supervision.give_up(api)
            return self._start_api(loopback.free_port())
        return port

    def _begin(self, part: Part) -> None:
        self._stopped_first.append(part)
        self._supervision.begin(part)

    def _part(
        self, name: str, command: str, more: Environment, ready: parts.Ready, stop_seconds: float
    ) -> Part:
        def spawn() -> Child:
            return self._children.spawn(
                name, parts.command("agent.cli", command), self._environment | more
            )

        return Part(name, spawn, ready, stop_seconds)


def _listed(names: list[str]) -> str:
    return " and ".join(names) if len(names) < 3 else ", ".join(names)  # noqa: PLR2004

"""A real fault proxy for one machine: Toxiproxy, found on PATH or built once, and its HTTP API.

A proxy stands between a client and a server of this machine and does to their traffic what its
toxics say. What Toxiproxy acknowledges on TCP it may still swallow: a black hole here is one that
no TCP time-out notices, as behind a load balancer whose backend hangs.
"""

from __future__ import annotations

import contextlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from agent.local import loopback, processes
from agent.local.go_programs import GoProgram
from agent.local.loopback import HOST
from agent.local.processes import Child, Children, Pause

PROGRAM = GoProgram(
    "Toxiproxy",
    "toxiproxy-server",
    "github.com/Shopify/toxiproxy/v2/cmd/server",
    "v2.12.0",
    go_needed=(1, 23),
)
START_DEADLINE = 20.0
STOP_DEADLINE = 3.0
CALL_DEADLINE = 5.0
"""Seconds that one call of the API may take."""
OK = 200

Stream = Literal["upstream", "downstream"]
"""To the server, or from it."""


class ToxiproxyError(Exception):
    """Toxiproxy refused a call."""


@dataclass(frozen=True)
class Toxic:
    """What is done to one direction of a proxy's connections, those that are open included."""

    type: str
    attributes: dict[str, int] = field(default_factory=dict)
    stream: Stream = "downstream"


def latency(seconds: float, jitter: float = 0.0, stream: Stream = "downstream") -> Toxic:
    """Everything comes later, by `seconds` ± `jitter`; nothing is lost when it ends."""
    return Toxic("latency", {"latency": _ms(seconds), "jitter": _ms(jitter)}, stream)


def black_hole(stream: Stream = "downstream") -> Toxic:
    """Everything is swallowed and nothing closed; when it ends, its connections close."""
    return Toxic("timeout", {"timeout": 0}, stream)


def reset_peer(after: float = 0.0, stream: Stream = "downstream") -> Toxic:
    """Connections end `after` seconds after they carry something; those opened meanwhile by RST."""
    return Toxic("reset_peer", {"timeout": _ms(after)}, stream)


def slow_close(seconds: float, stream: Stream = "downstream") -> Toxic:
    """The other side learns `seconds` late that a connection was closed."""
    return Toxic("slow_close", {"delay": _ms(seconds)}, stream)


def bandwidth(kilobytes: int, stream: Stream = "downstream") -> Toxic:
    """No more than so many kilobytes a second come through."""
    return Toxic("bandwidth", {"rate": kilobytes}, stream)


def limit_data(bytes_: int, stream: Stream = "downstream") -> Toxic:
    """Each connection closes after so many bytes, the last message cut where that is."""
    return Toxic("limit_data", {"bytes": bytes_}, stream)


@dataclass(frozen=True)
class Toxiproxy:
    """A server that answers; made by `start`, ended by `stop`."""

    child: Child
    port: int
    """Of its HTTP API, on the loopback interface."""

    def proxy(self, name: str, upstream_port: int) -> Proxy:
        """Make a proxy named `name`, on a free port, to a server of this machine."""
        made = self.call(
            "POST",
            "/proxies",
            {"name": name, "listen": f"{HOST}:0", "upstream": f"{HOST}:{upstream_port}"},
        )
        return Proxy(self, name, int(made["listen"].rpartition(":")[2]))

    def reset(self) -> None:
        """Enable all proxies, without toxics."""
        self.call("POST", "/reset")

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Return what the API answers; raises ToxiproxyError with what it refuses."""
        data = None if body is None else json.dumps(body).encode()
        url = f"http://{HOST}:{self.port}{path}"
        request = urllib.request.Request(url, data, method=method)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(request, timeout=CALL_DEADLINE) as response:
                return json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace").strip()
            raise ToxiproxyError(f"{method} {path}: {said}") from None
        except OSError as error:
            raise ToxiproxyError(f"{method} {path}: {error}") from None


@dataclass(frozen=True)
class Proxy:
    """One way to one server; its calls raise ToxiproxyError."""

    server: Toxiproxy
    name: str
    port: int
    """Where it listens, on the loopback interface."""

    def add(self, toxic: Toxic) -> str:
        """Let `toxic` happen from now on; return its name, for `remove`."""
        body = {"type": toxic.type, "stream": toxic.stream, "attributes": toxic.attributes}
        body["name"] = f"{toxic.type}_{toxic.stream}"
        return str(self.server.call("POST", f"/proxies/{self.name}/toxics", body)["name"])

    def remove(self, toxic: str) -> None:
        """End the toxic of that name."""
        self.server.call("DELETE", f"/proxies/{self.name}/toxics/{toxic}")

    def heal(self) -> None:
        """Enable it and end all its toxics."""
        self.enable()
        for toxic in self.server.call("GET", f"/proxies/{self.name}/toxics"):
            self.remove(toxic["name"])

    def disable(self) -> None:
        """Close all its connections and accept none: connections are refused."""
        self.server.call("PATCH", f"/proxies/{self.name}", {"enabled": False})

    def enable(self) -> None:
        """Listen, on the same port."""
        self.server.call("PATCH", f"/proxies/{self.name}", {"enabled": True})

    def delete(self) -> None:
        """Be gone."""
        self.server.call("DELETE", f"/proxies/{self.name}")

    @contextlib.contextmanager
    def hurt(self, *toxics: Toxic) -> Iterator[None]:
        """Let `toxics` happen for the block's time."""
        names = [self.add(toxic) for toxic in toxics]
        try:
            yield
        finally:
            for name in names:
                self.remove(name)


def start(children: Children, binary: Path, pause: Pause = processes.pause) -> Toxiproxy:
    """Start `binary` on a free port of the loopback interface and wait until it answers.

    Raises ChildDiedError.
    """
    command = [str(binary), "-host", HOST, "-port", "0"]
    child = children.spawn("toxiproxy-server", command, {**os.environ, "LOG_LEVEL": "warn"})

    def ready() -> bool:
        port = _listens_at(child)
        return port is not None and loopback.status(port, "/version") == OK

    try:
        processes.wait_until(ready, child, START_DEADLINE, pause)
    except BaseException:
        children.stop(child, deadline=1)
        raise
    port = _listens_at(child)
    if port is None:
        raise processes.ChildDiedError(child)
    return Toxiproxy(child, port)


def stop(children: Children, server: Toxiproxy, pause: Pause = processes.pause) -> None:
    """Stop `server`: connections through it close."""
    children.stop(server.child, STOP_DEADLINE, pause)


def _listens_at(child: Child) -> int | None:
    """Return the port that `child` was given; the API does not say which it is."""
    try:
        connections = psutil.Process(child.process.pid).net_connections("tcp")
    except psutil.Error:
        return None
    ports = [c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN]
    return int(ports[0]) if ports else None


def _ms(seconds: float) -> int:
    return round(seconds * 1000)

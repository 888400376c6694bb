"""The fault proxy: what each toxic does to a connection, as a client of this machine feels it."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.local import toxiproxy
from agent.local.processes import ChildDiedError, Children
from agent.local.toxiproxy import Proxy, Toxiproxy, ToxiproxyError

SILENCE = 0.3


class Echo(socketserver.BaseRequestHandler):
    """Says back whatever it is told."""

    def handle(self) -> None:
        while said := self.request.recv(1024):
            self.request.sendall(said)


@pytest.fixture
def proxy(toxiproxy_server: Toxiproxy) -> Iterator[Proxy]:
    """A proxy before a server that echoes."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as echo:
        echo.daemon_threads = True
        threading.Thread(target=echo.serve_forever, daemon=True).start()
        made = toxiproxy_server.proxy("echo", echo.server_address[1])
        yield made
        made.delete()
        echo.shutdown()


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def echoed(connection: socket.socket, said: bytes = b"hello") -> bytes:
    connection.sendall(said)
    return connection.recv(1024)


def test_it_passes_on_what_is_said(proxy: Proxy) -> None:
    with connected(proxy) as connection:
        assert echoed(connection) == b"hello"


def test_it_listens_on_the_loopback_interface_alone(
    toxiproxy_server: Toxiproxy, proxy: Proxy
) -> None:
    assert toxiproxy_server.port != proxy.port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", proxy.port), timeout=1)


def test_latency_delays_and_loses_nothing(proxy: Proxy) -> None:
    with connected(proxy) as connection, proxy.hurt(toxiproxy.latency(0.2)):
        before = time.monotonic()
        assert echoed(connection) == b"hello"
        assert time.monotonic() - before >= 0.19


def test_a_black_hole_swallows_and_closes_only_at_its_end(proxy: Proxy) -> None:
    with connected(proxy) as connection:
        with proxy.hurt(toxiproxy.black_hole()):
            connection.sendall(b"hello")
            connection.settimeout(SILENCE)
            with pytest.raises(TimeoutError):
                connection.recv(1024)
        connection.settimeout(5)
        assert connection.recv(1024) == b""
    with connected(proxy) as connection:
        assert echoed(connection) == b"hello"


def test_a_reset_is_a_reset(proxy: Proxy) -> None:
    with (
        proxy.hurt(toxiproxy.reset_peer()),
        connected(proxy) as connection,
        pytest.raises(ConnectionResetError),
    ):
        echoed(connection)
    with connected(proxy) as connection:
        assert echoed(connection) == b"hello"
        with proxy.hurt(toxiproxy.reset_peer()):
            assert echoed(connection) == b""


def test_limited_data_is_cut_and_the_connection_closed(proxy: Proxy) -> None:
    with proxy.hurt(toxiproxy.limit_data(3)), connected(proxy) as connection:
        assert echoed(connection) == b"hel"
        assert connection.recv(1024) == b""


def test_a_disabled_proxy_refuses_and_an_enabled_one_listens_where_it_did(proxy: Proxy) -> None:
    with connected(proxy) as connection:
        assert echoed(connection) == b"hello"
        proxy.disable()
        assert connection.recv(1024) == b""
    with pytest.raises(ConnectionRefusedError):
        connected(proxy)
    proxy.enable()
    with connected(proxy) as connection:
        assert echoed(connection) == b"hello"


def test_healing_ends_every_toxic_and_enables(proxy: Proxy) -> None:
    proxy.add(toxiproxy.slow_close(60))
    proxy.add(toxiproxy.bandwidth(1))
    proxy.add(toxiproxy.black_hole("upstream"))
    proxy.disable()
    proxy.heal()
    with connected(proxy) as connection:
        assert echoed(connection) == b"hello"


def test_reset_ends_the_toxics_of_all_proxies(toxiproxy_server: Toxiproxy, proxy: Proxy) -> None:
    proxy.add(toxiproxy.black_hole())
    toxiproxy_server.reset()
    with connected(proxy) as connection:
        assert echoed(connection) == b"hello"


def test_what_is_refused_says_why(proxy: Proxy) -> None:
    with pytest.raises(ToxiproxyError, match="toxic not found"):
        proxy.remove("nothing")


def test_a_proxy_that_does_not_start_is_reported(tmp_path: Path) -> None:
    program = tmp_path / "toxiproxy-server"
    program.write_text("#!/bin/sh\necho bad; exit 1\n")
    program.chmod(0o755)
    with pytest.raises(ChildDiedError, match="bad"):
        toxiproxy.start(Children(tmp_path), program)

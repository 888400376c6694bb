"""What local parts share: the loopback interface, its free ports, and who answers there."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request

HOST = "127.0.0.1"
PROBE_DEADLINE = 1.0
"""Seconds that a local server has for an answer."""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port of the loopback interface that is free now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Return whether a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def status(port: int, path: str = "/", token: str | None = None) -> int | None:
    """Return the HTTP status of `path` at the local `port`, None while nobody answers.

    It is asked for with GET; with a bearer `token`, by POST of an empty JSON object.
    """
    request = urllib.request.Request(f"http://{HOST}:{port}{path}")
    if token is not None:
        request.data = b"{}"
        request.add_header("Authorization", f"Bearer {token}")
        request.add_header("Content-Type", "application/json")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=PROBE_DEADLINE) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None

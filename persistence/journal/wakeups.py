"""Wake-ups from the jobs to the shipper: a datagram after each commit.

It names the session, and how many bytes of its journal are durable: `<uuid> <bytes>`. They only
save time. One that is lost or never received costs nothing but the wait until the shipper's next
poll, so nothing here raises for the network's sake.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import os
import socket
import tempfile
import time
from pathlib import Path
from uuid import NAMESPACE_OID, UUID, uuid5

import structlog

from persistence.disk import FILE_MODE

_SUN_PATH_BYTES = 100
"""sockaddr_un takes 108 bytes on Linux and 104 on macOS, with the closing NUL."""
_DATAGRAM_BYTES = 64
_AGAIN_SECONDS, _NO_MORE_SECONDS = 0.005, 0.5
"""After a wake-up that found the shipper's queue full; doubled each time, up to where the shipper
looks by itself: a thousand sessions that all keep knocking would take it the time to answer."""

log = structlog.get_logger("coach.journal")


def wake_address(folder: Path) -> Path:
    """Return where the shipper of `folder` listens: inside it, or in the temp folder if too long.

    The same for every process that names the same folder.
    """
    resolved = folder.resolve()
    inside = resolved / "wake.sock"
    if len(os.fsencode(inside)) <= _SUN_PATH_BYTES:
        return inside
    name = uuid5(NAMESPACE_OID, os.fspath(resolved))
    return Path(tempfile.gettempdir()) / f"voice-coach-{name}.sock"


class Waker:
    """A job's side: tells the shipper of `folder` that `session_id` has something new."""

    def __init__(self, folder: Path, session_id: UUID) -> None:
        self._address = os.fspath(wake_address(folder))
        self._session_id = session_id
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def wake(self, durable: int) -> bool:
        """Say that `durable` bytes are; False if the queue is full and it should be said again."""
        try:
            self._socket.sendto(f"{self._session_id} {durable}".encode(), self._address)
        except OSError as error:
            return error.errno not in (errno.EAGAIN, errno.ENOBUFS)
        return True

    def close(self) -> None:
        self._socket.close()


class Knocks:
    """When a job wakes its shipper: at each commit, and again where that found the queue full.

    Not thread-safe, and without a socket until the first one.
    """

    def __init__(self, folder: Path, session_id: UUID) -> None:
        self._folder = folder
        self._session_id = session_id
        self._waker: Waker | None = None
        self._pause = _AGAIN_SECONDS
        self.again_at = math.inf
        """By the monotonic clock."""

    def knock(self, durable: int) -> None:
        """Say that `durable` bytes are, or when it is to be said again."""
        heard = True
        with contextlib.suppress(OSError):  # no socket to be had: the shipper polls besides
            self._waker = self._waker or Waker(self._folder, self._session_id)
            heard = self._waker.wake(durable)
        if heard or self._pause >= _NO_MORE_SECONDS:
            self.again_at, self._pause = math.inf, _AGAIN_SECONDS
        else:
            self.again_at = time.monotonic() + self._pause
            self._pause *= 2

    def close(self) -> None:
        if self._waker is not None:
            self._waker.close()


class Wakeups:
    """The shipper's side, on its event loop. Where it cannot listen, it only waits."""

    def __init__(self, folder: Path) -> None:
        self._address = wake_address(folder)
        self._socket = _listen(self._address)

    async def wait(self, timeout: float) -> dict[UUID, int]:  # noqa: ASYNC109  # no error: empty
        """Return the sessions woken since the last call, each with how many bytes are durable.

        Waits up to `timeout` seconds for one.
        """
        woken = self._received()
        if woken or self._socket is None:
            await asyncio.sleep(0 if woken else timeout)
            return woken
        readable = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, readable.set)
        try:
            async with asyncio.timeout(timeout):
                await readable.wait()
        except TimeoutError:
            return {}
        finally:
            loop.remove_reader(self._socket)
        return self._received()

    def _received(self) -> dict[UUID, int]:
        woken: dict[UUID, int] = {}
        while self._socket is not None:
            try:
                datagram = self._socket.recv(_DATAGRAM_BYTES)
            except OSError:
                break
            with contextlib.suppress(ValueError):
                session_id, _, durable = datagram.decode("ascii", "replace").partition(" ")
                woken[UUID(session_id)] = int(durable)
        return woken

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            with contextlib.suppress(OSError):
                self._address.unlink()


def _listen(address: Path) -> socket.socket | None:
    """Bind `address`, over a stale one of a worker that was killed; None where that fails."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.setblocking(False)
    try:
        address.unlink(missing_ok=True)
        listener.bind(os.fspath(address))
        address.chmod(FILE_MODE)
    except OSError as error:
        listener.close()
        log.warning("wakeups_unavailable", error=errno.errorcode.get(error.errno or 0, "unknown"))
        return None
    return listener

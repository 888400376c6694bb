"""A shipper and its lease, as a process: `shipper_process.py <journal folder> <database url>`.

Sessions and shipper share no event loop in production; in the bench they do not either.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from psycopg import AsyncConnection

from persistence.liveness import Lease
from persistence.shipper import Shipper


async def _nothing(_db: AsyncConnection[Any], _session_ids: Sequence[UUID]) -> None:
    """Defer no job: what follows a session is no part of any figure."""


async def _ship(folder: Path, url: str) -> None:
    worker_id = uuid4()
    shipper = Shipper([folder], url, worker_id, _nothing)
    lease = Lease(url, worker_id, seconds=60, renewal_seconds=10, lapsed=shipper.reassert)
    renewing = asyncio.create_task(lease.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, shipper.stop)
    try:
        await shipper.run()
    finally:
        renewing.cancel()
        await asyncio.wait([renewing])


if __name__ == "__main__":
    asyncio.run(_ship(Path(sys.argv[1]), sys.argv[2]))

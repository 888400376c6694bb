from __future__ import annotations

import asyncio
import gc
import logging

import pytest
from forgotten import forgotten


async def _fail() -> None:
    raise LookupError("purple heron")


async def test_a_failure_that_nobody_awaited_is_told_with_its_traceback() -> None:
    task = asyncio.create_task(_fail())
    await asyncio.wait([task])
    del task
    gc.collect()
    (told,) = forgotten.told()
    assert told.startswith("Task exception was never retrieved")
    assert "in _fail" in told
    assert "LookupError: purple heron" in told
    assert not forgotten.told()


async def test_a_future_that_failed_for_nobody_is_told() -> None:
    asyncio.get_running_loop().create_future().set_exception(LookupError("purple heron"))
    gc.collect()
    (told,) = forgotten.told()
    assert told.startswith("Future exception was never retrieved")


def test_a_task_that_outlives_its_loop_is_told() -> None:
    loop = asyncio.new_event_loop()
    task = loop.create_task(asyncio.sleep(60))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    del task, loop
    gc.collect()
    (told,) = forgotten.told()
    assert told.startswith("Task was destroyed but it is pending!")


def test_other_words_of_asyncio_pass(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("asyncio").error("Task exception was never retrieved, says another")
    assert len(caplog.records) == 1
    assert not forgotten.told()

"""`tasks.spawn`: kept alive, named, and never silent."""

from __future__ import annotations

import asyncio
import gc

import pytest

from ferry import tasks


async def test_a_task_has_its_name_and_result_and_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def answer() -> int:
        return 42

    task = tasks.spawn("answer", answer())
    assert task.get_name() == "answer"
    assert await task == 42
    await asyncio.sleep(0)
    assert not caplog.records


async def test_a_task_without_other_references_is_not_collected() -> None:
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def waits_for_what_only_it_holds() -> None:
        wake: asyncio.Future[None] = loop.create_future()
        weak_reference_only = loop.call_later(0.01, wake.set_result, None)
        del weak_reference_only
        await wake
        done.set()

    tasks.spawn("waits", waits_for_what_only_it_holds())
    await asyncio.sleep(0)
    gc.collect()
    async with asyncio.timeout(10):
        await done.wait()


async def test_an_unawaited_failure_is_logged_with_the_tasks_name(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise ValueError("on purpose")

    task = tasks.spawn("fails", fails())
    await asyncio.wait([task])
    await asyncio.sleep(0)
    (record,) = [record for record in caplog.records if record.name == "ferry.tasks"]
    assert "task fails failed" in record.getMessage()
    assert record.exc_info
    assert isinstance(record.exc_info[1], ValueError)


async def test_a_cancelled_task_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    task = tasks.spawn("sleeps", asyncio.sleep(60))
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert not caplog.records


async def test_a_repeated_action_goes_on_after_a_failure_which_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A folder of keys that could not be listed once ended the reading of keys, and a revoked one went on logging in."""
    again = asyncio.Event()
    times = 0

    async def fails_once() -> None:
        nonlocal times
        times += 1
        if times == 1:
            raise OSError("on purpose")
        again.set()

    task = tasks.spawn("keys", tasks.repeat("keys", 0, fails_once))
    async with asyncio.timeout(10):
        await again.wait()
    task.cancel()
    await asyncio.wait([task])
    assert [record.getMessage() for record in caplog.records] == ["task keys failed"]

"""Tests of the thread pool that calls drivers."""

import asyncio
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from poolmgr.cloud.pool import CallPool

VALUE: ContextVar[str] = ContextVar("VALUE", default="none")


def run_with_pool(main: Callable[[CallPool], Any], size: int = 4) -> Any:
    """Run a coroutine with a pool on a real loop."""

    async def run() -> Any:
        pool = CallPool(size)
        try:
            return await main(pool)
        finally:
            pool.close()

    return asyncio.run(run())


def test_work_runs_in_the_context_of_its_caller() -> None:
    async def main(pool: CallPool) -> str:
        VALUE.set("mine")
        return await pool.submit(VALUE.get)

    assert run_with_pool(main) == "mine"


@pytest.mark.parametrize(
    "error",
    [
        StopIteration(5),
        SystemExit(1),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
        GeneratorExit(),
    ],
)
def test_a_special_exception_becomes_an_ordinary_one(
    error: BaseException,
) -> None:
    """It would hang the future, look like a cancellation or end the loop."""

    def fail() -> None:
        raise error

    async def main(pool: CallPool) -> None:
        with pytest.raises(Exception, match=type(error).__name__) as caught:
            await pool.submit(fail)
        assert caught.value.__cause__ is error

    run_with_pool(main)


def test_an_ordinary_exception_is_raised_unchanged() -> None:
    error = ValueError("odd")

    def fail() -> None:
        raise error

    with pytest.raises(ValueError, match="odd") as caught:
        run_with_pool(lambda pool: pool.submit(fail))
    assert caught.value is error


def test_the_number_of_threads_is_limited() -> None:
    async def main(pool: CallPool) -> set[int]:
        return set(
            await asyncio.gather(
                *[pool.submit(threading.get_ident) for _work in range(100)]
            )
        )

    assert len(run_with_pool(main, size=3)) <= 3


def test_work_waits_while_all_threads_hang() -> None:
    go = threading.Event()

    async def main(pool: CallPool) -> None:
        hanging = [pool.submit(go.wait) for _thread in range(2)]
        waiting = pool.submit(lambda: "done")
        await asyncio.sleep(0.05)
        assert not waiting.done()
        go.set()
        assert await waiting == "done"
        await asyncio.gather(*hanging)

    run_with_pool(main, size=2)


def test_a_hung_thread_does_not_delay_others() -> None:
    go = threading.Event()

    async def main(pool: CallPool) -> None:
        hanging = pool.submit(go.wait)
        assert await pool.submit(lambda: "done") == "done"
        go.set()
        await hanging

    run_with_pool(main, size=2)


def test_an_idle_thread_keeps_nothing_alive() -> None:
    class Work:
        def __call__(self) -> None:
            pass

    async def main(pool: CallPool) -> None:
        work = Work()
        alive = weakref.ref(work)
        await pool.submit(work)
        del work
        while alive():
            await asyncio.sleep(0.001)

    run_with_pool(main)


HANGS = """
import asyncio, threading
from poolmgr.cloud.pool import CallPool

async def main():
    begun = threading.Event()
    CallPool(1).submit(lambda: (begun.set(), threading.Event().wait()))
    while not begun.is_set():
        await asyncio.sleep(0.001)

asyncio.run(main())
"""


def test_a_process_ends_while_a_call_hangs() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], timeout=300)

    assert done.returncode == 0


ARENAS = """
import ctypes, threading
from poolmgr.cloud.pool import limit_arenas

limit_arenas()
def use(): [bytearray(100_000) for _n in range(100)]
threads = [threading.Thread(target=use) for _n in range(30)]
for thread in threads: thread.start()
for thread in threads: thread.join()
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_all_threads_share_two_arenas() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ARENAS],
        timeout=300,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stderr.count("Arena ") <= 2

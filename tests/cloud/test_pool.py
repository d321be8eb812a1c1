"""The thread pool that calls drivers."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from poolmgr.cloud.pool import CallPool

VALUE: ContextVar[str] = ContextVar("VALUE", default="none")


def pooled(main: Callable[[CallPool], Any], size: int = 4) -> Any:
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

    assert pooled(main) == "mine"


@pytest.mark.parametrize(
    "error",
    [
        StopIteration(5),
        SystemExit(1),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
        GeneratorExit(),
        ValueError("odd"),
    ],
)
def test_every_error_becomes_an_ordinary_exception(
    error: BaseException,
) -> None:
    """Else it would hang the future, look like a cancel, or end the loop."""

    def fail() -> None:
        raise error

    async def main(pool: CallPool) -> None:
        with pytest.raises(Exception, match=type(error).__name__) as caught:
            await pool.submit(fail)
        assert error in (caught.value, caught.value.__cause__)

    if isinstance(error, ValueError):
        with pytest.raises(ValueError, match="odd"):
            pooled(lambda pool: pool.submit(fail))
    else:
        pooled(main)


def test_the_number_of_threads_is_limited() -> None:
    async def main(pool: CallPool) -> set[int]:
        return set(
            await asyncio.gather(
                *[pool.submit(threading.get_ident) for _work in range(100)]
            )
        )

    assert len(pooled(main, size=3)) <= 3


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

    pooled(main, size=2)


def test_a_thread_that_hangs_does_not_delay_others() -> None:
    go = threading.Event()

    async def main(pool: CallPool) -> None:
        hanging = pool.submit(go.wait)
        assert await pool.submit(lambda: "done") == "done"
        go.set()
        await hanging

    pooled(main, size=2)


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
    done = subprocess.run([sys.executable, "-c", HANGS], timeout=60.0)

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
        timeout=60.0,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stderr.count("Arena ") <= 2

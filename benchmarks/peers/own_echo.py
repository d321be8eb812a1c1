"""An echo on poolmgr's transport: ``own_echo.py HOST PORT FUNCTION KIND``.

With ``loop`` the event loop answers, with ``threads`` a thread pool. This
program measures both versions, or else they would not be comparable.
"""

import asyncio
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

from poolmgr.gearman import Address, Assignment, Worker


class AnyNumber:
    """An unlimited number of slots."""

    def reserve(self) -> bool:
        """Return True: there is always a slot."""
        return True

    def release(self) -> None:
        """Do nothing."""


async def serve(address: Address, function: str, kind: str) -> None:
    """Answer every job with its payload until SIGTERM."""
    loop = asyncio.get_running_loop()
    pool = ThreadPoolExecutor(8)

    def answer(job: Assignment) -> None:
        job.complete(job.payload)

    def answer_by_thread(job: Assignment) -> None:
        pool.submit(loop.call_soon_threadsafe, answer, job)

    on_job = answer if kind == "loop" else answer_by_thread
    worker = Worker([address], function, on_job, AnyNumber())
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    serving = asyncio.create_task(worker.run())
    await ended.wait()
    await worker.close()
    await serving


host, port, function, kind = sys.argv[1:]
asyncio.run(serve(Address(host, int(port)), function, kind))

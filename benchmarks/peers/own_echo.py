"""An echo on poolmgr's transport: ``own_echo.py HOST PORT FUNCTION KIND``.

``loop``: it answers in the event loop, as what does not block may.
``threads``: a thread pool answers, as for work that blocks.
"""

import asyncio
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

from poolmgr.gearman.assignment import Assignment
from poolmgr.gearman.endpoint import Address
from poolmgr.gearman.worker import Worker


class AnyNumber:
    """Slots for any number of jobs."""

    def reserve(self) -> bool:
        """There is always one."""
        return True

    def release(self) -> None:
        """Nothing to give back."""


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

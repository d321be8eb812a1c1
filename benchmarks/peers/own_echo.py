"""An echo on poolmgr's transport: ``own_echo.py HOST PORT FUNCTION KIND``.

``loop``: it answers in the event loop, as what does not block may.
``threads``: a thread pool answers, as it runs poolmgr's jobs.
"""

import asyncio
import signal
import sys

from poolmgr.threads import ThreadPool
from poolmgr.worker.mailbox import Mailbox

from poolmgr.gearman import Address, Assignment, Worker


class AnyNumber:
    """Room for any number of jobs."""

    def reserve(self) -> bool:
        """There is always room."""
        return True

    def release(self) -> None:
        """Nothing to give back."""


async def serve(address: Address, function: str, kind: str) -> None:
    """Answer every job with its payload until SIGTERM."""
    loop = asyncio.get_running_loop()
    pool, mailbox = ThreadPool("echo"), Mailbox(loop)

    def in_loop(job: Assignment) -> None:
        job.complete(job.payload)

    def in_thread(job: Assignment) -> None:
        pool.run(lambda: mailbox.put(lambda: in_loop(job)))

    answer = in_loop if kind == "loop" else in_thread
    worker = Worker([address], function, answer, AnyNumber())
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    serving = asyncio.create_task(worker.run())
    await ended.wait()
    await worker.close()
    await serving


host, port, function, kind = sys.argv[1:]
asyncio.run(serve(Address(host, int(port)), function, kind))

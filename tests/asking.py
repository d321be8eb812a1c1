"""A client that submits jobs while the test continues."""

import asyncio
import json
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from poolmgr.gearman import admin
from poolmgr.gearman.client import Client
from poolmgr.gearman.endpoint import Address

FUNCTION = "libra_pool_mgm"
TIMEOUT = 60.0

Answers = list[dict[str, Any]]


def asked(
    server: Address,
    *messages: Mapping[str, object],
    uniques: tuple[str, ...] = (),
) -> Callable[[], Answers]:
    """Submit all messages at once and return a future of the answers.

    :param uniques: the jobs' uniques; new ones if empty
    """

    async def ask() -> Answers:
        async with Client([server]) as client:
            jobs = [
                await client.submit(
                    FUNCTION, json.dumps(message).encode(), unique=unique
                )
                for message, unique in zip(
                    messages, uniques or [None] * len(messages), strict=True
                )
            ]
            return [json.loads(await job.result(TIMEOUT)) for job in jobs]

    pool = ThreadPoolExecutor(1)
    future = pool.submit(lambda: asyncio.run(ask()))
    pool.shutdown(wait=False)
    return lambda: future.result(2 * TIMEOUT)


def running(server: Address) -> int:
    """Return the number of jobs at the workers."""
    functions = asyncio.run(admin.status(server))
    return sum(f.running for f in functions if f.name == FUNCTION)


def cancel(server: Address, handle: str) -> bool:
    """Cancel a job as an administrator; return whether it existed."""
    where = server.host, server.port
    with socket.create_connection(where, TIMEOUT) as sock:
        sock.sendall(f"cancel job {handle}\n".encode())
        return sock.recv(1000).startswith(b"OK")

"""TLS terminators in front of gearmand, which itself has no TLS."""

import asyncio
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from poolmgr.gearman.endpoint import Address
from tests.certificates import Identity
from tests.jobservers import free_port
from tests.wanted import program

TIMEOUT = 60.0


def terminator(
    kind: str, behind: Address, identity: Identity
) -> AbstractContextManager[Address]:
    """Run a TLS terminator that requires a client certificate.

    :param kind: "stunnel" or "python"
    :param behind: the job server in plain TCP
    :returns: its address; the name is "localhost"
    """
    run = {"stunnel": _run_stunnel, "python": _run_python}[kind]
    return run(behind, identity)


def need_stunnel() -> str:
    """Return the path of stunnel; without it skip the test, except in CI."""
    return program("stunnel4", "stunnel")


@contextmanager
def _run_stunnel(behind: Address, identity: Identity) -> Iterator[Address]:
    port = free_port()
    config = Path(identity.cert).with_name("stunnel.conf")
    config.write_text(
        "foreground = yes\npid =\nsyslog = no\n[gearman]\n"
        f"accept = 127.0.0.1:{port}\nconnect = {behind}\n"
        f"cert = {identity.cert}\nkey = {identity.key}\n"
        f"CAfile = {identity.ca}\nverifyChain = yes\nrequireCert = yes\n"
    )
    with stunnel(config, port):
        yield Address("localhost", port)


@contextmanager
def stunnel(config: Path, port: int) -> Iterator[None]:
    """Run stunnel while the block runs.

    :param config: its configuration file
    :param port: the port in its configuration
    """
    process = subprocess.Popen(
        [need_stunnel(), str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, process)
        yield
    finally:
        process.kill()
        process.wait(TIMEOUT)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + TIMEOUT
    while True:
        assert process.poll() is None, "stunnel ended"
        assert time.monotonic() < end, "stunnel does not listen"
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            return
        time.sleep(0.02)


@contextmanager
def _run_python(behind: Address, identity: Identity) -> Iterator[Address]:
    context = identity.context()
    loop = asyncio.new_event_loop()
    listening: Future[int] = Future()
    ended = asyncio.Event()

    async def serve() -> None:
        async def meet(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            other = await asyncio.open_connection(behind.host, behind.port)
            await asyncio.gather(
                _pump(reader, other[1]), _pump(other[0], writer)
            )

        server = await asyncio.start_server(meet, "127.0.0.1", 0, ssl=context)
        listening.set_result(server.sockets[0].getsockname()[1])
        await ended.wait()
        server.close()
        # Some tasks may still serve a connection.
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield Address("localhost", listening.result(TIMEOUT))
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(TIMEOUT)
        loop.close()


async def _pump(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter
) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    except OSError:
        pass
    finally:
        sink.transport.abort()

"""A job server for demonstrations and tests; **not for production**.

It behaves as gearmand does where failures hide, but keeps nothing on disk,
knows nobody's rights and is not fast.
"""

import argparse
import asyncio
import contextlib
import signal
import ssl

from poolmgr.gearman.address import Address, host_name
from poolmgr.gearman.served_jobs import Jobs
from poolmgr.gearman.server_connection import ServerConnection


class JobServer:
    """The server.

    :param host: where to listen
    :param port: where to listen; 0 for any port that is free
    :param tls: what to speak TLS with
    :ivar address: where it listens
    :ivar jobs: its jobs
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.address = Address(host, port)
        self.jobs = Jobs(b"H:%s" % host_name().encode())
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._connections: set[ServerConnection] = set()

    async def start(self) -> None:
        """Listen; :attr:`address` has the port then."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: ServerConnection(self.jobs, self._connections),
            self.address.host,
            self.address.port,
            ssl=self._tls,
        )
        port = self._server.sockets[0].getsockname()[1]
        self.address = Address(self.address.host, port)

    async def close(self) -> None:
        """Stop listening and close every connection."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()
        # The transports close in the loop's next turns.
        while self._connections:
            await asyncio.sleep(0)


async def serve(host: str, port: int) -> None:
    """Run a server until SIGTERM, SIGINT or SIGHUP."""
    server = JobServer(host, port)
    await server.start()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)
    print(
        f"job server for demonstrations and tests (not for production) "
        f"on {server.address}",
        flush=True,
    )
    await ended.wait()
    await server.close()


def main() -> None:
    """``python -m poolmgr.gearman.server``."""
    parser = argparse.ArgumentParser(
        prog="python -m poolmgr.gearman.server",
        description="A Gearman job server for demonstrations and tests: it "
        "keeps nothing on disk and knows nobody's rights. For production "
        "use gearmand.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4730)
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(options.host, options.port))


if __name__ == "__main__":
    main()

"""An HTTP server in a thread."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future

from aiohttp import web

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Listener:
    """An HTTP server that runs in a thread.

    :param handler: handles a request
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], object] = lambda: None

    def start(self, host: str, port: int) -> str:
        """Start to listen.

        :param port: the TCP port; 0 for any free port
        :returns: the URL, such as "http://127.0.0.1:8774"
        :raises OSError: the address cannot be listened on
        """
        url: Future[str] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(host, port, url)),
            name="loopback-cloud",
            daemon=True,
        )
        self._thread.start()
        return url.result()

    def close(self) -> None:
        """Close all connections and end the thread."""
        if self._thread is not None:
            self._stop()
            self._thread.join()
            self._thread = None

    async def _serve(self, host: str, port: int, url: Future[str]) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        server = web.Server(self._handler, access_log=None)
        # Do not wait for requests that hang because of a fault.
        runner = web.ServerRunner(server, shutdown_timeout=0.05)
        await runner.setup()
        site = web.TCPSite(runner, host, port, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            url.set_exception(error)
            return
        self._stop = lambda: loop.call_soon_threadsafe(stopped.set)
        host, port = runner.addresses[0][:2]
        url.set_result(f"http://{host}:{port}")
        await stopped.wait()
        await site.stop()
        # New connections are not in server.connections yet.
        await asyncio.sleep(0.01)
        transports = [each.transport for each in server.connections]
        await runner.cleanup()
        for transport in transports:
            # close() would wait for clients that do not read.
            if transport is not None:
                transport.abort()
        await asyncio.sleep(0)

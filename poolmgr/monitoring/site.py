"""The pages, by their paths."""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from poolmgr.monitoring.health import Check, Pulse, readiness, stuck_calls
from poolmgr.monitoring.http import Refusal, Response
from poolmgr.monitoring.metrics import CONTENT_TYPE, Metrics
from poolmgr.monitoring.page import page
from poolmgr.monitoring.queues import Queues
from poolmgr.monitoring.tally import Tally
from poolmgr.threads import ThreadPool
from poolmgr.worker.state import State

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds that a page may take: somebody may hold a lock for ever.
PATIENCE = 5.0
#: Pages that may be in the making at once, those that nobody waits for any
#: more included: a thread that waits for a lock stays.
MOST = 8
#: What to do when there are no pages.
STUCK = "SIGUSR2 has the worker say why"


class Site:
    """Makes the pages.

    :param state: what the worker is doing
    :param tally: what it has done
    :param queues: the job servers' queues
    """

    def __init__(self, state: State, tally: Tally, queues: Queues) -> None:
        self._state = state
        self._tally = tally
        self._pulse = Pulse(state.service.call)
        self._threads = ThreadPool("poolmgr-page")
        self._making = 0
        self._metrics = Metrics(state, tally, queues)
        self._pages: dict[str, Callable[[], Awaitable[Response]]] = {
            "/": self._page,
            "/healthz": self._healthz,
            "/metrics": self._metrics_page,
            "/readyz": self._readyz,
        }

    async def answer(self, path: str) -> Response:
        """The answer for a path; on the loop of who serves it.

        :raises Refusal: there is none
        """
        make = self._pages.get(path)
        if make is None:
            raise Refusal(404, f"there are {' '.join(self._pages)}")
        return await make()

    async def _healthz(self) -> Response:
        return _verdict(await self._wellness())

    async def _readyz(self) -> Response:
        return _verdict(await self._checks())

    async def _page(self) -> Response:
        checks = await self._checks()
        made = functools.partial(page, self._state, self._tally, checks)
        return Response(
            200, await self._aside(made), "text/html; charset=utf-8"
        )

    async def _metrics_page(self) -> Response:
        text = await self._aside(self._metrics.text)
        return Response(200, text, CONTENT_TYPE)

    async def _wellness(self) -> list[Check]:
        return [await self._pulse.check(), *stuck_calls(self._state)]

    async def _checks(self) -> list[Check]:
        well = await self._wellness()

        def others() -> list[Check]:
            return list(readiness(self._state, self._tally))

        return [*well, *await self._aside(others)]

    async def _aside(self, work: Callable[[], T]) -> T:
        """What a thread makes, for it may have to wait.

        :raises Refusal: it was not ready in time, or failed
        """
        if self._making >= MOST:
            raise Refusal(503, f"{MOST} pages are in the making: {STUCK}")
        self._making += 1
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            try:
                settle = functools.partial(done.set_result, work())
            except Exception as error:
                settle = functools.partial(done.set_exception, error)
            self._made(loop, done, settle)

        self._threads.run(run)
        try:
            async with asyncio.timeout(PATIENCE):
                return await done
        except TimeoutError:
            raise Refusal(
                503, f"not known within {PATIENCE:g} s: {STUCK}"
            ) from None
        except Exception as error:
            LOG.exception("a page cannot be made")
            raise Refusal(500, "a defect: see the worker's log") from error

    def _made(
        self,
        loop: asyncio.AbstractEventLoop,
        done: "asyncio.Future[T]",
        settle: Callable[[], None],
    ) -> None:
        """Settle a future, unless nobody waits for it any more."""

        def now() -> None:
            self._making -= 1
            if not done.done():
                settle()

        try:
            loop.call_soon_threadsafe(now)
        except RuntimeError:
            LOG.debug("too late for a page: the server is closed")


def _verdict(checks: list[Check]) -> Response:
    good = all(check.good for check in checks)
    body = "".join(f"{check}\n" for check in checks)
    return Response(200 if good else 503, body)

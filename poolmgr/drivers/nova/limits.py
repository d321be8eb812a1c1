"""What bounds the requests of a verb: its time-out, the driver's limiter."""

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar, cast

from poolmgr.drivers.base import Driver
from poolmgr.drivers.nova.failures import NotSent
from poolmgr.events import CloudCall

LOG = logging.getLogger(__name__)

D = TypeVar("D", bound=Driver)
P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Verb:
    """A verb of the driver that runs.

    :ivar timeout: seconds that each of its requests may take
    :ivar end: when the present one has to be over, monotonic
    :ivar requests: how many it has sent
    """

    timeout: float = 600.0
    end: float = float("inf")
    requests: int = 0


_current: ContextVar[Verb] = ContextVar("verb")


def bounded(
    verb: Callable[Concatenate[D, P], R],
) -> Callable[Concatenate[D, P], R]:
    """Bound each request of a verb by its last argument, the timeout."""

    @functools.wraps(verb)
    def run(driver: D, /, *args: P.args, **kwargs: P.kwargs) -> R:
        given = kwargs.get("timeout", args[-1] if args else None)
        timeout = cast(float, given)
        end = time.monotonic() + timeout
        token = _current.set(Verb(timeout, end))
        try:
            return verb(driver, *args, **kwargs)
        finally:
            _current.reset(token)

    return run


def requests_sent() -> int:
    """How many requests the verb has sent."""
    return _current.get(Verb()).requests


def time_left() -> float:
    """Seconds left for the present request; negative when there are none."""
    return _current.get(Verb()).end - time.monotonic()


@contextmanager
def holding(lock: threading.Lock, doing: str) -> Iterator[None]:
    """Hold a lock while the block runs.

    :param doing: what the lock is needed for, for the error's message
    :raises NotSent: another thread had it until the time was up
    """
    if not lock.acquire(timeout=min(max(0.0, time_left()), 3600.0)):
        raise NotSent(f"{doing}: no time is left")
    try:
        yield
    finally:
        lock.release()


@dataclass
class Sent:
    """A request that is under way.

    :ivar status: of its answer, None while there is none
    """

    status: int | None = None


class Meter:
    """Lets each request through in its turn, times it, and reports it.

    :param driver: has the limiter, and is told of each request
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.closed = False

    @contextmanager
    def request(self, service: str, what: str) -> Iterator[Sent]:
        """Send one request in the block.

        :param what: the request, beginning with its method
        :raises NotSent: the driver is closed
        """
        if self.closed:
            raise NotSent(f"{what}: the driver is closed")
        verb = _current.get(Verb())
        self._driver.limiter.acquire()
        started = time.monotonic()
        verb.end = started + verb.timeout
        verb.requests += 1
        sent = Sent()
        try:
            yield sent
        finally:
            took = time.monotonic() - started
            status = sent.status or "no answer"
            LOG.debug("%s: %s in %.3f s", what, status, took)
            method = what.partition(" ")[0]
            call = CloudCall(service, method, sent.status, took)
            self._driver.report_call(call)

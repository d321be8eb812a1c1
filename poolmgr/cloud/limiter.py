"""The rate limit of a driver's requests."""

import math
import threading
import time

from poolmgr.cloud.pool import CALL
from poolmgr.drivers.base import RequestLimiter
from poolmgr.tracing import current


class RateLimiter(RequestLimiter):
    """Spaces the requests of threads in time; urgent requests go first.

    After a second without any, as many may be sent at once as in a second.

    :param per_second: requests a second; 0: no limit
    """

    def __init__(self, per_second: float) -> None:
        self._interval = 1.0 / per_second if per_second else 0.0
        self._next = -math.inf  # when the next request may be sent
        self._changed = threading.Condition()
        self._urgent = 0

    def acquire(self) -> None:
        """Block until a request may be sent."""
        call = CALL.get()
        if self._interval:
            if call is not None:
                # The timeout of the call must not count this wait.
                call.since = math.inf
            context = current()
            self._wait(context is not None and context.urgent)
        if call is not None:
            call.since = call.loop.time()

    def _wait(self, urgent: bool) -> None:
        with self._changed:
            self._urgent += urgent
            while (pause := self._pause(urgent)) > 0:
                self._changed.wait(pause)
            self._urgent -= urgent
            unused = time.monotonic() - max(0.0, 1.0 - self._interval)
            self._next = max(self._next, unused) + self._interval
            # Those who wait have computed their pauses from the old values.
            self._changed.notify_all()

    def _pause(self, urgent: bool) -> float:
        """Return the seconds to wait before the next try; 0 for none."""
        pause = self._next - time.monotonic()
        if self._urgent and not urgent:
            # The next turn is for an urgent request, at least.
            return max(pause, self._interval)
        return pause

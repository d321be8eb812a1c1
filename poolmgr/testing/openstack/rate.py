"""A limit on calls per second."""

import time


class RateLimit:
    """So many calls a second, and as many at once.

    :param rate: calls per second
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._most = max(1.0, rate)
        self._left = self._most
        self._seen = time.monotonic()

    def allows(self) -> bool:
        """Whether one call more is within the limit."""
        now = time.monotonic()
        gained = (now - self._seen) * self._rate
        self._left = min(self._most, self._left + gained)
        self._seen = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

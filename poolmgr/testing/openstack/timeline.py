"""What is due later."""

import heapq
import itertools
import time
from collections.abc import Callable


class Timeline:
    """Changes that happen by themselves, made when somebody looks.

    No thread waits for them: whoever reads or changes the state calls
    :meth:`settle` first and cannot tell the difference.
    """

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        #: Seconds that its clock is ahead of the monotonic one.
        self._ahead = 0.0
        #: When what happens now was due, by its clock.
        self.now = time.monotonic()

    def after(self, delay: float, change: Callable[[], None]) -> None:
        """Have a change happen.

        :param delay: seconds from what happens now
        """
        item = (self.now + delay, next(self._order), change)
        heapq.heappush(self._due, item)

    def advance(self, seconds: float) -> None:
        """Let so much time pass at once."""
        self._ahead += seconds
        self.settle()

    def settle(self) -> None:
        """Make all changes that are due, each as of its own moment."""
        until = time.monotonic() + self._ahead
        while self._due and self._due[0][0] <= until:
            self.now, _order, change = heapq.heappop(self._due)
            change()
        self.now = until

"""Whether this machine stood still while something was measured."""

import sys
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_TICK = 0.05
#: Seconds that a tick may be late by.
_LATE = 1.0
_TIMES = 4


class Pulse:
    """A thread that would tick all the time while the block runs.

    :ivar longest: seconds that it did not run, at most
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "Pulse":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _tick(self) -> None:
        last = time.monotonic()
        while not self._over.wait(_TICK):
            now = time.monotonic()
            self.longest = max(self.longest, now - last)
            last = now


def undisturbed(measure: Callable[[], T]) -> T:
    """Measure; again if the machine, or this program, was halted meanwhile."""
    for _time in range(_TIMES):
        with Pulse() as pulse:
            found = measure()
        if pulse.longest < _LATE:
            return found
        print(
            f"halted for {pulse.longest:.1f} s; measured again",
            file=sys.stderr,
        )
    sys.exit("this machine is halted too often for a measurement")

"""Waiting for events in other threads and processes."""

import time
from collections.abc import Callable


def until(
    true: Callable[[], object], timeout: float = 60.0, pause: float = 0.01
) -> None:
    """Wait until a condition is true.

    :param timeout: maximum seconds to wait
    :param pause: seconds between two checks
    """
    end = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(pause)

"""Waiting for what happens elsewhere."""

import time
from collections.abc import Callable


def until(
    true: Callable[[], object], timeout: float = 20.0, pause: float = 0.01
) -> None:
    """Wait for something to be true.

    :param timeout: seconds after which it has to be
    :param pause: seconds between two checks
    """
    end = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(pause)

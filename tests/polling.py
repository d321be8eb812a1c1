"""Waiting for what happens elsewhere."""

import time
from collections.abc import Callable


def until(
    true: Callable[[], object], patience: float = 20.0, pause: float = 0.01
) -> None:
    """Wait for something to be true.

    :param patience: seconds after which it has to be
    :param pause: seconds between two looks
    """
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(pause)

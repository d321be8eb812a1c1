"""A system that has no more threads to give."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def without_threads(
    name: str = "", times: int | None = None
) -> Iterator[list[str]]:
    """Threads cannot be started for as long as the block runs.

    :param name: only those of this name cannot
    :param times: only so many cannot
    :returns: the names of those that were refused so far
    """
    start = threading.Thread.start
    refused: list[str] = []

    def refuse(thread: threading.Thread) -> None:
        mine = name in ("", thread.name)
        if mine and (times is None or len(refused) < times):
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        yield refused

"""What one thread finds out for all that ask for it."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from poolmgr.drivers.nova.failures import NotSent

#: Seconds after which an attempt that is not over keeps nobody waiting.
LONGEST_WAIT = 5.0

T = TypeVar("T")


class _Attempt(Future[T]):
    """An attempt to find something out.

    :ivar is_over: whether another one is to be made
    :ivar next: that one, if it has begun
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_over = False
        self.next: dict[str, _Attempt[T]] = {}


class Once(Generic[T]):
    """Something that is found out once, and remembered.

    Who asks meanwhile waits and shares what becomes of it, a failure as well:
    a Keystone that refuses the login, or hangs, is not asked by each of a
    hundred threads.  A failure is not remembered.

    :param what: what it is, for messages
    :param find: finds it out, in a number of seconds
    """

    def __init__(self, what: str, find: Callable[[float], T]) -> None:
        self._what = what
        self._find = find
        self._latest: _Attempt[T] = _Attempt()
        self._latest.is_over = True

    def get(self, timeout: float) -> T:
        """What it is; found out now if that was not done, or forgotten.

        :raises NotSent: another thread is at it, and takes too long
        """
        attempt = self._latest
        if attempt.is_over:
            mine: _Attempt[T] = _Attempt()
            # Of all threads that come here one puts its own there: this is
            # one step, and every attempt has one successor.
            attempt = attempt.next.setdefault("", mine)
            self._latest = attempt
            if attempt is mine:
                self._run(mine, timeout)
        try:
            return attempt.result(min(timeout, LONGEST_WAIT))
        except TimeoutError:
            attempt.is_over = True
            raise NotSent(f"{self._what}: it takes too long") from None

    def forget(self, value: T | None = None) -> None:
        """Find it out anew when it is asked for next.

        :param value: what does not work; what was found since then stays
        """
        attempt = self._latest
        if value is None or (attempt.done() and attempt.result() is value):
            attempt.is_over = True

    def _run(self, attempt: _Attempt[T], timeout: float) -> None:
        try:
            attempt.set_result(self._find(timeout))
            # Others may have given it up.
            attempt.is_over = False
            self._latest = attempt
        except BaseException as error:
            attempt.is_over = True
            attempt.set_exception(error)

"""What one thread finds out for all that ask for it."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from poolmgr.drivers.nova.failures import NotSent

#: Seconds after which an attempt that is not over keeps nobody waiting.
LONGEST_WAIT = 5.0

T = TypeVar("T")


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
        # The attempt that counts, if there is one.  Of all threads that come
        # at once, one puts its own here: setdefault() is one step.
        self._attempts: dict[str, Future[T]] = {}

    def get(self, timeout: float) -> T:
        """What it is; found out now if that was not done, or forgotten.

        :raises NotSent: another thread is at it, and takes too long
        """
        mine: Future[T] = Future()
        attempt = self._attempts.setdefault("latest", mine)
        if attempt is mine:
            self._run(mine, timeout)
        try:
            return attempt.result(min(timeout, LONGEST_WAIT))
        except TimeoutError:
            self._drop(attempt)
            raise NotSent(f"{self._what}: it takes too long") from None

    def forget(self, value: T | None = None) -> None:
        """Find it out anew when it is asked for next.

        :param value: what does not work; what was found since then stays
        """
        attempt = self._attempts.get("latest")
        if attempt is None:
            return
        if value is None or (attempt.done() and attempt.result() is value):
            self._drop(attempt)

    def _drop(self, attempt: Future[T]) -> None:
        if self._attempts.get("latest") is attempt:
            self._attempts.pop("latest", None)

    def _run(self, attempt: Future[T], timeout: float) -> None:
        try:
            attempt.set_result(self._find(timeout))
            # Others may have given it up.
            self._attempts["latest"] = attempt
        except BaseException as error:
            self._drop(attempt)
            attempt.set_exception(error)

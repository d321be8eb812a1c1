"""What a job server's responses answer, in the order of our requests."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from poolmgr.gearman.assignment import AnswerStatus, OnAnswered
from poolmgr.gearman.protocol import ProtocolError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Grab:
    """To be answered by NO_JOB or a job.

    :ivar reserved: whether a slot was reserved for it
    """

    reserved: bool


@dataclass(frozen=True)
class Echo:
    """To be answered by ECHO_RES.

    :ivar settled: done then
    """

    settled: asyncio.Future[None] | None = None

    def answered(self) -> None:
        """It was, or never will be."""
        if self.settled is not None and not self.settled.done():
            self.settled.set_result(None)


@dataclass(frozen=True)
class Answer:
    """Answered by nothing, or by an ERROR before what comes next.

    :ivar on_answered: called when it is known which
    """

    on_answered: OnAnswered


KindT = TypeVar("KindT", Grab, Echo)


class Expected:
    """The requests that the server has still to answer, the oldest first.

    An ERROR does not say which request it is about.  So an answer whose fate
    matters stands between two requests that are certainly answered; an ERROR
    between their responses is about it.

    :ivar unmarked: whether something was sent since the last such request
        that may yield an ERROR
    """

    def __init__(self) -> None:
        self._requests: deque[Grab | Echo | Answer] = deque()
        self.unmarked = False

    def __bool__(self) -> bool:
        return bool(self._requests) or self.unmarked

    def add(self, request: Grab | Echo | Answer) -> None:
        """Expect the response of a request that is sent now."""
        if not isinstance(request, Answer):
            self.unmarked = False
        self._requests.append(request)

    def next(self, kind: type[KindT], packet: str) -> KindT:
        """The request that a response answers.

        Answers before it had no ERROR, so they were taken.

        :param packet: the response's name
        :raises ProtocolError: another response would be next
        """
        while self._requests:
            request = self._requests[0]
            if isinstance(request, Answer):
                self._requests.popleft()
                _tell(request, AnswerStatus.DELIVERED)
            elif isinstance(request, kind):
                self._requests.popleft()
                return request
            else:
                break
        raise ProtocolError(f"{packet} out of turn")

    def refuse(self) -> None:
        """An ERROR came: the answer that is next, if one is, was refused."""
        request = self._requests[0] if self._requests else None
        if isinstance(request, Answer):
            self._requests.popleft()
            _tell(request, AnswerStatus.UNKNOWN)

    def lose(self) -> list[Grab | Echo]:
        """Expect nothing any more: the connection is gone.

        :returns: what will not be answered, answers apart
        """
        lost, self._requests = self._requests, deque()
        for request in lost:
            if isinstance(request, Answer):
                _tell(request, AnswerStatus.LOST)
        return [each for each in lost if not isinstance(each, Answer)]


def guarded(callback: Callable[[], None]) -> None:
    """Call what the owner gave us; its bugs must not end the connection."""
    try:
        callback()
    except Exception:
        log.exception("A callback of the worker failed")


def _tell(answer: Answer, status: AnswerStatus) -> None:
    guarded(lambda: answer.on_answered(status))

"""Who looks on: told of what happens, and in nobody's way.

What is told are plain values, and what is made of them, metrics or traces, is
the observer's own affair: nothing here knows a library for either.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from poolmgr.jobs.outcome import EndedJob
    from poolmgr.reaper.rules import Case

LOG = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class CloudCall:
    """A call of the cloud that is over.

    :ivar service: "compute", "network", "image" or "identity"; another driver
        has others, a few
    :ivar method: of HTTP, or what is like it
    :ivar status: of HTTP; None when there was no answer
    :ivar seconds: how long it took
    """

    service: str
    method: str
    status: int | None
    seconds: float

    @property
    def is_answer(self) -> bool:
        """Whether the service did its work, were it to say no."""
        return self.status is not None and self.status < 500


class Observer:
    """Does nothing; subclasses override what they want to know.

    Called on the threads that do the work, so it has to be quick, and may be
    called by several at once.
    """

    def job_ended(self, ended: EndedJob) -> None:
        """A job has its answer; one that several deliveries share, once."""

    def cloud_called(self, call: CloudCall) -> None:
        """The cloud was called."""

    def reaper_looked(self, cases: Sequence[Case] | None) -> None:
        """The reaper has looked.

        :param cases: what it found, and what became of each; None when it
            could not be told
        """


class Guarded(Observer):
    """Tells another observer, and logs what that raises.

    :param observer: the other
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def job_ended(self, ended: EndedJob) -> None:
        """See :class:`Observer`."""
        _guarded(self._observer.job_ended, ended)

    def cloud_called(self, call: CloudCall) -> None:
        """See :class:`Observer`."""
        _guarded(self._observer.cloud_called, call)

    def reaper_looked(self, cases: Sequence[Case] | None) -> None:
        """See :class:`Observer`."""
        _guarded(self._observer.reaper_looked, cases)


def _guarded(tell: Callable[[T], Any], what: T) -> None:
    try:
        tell(what)
    except BaseException:
        LOG.exception("an observer failed")

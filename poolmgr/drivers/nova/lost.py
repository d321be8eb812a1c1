"""Creating something although the answer may be lost."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from poolmgr.drivers.nova.failures import NotAsked, TooMany, Unavailable
from poolmgr.errors import CloudError, DeadlineExceeded
from poolmgr.waiting import Deadline, backoff

LOG = logging.getLogger(__name__)

#: How often something is asked for of which there is no trace.
_MOST_POSTS = 3
#: Looks for what a request may have made, before it is made again.
_LOOKS = 3


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=_HasId)


@dataclass(frozen=True)
class Creation(Generic[T]):
    """Something that is created once, whatever becomes of the answers.

    A request whose answer is lost may have had its effect, or have it later;
    so what it made is looked for before the request is made again, and once
    more afterwards.

    :ivar what: its name, for the log
    :ivar post: makes the request
    :ivar find: finds what such requests have made
    :ivar discard: undoes one too many
    """

    what: str
    post: Callable[[], T]
    find: Callable[[], Sequence[T]]
    discard: Callable[[T], None]

    def run(self, deadline: Deadline) -> T:
        """Create it.

        :raises Unavailable: it did not work, and there is no trace of it
        """
        for attempt in range(1, _MOST_POSTS + 1):
            try:
                made = self.post()
            except (TooMany, NotAsked):
                raise  # nothing was made, and it is too early to ask again
            except Unavailable as error:
                LOG.warning("%s; looking whether it was made", error)
                try:
                    found = self._look(error.retry_after, deadline)
                except DeadlineExceeded:
                    raise error from None
                if found:
                    made = found[0]
                elif attempt == _MOST_POSTS:
                    raise
                else:
                    continue
            if attempt > 1:
                self._tidy(made)
            return made
        raise AssertionError("the last attempt returns or raises")

    def _look(self, pause: float, deadline: Deadline) -> Sequence[T]:
        pauses = backoff(0.5, 5.0)
        for _look in range(_LOOKS):
            deadline.sleep(pause, f"looking for {self.what}")
            if found := self.find():
                LOG.info("%s was made", self.what)
                return found
            pause = next(pauses)
        return ()

    def _tidy(self, made: T) -> None:
        try:
            for one in self.find():
                if one.id != made.id:
                    LOG.warning("%s was made twice: %s", self.what, one.id)
                    self.discard(one)
        except CloudError as error:
            LOG.warning("%s may have been made twice: %s", self.what, error)

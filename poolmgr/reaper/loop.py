"""Has the reaper look at intervals, and logs what it finds."""

import contextlib
import logging
import random
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from poolmgr.errors import PoolmgrError, Stopped
from poolmgr.events import Guarded, Observer
from poolmgr.reaper.rules import Case, Reaper
from poolmgr.settings import ReaperMode
from poolmgr.text import one_line
from poolmgr.threads import start_daemon
from poolmgr.tracing import Following, Trail
from poolmgr.waiting import Stop

LOG = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"req-[0-9a-f-]{36}")


class Rounds:
    """Has a reaper look at intervals, and logs what it finds, once.

    :param reaper: looks
    :param mode: whether it looks, and whether it removes what it finds; may
        be changed
    :param interval: seconds between two looks; may be changed, for the time
        after the next look
    :param observer: told of each look
    """

    def __init__(
        self,
        reaper: Reaper,
        mode: ReaperMode,
        interval: float,
        observer: Observer | None = None,
    ) -> None:
        self.mode = mode
        self.interval = interval
        self._reaper = reaper
        self._observer = Guarded(observer or Observer())
        self._stop = Stop()
        self._told: set[tuple[str, str]] = set()

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Look, on a thread, for as long as the block runs."""
        thread = start_daemon("poolmgr-reaper", self._go_on)
        try:
            yield
        finally:
            self._stop.set()
            thread.join(5.0)

    def once(self) -> None:
        """Look once; raises nothing but :class:`Stopped`."""
        try:
            with Following(Trail()):
                cases = self._reaper.look(self._stop)
                if self.mode == "delete":
                    cases = self._reaper.remove(cases, self._stop)
        except Stopped:
            raise
        except PoolmgrError as error:
            LOG.warning("the reaper stops here: %s", one_line(str(error)))
            self._observer.reaper_looked(None)
        else:
            self._tell(cases)
            self._observer.reaper_looked(cases)

    def _go_on(self) -> None:
        # Not at once, and not with the other workers of the pool.
        pause = self.interval * random.uniform(0.1, 1.0)  # noqa: S311
        with contextlib.suppress(Stopped):
            while not self._stop.wait(pause):
                try:
                    if self.mode != "off":
                        self.once()
                except Stopped:
                    raise
                except Exception:
                    LOG.exception("a defect of the reaper")
                pause = self.interval * random.uniform(0.9, 1.1)  # noqa: S311

    def _tell(self, cases: Sequence[Case]) -> None:
        """Log what is new."""
        told = set()
        for case in cases:
            # The cloud's name for a call is another each time.
            key = (case.thing.id, _REQUEST_ID.sub("", case.reason))
            told.add(key)
            if key in self._told:
                continue
            text = one_line(case.reason)
            if case.verdict == "removed":
                LOG.warning("removed %s", case)
            elif case.verdict == "failed":
                LOG.error("%s: %s", case, text)
            elif case.verdict == "unowned":
                LOG.warning("%s has no owner: %s", case, text)
            elif case.mark.state == "unconfirmed":
                LOG.warning("%s may have no owner: %s", case, text)
            else:
                LOG.debug("%s is kept: %s", case, text)
        self._told = told

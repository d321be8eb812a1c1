"""What a worker did lately: its last jobs, the cloud's last hour."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from poolmgr.events import CloudCall, EndedJob, Observer, ReaperFinding
from poolmgr.monitoring.metrics import Metrics
from poolmgr.text import one_line

#: Minutes of history.
MINUTES = 60
#: Jobs, failures and findings of the reaper that are kept.
_JOBS, _FINDINGS = 25, 50
#: Characters that are kept of a text from outside.
_LONGEST = 300


class RecentJob(NamedTuple):
    """A job that has ended.

    :ivar at: when, in seconds since the epoch
    :ivar action: its action, as the message had it
    :ivar about: the device or the address, empty if not known
    :ivar request_id: finds the job in the cloud's logs
    :ivar seconds: how long it took
    :ivar code: the error's code; empty for a PASS
    :ivar reason: the error's text; empty for a PASS
    """

    at: float
    action: str
    about: str
    request_id: str
    seconds: float
    code: str
    reason: str


@dataclass
class Minute:
    """The calls of the cloud in one minute.

    :ivar number: which minute, in minutes of the monotonic clock
    :ivar calls: how many calls
    :ivar failed: how many of these had no answer, or a status of 500 and above
    :ivar total: how long all of them took, in seconds
    :ivar longest: how long the longest took, in seconds
    """

    number: int
    calls: int = 0
    failed: int = 0
    total: float = 0.0
    longest: float = 0.0

    @property
    def mean(self) -> float:
        """How long a call took in the mean, in seconds."""
        return self.total / self.calls if self.calls else 0.0


class ReaperRun(NamedTuple):
    """A run of the reaper.

    :ivar at: when, in seconds since the epoch
    :ivar number: of its findings, by kind and verdict
    :ivar findings: the first of them
    """

    at: float
    number: Mapping[tuple[str, str], int]
    findings: Sequence[ReaperFinding]


class Statistics(Observer):
    """What the pages show of the past, in bounded memory; for any thread.

    :param clock: monotonic seconds
    :ivar metrics: the counters for Prometheus
    :ivar started_at: when it began, in seconds since the epoch
    :ivar recent: the last jobs that ended, the newest first
    :ivar failures: the last jobs that failed, the newest first
    :ivar reaper_run: the last run of the reaper that came to an end
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.metrics = Metrics()
        self.started_at = time.time()
        self.recent: Sequence[RecentJob] = ()
        self.failures: Sequence[RecentJob] = ()
        self.reaper_run: ReaperRun | None = None
        self._clock = clock
        # Calls of the cloud are told by the threads that make them.
        self._lock = threading.Lock()
        self._minutes: deque[Minute] = deque(maxlen=MINUTES)

    def job_ended(self, ended: EndedJob) -> None:
        """See :class:`~poolmgr.events.Observer`."""
        self.metrics.job_ended(ended)
        job = RecentJob(
            time.time(),
            ended.requested_action[:_LONGEST],
            next(iter(ended.about.values()), "")[:_LONGEST],
            ended.request_id,
            ended.seconds,
            ended.outcome.code,
            one_line(ended.outcome.reason, _LONGEST),
        )
        self.recent = (job, *self.recent[: _JOBS - 1])
        if ended.outcome.error is not None:
            self.failures = (job, *self.failures[: _JOBS - 1])

    def cloud_called(self, call: CloudCall) -> None:
        """See :class:`~poolmgr.events.Observer`."""
        self.metrics.cloud_called(call)
        number = int(self._clock() // 60)
        with self._lock:
            if not self._minutes or self._minutes[-1].number < number:
                self._minutes.append(Minute(number))
            minute = self._minutes[-1]
            minute.calls += 1
            minute.failed += not call.is_answer
            minute.total += call.seconds
            minute.longest = max(minute.longest, call.seconds)

    def reaper_looked(self, findings: Sequence[ReaperFinding] | None) -> None:
        """See :class:`~poolmgr.events.Observer`."""
        self.metrics.reaper_looked(findings)
        if findings is not None:
            number = Counter((each.kind, each.verdict) for each in findings)
            self.reaper_run = ReaperRun(
                time.time(), number, findings[:_FINDINGS]
            )

    @property
    def last_hour(self) -> list[Minute]:
        """The calls of the cloud by minute, the oldest first; minutes
        without a call are there, too."""
        present = int(self._clock() // 60)
        with self._lock:
            known = {each.number: replace(each) for each in self._minutes}
        numbers = range(present - MINUTES + 1, present + 1)
        return [known.get(number, Minute(number)) for number in numbers]

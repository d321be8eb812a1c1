"""Counts what happens in a process."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from poolmgr.events import CloudCall, Observer
from poolmgr.jobs.message import FAIL, PASS
from poolmgr.jobs.outcome import EndedJob
from poolmgr.monitoring.histogram import Histogram
from poolmgr.monitoring.minutes import Minute, Minutes
from poolmgr.reaper.rules import Case
from poolmgr.text import one_line

#: Buckets of jobs and of calls of the cloud, in seconds.
JOB_BOUNDS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)
CALL_BOUNDS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
#: What is counted for an action that is not installed.
UNKNOWN = "unknown"
#: Combinations of labels that are told apart, of each kind; others are
#: counted as "other". A plugin may have any codes.
_MOST = 300
#: Jobs, failures and findings that are kept to be shown.
_RECENT, _FAILURES, _FINDINGS = 25, 25, 50
#: Characters kept of what comes from outside.
_LONGEST = 300


class RecentJob(NamedTuple):
    """A job that has ended.

    :ivar at: when, in seconds since the epoch
    :ivar action: as the message had it
    :ivar about: the device or the address, empty if not known
    :ivar unique: the client's name for it
    :ivar request_id: finds it in the cloud's logs
    :ivar seconds: how long it took
    :ivar code: of the error; empty for a PASS
    :ivar reason: why it is a FAIL
    """

    at: float
    action: str
    about: str
    unique: str
    request_id: str
    seconds: float
    code: str
    reason: str


@dataclass(frozen=True)
class Contact:
    """How it went with a service of the cloud; times are monotonic.

    :ivar failing: since when every call has failed; None if the last did not
    :ivar failed: when the last of these was
    """

    failing: float | None = None
    failed: float = 0.0

    @property
    def lasted(self) -> float:
        """Seconds for which every call is known to have failed."""
        return 0.0 if self.failing is None else self.failed - self.failing


@dataclass(frozen=True)
class Look:
    """What the reaper found last.

    :ivar at: when, in seconds since the epoch
    :ivar findings: how many, by kind and verdict
    :ivar cases: some of them in words: thing, verdict, reason
    """

    at: float
    findings: Mapping[tuple[str, ...], int]
    cases: Sequence[tuple[str, str, str]]


@dataclass
class Counts:
    """All that is counted.

    :ivar jobs: by action, outcome and error code
    :ivar job_times: by action
    :ivar calls: of the cloud, by service, method and status
    :ivar call_times: by service and method
    :ivar contacts: by service
    :ivar looks: of the reaper, by whether they came to an end
    :ivar removed: by the reaper, by kind
    :ivar look: the last that came to an end
    """

    jobs: Counter[tuple[str, ...]] = field(default_factory=Counter)
    job_times: dict[tuple[str, ...], Histogram] = field(default_factory=dict)
    calls: Counter[tuple[str, ...]] = field(default_factory=Counter)
    call_times: dict[tuple[str, ...], Histogram] = field(default_factory=dict)
    contacts: dict[str, Contact] = field(default_factory=dict)
    looks: Counter[tuple[str, ...]] = field(default_factory=Counter)
    removed: Counter[tuple[str, ...]] = field(default_factory=Counter)
    look: Look | None = None


class Tally(Observer):
    """Counts what happens, in a bounded space.

    :param clock: monotonic seconds
    :ivar began: when it began, in seconds since the epoch
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.began = time.time()
        self._clock = clock
        self._lock = threading.Lock()
        self._counts = Counts()
        self._minutes = Minutes()
        self._recent: deque[RecentJob] = deque(maxlen=_RECENT)
        self._failures: deque[RecentJob] = deque(maxlen=_FAILURES)

    # -- what is told -------------------------------------------------------

    def job_ended(self, ended: EndedJob) -> None:
        """See :class:`~poolmgr.events.Observer`."""
        error = ended.outcome.error
        code = ended.outcome.code
        action = ended.action or UNKNOWN
        recent = _recent(ended, code)
        counts = self._counts
        with self._lock:
            _count(
                counts.jobs, (action, PASS if error is None else FAIL, code)
            )
            _time(counts.job_times, (action,), ended.seconds, JOB_BOUNDS)
            self._recent.append(recent)
            if error is not None:
                self._failures.append(recent)

    def cloud_called(self, call: CloudCall) -> None:
        """See :class:`~poolmgr.events.Observer`."""
        now = self._clock()
        status = "none" if call.status is None else str(call.status)
        counts = self._counts
        with self._lock:
            _count(counts.calls, (call.service, call.method, status))
            labels = call.service, call.method
            _time(counts.call_times, labels, call.seconds, CALL_BOUNDS)
            _meet(counts.contacts, call, now)
            self._minutes.add(now, call.seconds, not call.is_answer)

    def reaper_looked(self, cases: Sequence[Case] | None) -> None:
        """See :class:`~poolmgr.events.Observer`."""
        counts = self._counts
        if cases is None:
            with self._lock:
                counts.looks["failed",] += 1
            return
        shown = [
            (str(case), case.verdict, one_line(case.reason))
            for case in cases[:_FINDINGS]
        ]
        found: Counter[tuple[str, ...]] = Counter(
            (case.kind, case.verdict) for case in cases
        )
        with self._lock:
            counts.looks["done",] += 1
            counts.look = Look(time.time(), found, shown)
            for case in cases:
                counts.removed[case.kind,] += case.verdict == "removed"

    # -- what it came to ----------------------------------------------------

    @property
    def counts(self) -> Counts:
        """A copy of all that was counted."""
        with self._lock:
            now = self._counts
            return Counts(
                Counter(now.jobs),
                {key: each.copy() for key, each in now.job_times.items()},
                Counter(now.calls),
                {key: each.copy() for key, each in now.call_times.items()},
                dict(now.contacts),
                Counter(now.looks),
                Counter(now.removed),
                now.look,
            )

    @property
    def contacts(self) -> dict[str, Contact]:
        """How it goes with each service of the cloud that was called."""
        with self._lock:
            return dict(self._counts.contacts)

    @property
    def recent(self) -> list[RecentJob]:
        """The last jobs that ended, the newest first."""
        with self._lock:
            return list(reversed(self._recent))

    @property
    def failures(self) -> list[RecentJob]:
        """The last that failed, the newest first."""
        with self._lock:
            return list(reversed(self._failures))

    @property
    def last_hour(self) -> list[Minute]:
        """The calls of the cloud, minute by minute, the oldest first."""
        with self._lock:
            return self._minutes.last_hour(self._clock())

    def now(self) -> float:
        """The time that a :class:`Contact` has, at the moment."""
        return self._clock()


def _count(counter: Counter[tuple[str, ...]], labels: tuple[str, ...]) -> None:
    counter[_bounded(counter, labels)] += 1


def _time(
    times: dict[tuple[str, ...], Histogram],
    labels: tuple[str, ...],
    seconds: float,
    bounds: Sequence[float],
) -> None:
    labels = _bounded(times, labels)
    histogram = times.get(labels)
    if histogram is None:
        histogram = times[labels] = Histogram(bounds)
    histogram.add(seconds)


def _meet(contacts: dict[str, Contact], call: CloudCall, now: float) -> None:
    before = contacts.get(call.service)
    if before is None and len(contacts) >= _MOST:
        return
    if call.is_answer:
        contacts[call.service] = Contact()
    else:
        began = before.failing if before and before.failing else now
        contacts[call.service] = Contact(began, now)


def _bounded(
    known: "Counter[tuple[str, ...]] | dict[tuple[str, ...], Histogram]",
    labels: tuple[str, ...],
) -> tuple[str, ...]:
    """The labels, or others if there are too many already."""
    if labels in known or len(known) < _MOST:
        return labels
    return ("other",) * len(labels)


def _recent(ended: EndedJob, code: str) -> RecentJob:
    """What is kept: little, and nothing that holds on to more."""
    return RecentJob(
        time.time(),
        ended.trail.action[:_LONGEST],
        _about(ended)[:_LONGEST],
        ended.job.unique[:_LONGEST],
        ended.trail.request_id,
        ended.seconds,
        code,
        one_line(ended.outcome.reason, _LONGEST),
    )


def _about(ended: EndedJob) -> str:
    for fields in (ended.outcome.added, ended.request):
        for name in ("name", "ip"):
            value = fields.get(name)
            if isinstance(value, str):
                return value
    return ""

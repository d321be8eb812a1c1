"""What a worker has done: counters for Prometheus, the last jobs, the last
hour of the cloud."""

import time
from collections import Counter as Counts
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import prometheus_client as prometheus
from prometheus_client import Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase

from poolmgr import errors
from poolmgr.events import CloudCall, EndedJob, Observer, ReaperFinding
from poolmgr.jobs.message import FAIL, PASS
from poolmgr.text import one_line

#: The help of every metric. The list in the documentation is made from these.
COUNTERS = {
    "poolmgr_jobs": "Jobs that have ended, by error code.",
    "poolmgr_cloud_calls": 'Calls of the cloud; "none" is no answer.',
    "poolmgr_job_server_reconnects": "Attempts to connect after the first.",
    "poolmgr_reaper_looks": "Runs of the reaper: done or failed.",
    "poolmgr_reaper_removed": "What the reaper has deleted.",
}
HISTOGRAMS = {
    "poolmgr_job_duration_seconds": "Time from a job's start to its answer.",
    "poolmgr_cloud_call_duration_seconds": "Time without waits for a slot.",
}
GAUGES = {
    "poolmgr_build_info": "Always 1.",
    "poolmgr_draining": "1 while the worker drains: it takes no more jobs.",
    "poolmgr_jobs_in_flight": "Jobs in the worker; held means prefetched.",
    "poolmgr_jobs_in_flight_limit": "The most that there may be.",
    "poolmgr_oldest_job_seconds": "Age of the oldest running job, or 0.",
    "poolmgr_watch_devices": "Devices that jobs wait for.",
    "poolmgr_watch_age_seconds": "Time since the last good poll of these.",
    "poolmgr_breaker_open": "1 while the circuit breaker is open.",
    "poolmgr_job_server_connected": "1 while the worker is registered there.",
    "poolmgr_job_server_answers": "1 if it has told its queue just now.",
    "poolmgr_job_server_jobs": "Jobs there; prefetched ones are running.",
    "poolmgr_job_server_workers": "Workers that the job server knows.",
    "poolmgr_reaper_findings": "What the last run of the reaper found.",
    "poolmgr_reaper_look_age_seconds": "Time since its last complete run.",
}
HELP = COUNTERS | HISTOGRAMS | GAUGES
#: The labels of those that have any.
LABELS = {
    "poolmgr_build_info": ("version", "python", "pool"),
    "poolmgr_jobs": ("action", "outcome", "code"),
    "poolmgr_job_duration_seconds": ("action",),
    "poolmgr_jobs_in_flight": ("lane", "state"),
    "poolmgr_jobs_in_flight_limit": ("lane", "state"),
    "poolmgr_cloud_calls": ("service", "method", "status"),
    "poolmgr_cloud_call_duration_seconds": ("service", "method"),
    "poolmgr_breaker_open": ("breaker",),
    "poolmgr_job_server_connected": ("server",),
    "poolmgr_job_server_reconnects": ("server",),
    "poolmgr_job_server_answers": ("server",),
    "poolmgr_job_server_jobs": ("server", "state"),
    "poolmgr_job_server_workers": ("server",),
    "poolmgr_reaper_looks": ("outcome",),
    "poolmgr_reaper_removed": ("kind",),
    "poolmgr_reaper_findings": ("kind", "verdict"),
}
#: Upper bounds of the buckets of jobs and of calls of the cloud, in seconds.
JOB_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    *(60.0, 120.0, 300.0, 600.0),
)
CALL_BUCKETS = JOB_BUCKETS[:12]
#: Minutes of history.
MINUTES = 60
#: Jobs, failures and findings of the reaper that are kept.
_JOBS, _FINDINGS = 25, 50
#: Characters that are kept of a text from outside.
_LONGEST = 300

MetricT = TypeVar("MetricT", bound=MetricWrapperBase)


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


class ReaperRun(NamedTuple):
    """A run of the reaper.

    :ivar at: when, in seconds since the epoch
    :ivar number: of its findings, by kind and verdict
    :ivar findings: the first of them
    """

    at: float
    number: Mapping[tuple[str, ...], int]
    findings: Sequence[ReaperFinding]


class Statistics(Observer):
    """What the pages show of the past, in bounded memory.

    It is told on the event loop; any thread may read it.

    :param clock: monotonic seconds
    :ivar registry: where the metrics are; others may be added
    :ivar started_at: when it began, in seconds since the epoch
    :ivar recent: the last jobs that ended, the newest first
    :ivar failures: the last jobs that failed, the newest first
    :ivar reaper_run: the last run of the reaper that came to an end
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.started_at = time.time()
        self.recent: Sequence[RecentJob] = ()
        self.failures: Sequence[RecentJob] = ()
        self.reaper_run: ReaperRun | None = None
        self._clock = clock
        self._minutes: list[Minute] = []
        # The library would tell of each counter when it was made, too.
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        # Not the library's global registry, which may have anything in it.
        self.registry = prometheus.CollectorRegistry(auto_describe=False)
        prometheus.ProcessCollector(registry=self.registry)
        new = self._new
        self._jobs = new(Counter, "poolmgr_jobs")
        self._calls = new(Counter, "poolmgr_cloud_calls")
        self._runs = new(Counter, "poolmgr_reaper_looks")
        self._removed = new(Counter, "poolmgr_reaper_removed")
        name = "poolmgr_job_duration_seconds"
        self._job_seconds = new(Histogram, name, buckets=JOB_BUCKETS)
        name = "poolmgr_cloud_call_duration_seconds"
        self._call_seconds = new(Histogram, name, buckets=CALL_BUCKETS)
        for outcome in ("done", "failed"):
            self._runs.labels(outcome)
        for kind in ("device", "floating IP"):
            self._removed.labels(kind)

    def start_at_0(self, actions: Sequence[str]) -> None:
        """Have the counters of these actions start at 0.

        Prometheus sees an increase only of a series that was there before,
        so it would miss the first failure of its kind.
        """
        for action in actions:
            self._jobs.labels(action, PASS, "")
            for error in vars(errors).values():
                if hasattr(error, "code"):
                    self._jobs.labels(action, FAIL, error.code)

    def job_ended(self, ended: EndedJob) -> None:
        """See :class:`~poolmgr.events.Observer`."""
        action, outcome = ended.action or "unknown", ended.outcome
        response = FAIL if outcome.error else PASS
        self._jobs.labels(action, response, outcome.code).inc()
        self._job_seconds.labels(action).observe(ended.seconds)
        job = RecentJob(
            time.time(),
            ended.requested_action[:_LONGEST],
            next(iter(ended.about.values()), "")[:_LONGEST],
            ended.request_id,
            ended.seconds,
            outcome.code,
            one_line(outcome.reason, _LONGEST),
        )
        self.recent = (job, *self.recent[: _JOBS - 1])
        if outcome.error:
            self.failures = (job, *self.failures[: _JOBS - 1])

    def cloud_called(self, call: CloudCall) -> None:
        """See :class:`~poolmgr.events.Observer`."""
        labels = call.service, call.method
        status = "none" if call.status is None else str(call.status)
        self._calls.labels(*labels, status).inc()
        self._call_seconds.labels(*labels).observe(call.seconds)
        number = int(self._clock() // 60)
        if not self._minutes or self._minutes[-1].number < number:
            # A new list, for the page's thread may be reading the other.
            self._minutes = [*self._minutes[1 - MINUTES :], Minute(number)]
        minute = self._minutes[-1]
        minute.calls += 1
        minute.failed += not call.is_answer
        minute.total += call.seconds
        minute.longest = max(minute.longest, call.seconds)

    def reaper_looked(self, findings: Sequence[ReaperFinding] | None) -> None:
        """See :class:`~poolmgr.events.Observer`."""
        self._runs.labels("failed" if findings is None else "done").inc()
        if findings is None:
            return
        for each in findings:
            if each.verdict == "removed":
                self._removed.labels(each.kind).inc()
        number: Counts[tuple[str, ...]] = Counts(
            (each.kind, each.verdict) for each in findings
        )
        self.reaper_run = ReaperRun(time.time(), number, findings[:_FINDINGS])

    @property
    def last_hour(self) -> list[Minute]:
        """The calls of the cloud by minute, the oldest first; minutes
        without a call are there, too."""
        present = int(self._clock() // 60)
        known = {each.number: each for each in self._minutes}
        numbers = range(present - MINUTES + 1, present + 1)
        return [known.get(number, Minute(number)) for number in numbers]

    def _new(self, metric: type[MetricT], name: str, **more: Any) -> MetricT:
        more["registry"] = self.registry
        return metric(name, HELP[name], LABELS[name], **more)

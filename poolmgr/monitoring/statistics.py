"""Statistics of a worker: counters for Prometheus, the last jobs, and the
cloud calls of the last hour."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import prometheus_client as prometheus

from poolmgr import errors
from poolmgr.events import CloudCall, EndedJob, Observer
from poolmgr.jobs.message import FAIL, PASS
from poolmgr.text import one_line

#: The help text of each metric. The documentation lists them, too. The library
#: appends "_total" to the names of counters.
COUNTERS = {
    "poolmgr_jobs": "Jobs that have ended, by error code.",
    "poolmgr_cloud_calls": 'Calls to the cloud; "none" is no answer.',
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
    "poolmgr_jobs_in_flight_limit": "Limits of these jobs.",
    "poolmgr_oldest_job_seconds": "Age of the oldest running job, or 0.",
    "poolmgr_watch_devices": "Devices that jobs wait for.",
    "poolmgr_watch_age_seconds": "Time since their last successful poll.",
    "poolmgr_breaker_open": "1 while the circuit breaker is open.",
    "poolmgr_job_server_connected": "1 while the worker is registered there.",
    "poolmgr_job_server_answers": "1 if the job server reports its queue.",
    "poolmgr_job_server_jobs": "Jobs there; prefetched jobs are running.",
    "poolmgr_job_server_workers": "Workers that the job server knows.",
    "poolmgr_reaper_findings": "What the last run of the reaper found.",
    "poolmgr_reaper_look_age_seconds": "Time since its last complete run.",
}
HELP = COUNTERS | HISTOGRAMS | GAUGES
#: The labels of the metrics that have any.
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
#: Upper bounds of the buckets for jobs, in seconds; the last is the default
#: timeout of a build.
JOB_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    *(60.0, 120.0, 300.0, 600.0),
)
#: Minutes of history.
MINUTES = 60
#: Number of jobs and of failures that are kept.
_JOBS = 25
#: Length limit of texts from outside, in characters.
_LONGEST = 300


class RecentJob(NamedTuple):
    """A job that has ended.

    :ivar at: the end, in seconds since the epoch
    :ivar action: the action as it was in the message
    :ivar about: the device or address; empty if unknown
    :ivar request_id: the job's id in the logs of the cloud
    :ivar seconds: the duration
    :ivar code: the error code; empty for a PASS
    :ivar reason: the error text; empty for a PASS
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
    """The cloud calls in one minute.

    :ivar number: minutes of the monotonic clock
    :ivar calls: number of calls
    :ivar failed: number of calls without an answer or with a status of 500
        and above
    :ivar total: seconds that all calls took
    :ivar longest: seconds that the longest call took
    """

    number: int
    calls: int = 0
    failed: int = 0
    total: float = 0.0
    longest: float = 0.0


class Statistics(Observer):
    """The history of a worker, for its pages.

    The observer methods are called on the event loop; any thread may read.

    :param clock: returns monotonic seconds
    :ivar registry: the registry of the metrics; collectors can be added
    :ivar started_at: the start, in seconds since the epoch
    :ivar recent: the last jobs that ended, the newest first
    :ivar failures: the last jobs that failed, the newest first
    :ivar reaped_at: the last complete run of the reaper, in seconds since the
        epoch; 0 before the first
    :ivar findings: what that run found
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.started_at = time.time()
        self.recent: Sequence[RecentJob] = ()
        self.failures: Sequence[RecentJob] = ()
        self.reaped_at = 0.0
        self.findings: Sequence[Any] = ()
        self._clock = clock
        self._minutes: list[Minute] = []
        # Without the creation time of each counter, which nobody needs.
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        # A plugin may use the library's global registry.
        self.registry = prometheus.CollectorRegistry(auto_describe=False)
        prometheus.ProcessCollector(registry=self.registry)
        counter = partial(prometheus.Counter, registry=self.registry)
        self._jobs = counter(*_definition("poolmgr_jobs"))
        self._calls = counter(*_definition("poolmgr_cloud_calls"))
        self._runs = counter(*_definition("poolmgr_reaper_looks"))
        self._removed = counter(*_definition("poolmgr_reaper_removed"))
        histogram = partial(prometheus.Histogram, registry=self.registry)
        self._job_seconds = histogram(
            *_definition("poolmgr_job_duration_seconds"), buckets=JOB_BUCKETS
        )
        self._call_seconds = histogram(
            *_definition("poolmgr_cloud_call_duration_seconds")
        )
        for outcome in ("done", "failed"):
            self._runs.labels(outcome)
        for kind in ("device", "floating IP"):
            self._removed.labels(kind)

    def start_at_0(self, actions: Sequence[str]) -> None:
        """Create the job counters of these actions, with the value 0.

        Prometheus sees no increase from a missing series to 1, so it would
        miss the first failure of each kind.
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
        # New tuples, because another thread may be reading the old ones.
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
            # A new list, because another thread may be reading the old one.
            self._minutes = [*self._minutes[1 - MINUTES :], Minute(number)]
        minute = self._minutes[-1]
        minute.calls += 1
        minute.failed += not call.is_answer
        minute.total += call.seconds
        minute.longest = max(minute.longest, call.seconds)

    def reaper_looked(self, findings: Sequence[Any] | None) -> None:
        """See :class:`~poolmgr.events.Observer`."""
        self._runs.labels("failed" if findings is None else "done").inc()
        if findings is not None:
            self.reaped_at, self.findings = time.time(), findings
            for each in findings:
                if each.verdict == "removed":
                    self._removed.labels(each.kind).inc()

    @property
    def last_hour(self) -> list[Minute]:
        """All minutes of the last hour, the oldest first."""
        present = int(self._clock() // 60)
        known = {each.number: each for each in self._minutes}
        numbers = range(present - MINUTES + 1, present + 1)
        return [known.get(number, Minute(number)) for number in numbers]


def _definition(name: str) -> tuple[str, str, tuple[str, ...]]:
    return name, HELP[name], LABELS[name]

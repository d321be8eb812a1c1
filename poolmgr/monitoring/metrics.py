"""The metrics for Prometheus."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

import prometheus_client as prometheus
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from poolmgr import errors
from poolmgr.events import CloudCall, EndedJob, Observer, ReaperFinding
from poolmgr.jobs.message import FAIL, PASS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Upper bounds of the buckets of jobs and of calls of the cloud, in seconds.
JOB_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    *(60.0, 120.0, 300.0, 600.0),
)
CALL_BUCKETS = JOB_BUCKETS[:12]
#: The action of jobs whose action is not installed.
UNKNOWN = "unknown"
#: Label sets of a metric beyond which everything new is counted as "other":
#: a plugin or a driver may have any number of codes or services.
MAX_SERIES = 300

#: Every error code of poolmgr itself.
_CODES = sorted(
    {
        found.code
        for found in vars(errors).values()
        if isinstance(found, type) and issubclass(found, errors.PoolmgrError)
    }
)

#: The help of every metric.
HELP = {
    "poolmgr_build_info": "Always 1; what runs, in the labels.",
    "poolmgr_draining": "1 while the worker ends: it takes no more jobs.",
    "poolmgr_jobs": "Jobs that have ended, by action, outcome (PASS or FAIL) "
    "and error code.",
    "poolmgr_job_duration_seconds": "How long jobs took from their coming "
    "into a lane to their answer.",
    "poolmgr_jobs_in_flight": "Jobs that are here: running, and long ones "
    "held until one of those ends.",
    "poolmgr_jobs_in_flight_limit": "How many there may be at most.",
    "poolmgr_oldest_job_seconds": "How long the oldest of the running jobs "
    "has been running; 0 without one.",
    "poolmgr_cloud_calls": "Calls of the cloud, by service, method and HTTP "
    'status; "none" is no answer.',
    "poolmgr_cloud_call_duration_seconds": "How long they took, without the "
    "wait for their turn.",
    "poolmgr_watch_devices": "Devices that are waited for.",
    "poolmgr_watch_age_seconds": "How old the view of these is: seconds since "
    "the cloud was last asked of them with success; 0 while there are none.",
    "poolmgr_breaker_open": "1 while what always fails is held back and only "
    "tried now and then.",
    "poolmgr_job_server_connected": "1 while the worker is registered with "
    "the job server.",
    "poolmgr_job_server_reconnects": "Attempts to connect after the first.",
    "poolmgr_job_server_answers": "1 if the job server has told its queue "
    "just now.",
    "poolmgr_job_server_jobs": "Jobs of this function at the job server: "
    "waiting, and those that workers have.",
    "poolmgr_job_server_workers": "Workers that the job server knows for this "
    "function.",
    "poolmgr_reaper_looks": "Looks of the reaper, by whether they came to an "
    "end (done) or broke off (failed).",
    "poolmgr_reaper_removed": "What the reaper has removed, by kind.",
    "poolmgr_reaper_findings": "What the last look found, by kind and verdict "
    "(kept, unowned, removed, failed).",
    "poolmgr_reaper_look_age_seconds": "Seconds since the last look that came "
    "to an end.",
}

Labels = tuple[str, ...]
MetricT = TypeVar("MetricT", bound=MetricWrapperBase)


class Metrics(Observer):
    """Counts what happens, and makes the text that Prometheus reads."""

    def __init__(self) -> None:
        # The library would tell of each counter when it was made, too.
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        # Not the library's global registry, which may have anything in it.
        self._registry = prometheus.CollectorRegistry(auto_describe=False)
        prometheus.ProcessCollector(registry=self._registry)
        self._series: defaultdict[MetricWrapperBase, set[Labels]] = (
            defaultdict(set)
        )
        self._last_run: float | None = None
        new = self._new
        self._jobs = new(Counter, "poolmgr_jobs", "action", "outcome", "code")
        self._job_seconds = new(
            partial(Histogram, buckets=JOB_BUCKETS),
            "poolmgr_job_duration_seconds",
            "action",
        )
        self._calls = new(
            Counter, "poolmgr_cloud_calls", "service", "method", "status"
        )
        self._call_seconds = new(
            partial(Histogram, buckets=CALL_BUCKETS),
            "poolmgr_cloud_call_duration_seconds",
            "service",
            "method",
        )
        self._runs = new(Counter, "poolmgr_reaper_looks", "outcome")
        self._removed = new(Counter, "poolmgr_reaper_removed", "kind")
        self._findings = new(
            Gauge, "poolmgr_reaper_findings", "kind", "verdict"
        )
        for outcome in ("done", "failed"):
            self._runs.labels(outcome)
        for kind in ("device", "floating IP"):
            self._removed.labels(kind)

    def watch(self, collector: Collector, actions: Iterable[str]) -> None:
        """Add what is known only when the worker serves.

        :param collector: reads further metrics when Prometheus asks
        :param actions: the installed actions. Their counters start at 0:
            Prometheus sees an increase only of a series that was there
            before, so it would miss the first failure of its kind.
        """
        self._registry.register(collector)
        for action in actions:
            self._jobs.labels(action, PASS, "")
            for code in _CODES:
                self._jobs.labels(action, FAIL, code)

    def job_ended(self, ended: EndedJob) -> None:
        """See :class:`~poolmgr.events.Observer`."""
        action, code = ended.action or UNKNOWN, ended.outcome.code
        outcome = PASS if ended.outcome.error is None else FAIL
        self._bounded(self._jobs, action, outcome, code).inc()
        self._job_seconds.labels(action).observe(ended.seconds)

    def cloud_called(self, call: CloudCall) -> None:
        """See :class:`~poolmgr.events.Observer`."""
        status = "none" if call.status is None else str(call.status)
        labels = call.service, call.method
        self._bounded(self._calls, *labels, status).inc()
        self._bounded(self._call_seconds, *labels).observe(call.seconds)

    def reaper_looked(self, findings: Sequence[ReaperFinding] | None) -> None:
        """See :class:`~poolmgr.events.Observer`."""
        self._runs.labels("failed" if findings is None else "done").inc()
        if findings is None:
            return
        self._findings.clear()
        for each in findings:
            self._findings.labels(each.kind, each.verdict).inc()
            if each.verdict == "removed":
                self._removed.labels(each.kind).inc()
        if self._last_run is None:
            self._last_run = time.time()
            age = self._new(Gauge, "poolmgr_reaper_look_age_seconds")
            age.set_function(self._seconds_since_run)
        self._last_run = time.time()

    def statuses(self) -> dict[str, dict[str, int]]:
        """How often each service of the cloud has answered what, in all."""
        found: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for metric in self._calls.collect():
            for sample in metric.samples:
                statuses = found[sample.labels["service"]]
                status, number = sample.labels["status"], int(sample.value)
                statuses[status] = statuses.get(status, 0) + number
        return found

    def text(self) -> str:
        """All metrics, now."""
        return prometheus.generate_latest(self._registry).decode()

    def _new(
        self, metric: Callable[..., MetricT], name: str, *labels: str
    ) -> MetricT:
        return metric(name, HELP[name], labels, registry=self._registry)

    def _bounded(self, metric: MetricT, *labels: str) -> MetricT:
        """A metric with these labels, or others if it has too many."""
        known = self._series[metric]
        if labels not in known and len(known) >= MAX_SERIES:
            labels = ("other",) * len(labels)
        known.add(labels)
        return metric.labels(*labels)

    def _seconds_since_run(self) -> float:
        return max(0.0, time.time() - (self._last_run or 0.0))

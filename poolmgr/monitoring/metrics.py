"""The metrics that are counted as things happen."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import prometheus_client as prometheus
from prometheus_client import Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase

from poolmgr import errors
from poolmgr.events import CloudCall, EndedJob, Observer, ReaperFinding
from poolmgr.jobs.message import FAIL, PASS

#: The help of every metric; the documentation says more.
HELP = {
    "poolmgr_build_info": "What runs.",
    "poolmgr_draining": "1 while the worker drains: it takes no more jobs.",
    "poolmgr_jobs": "Jobs that have ended.",
    "poolmgr_job_duration_seconds": "From a job's start to its answer.",
    "poolmgr_jobs_in_flight": "Jobs that the worker has.",
    "poolmgr_jobs_in_flight_limit": "The most that it may have.",
    "poolmgr_oldest_job_seconds": "Time that the oldest job has been running.",
    "poolmgr_cloud_calls": 'Calls of the cloud; "none" is no answer.',
    "poolmgr_cloud_call_duration_seconds": "Without the wait for a slot.",
    "poolmgr_watch_devices": "Devices that the poller waits for.",
    "poolmgr_watch_age_seconds": "Time since the last good poll of these.",
    "poolmgr_breaker_open": "1 while the circuit breaker is open.",
    "poolmgr_job_server_connected": "1 while the worker is registered there.",
    "poolmgr_job_server_reconnects": "Attempts to connect after the first.",
    "poolmgr_job_server_answers": "1 if it has told its queue just now.",
    "poolmgr_job_server_jobs": "Jobs of this function that it has.",
    "poolmgr_job_server_workers": "Workers that it knows for this function.",
    "poolmgr_reaper_looks": "Runs of the reaper.",
    "poolmgr_reaper_removed": "What the reaper has deleted.",
    "poolmgr_reaper_findings": "What its last run found.",
    "poolmgr_reaper_look_age_seconds": "Time since the last that was done.",
}
#: Upper bounds of the buckets of jobs and of calls of the cloud, in seconds.
JOB_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    *(60.0, 120.0, 300.0, 600.0),
)
CALL_BUCKETS = JOB_BUCKETS[:12]
MetricT = TypeVar("MetricT", bound=MetricWrapperBase)


class Metrics(Observer):
    """Counts what happens.

    :ivar registry: where the metrics are; others may be added
    """

    def __init__(self) -> None:
        # The library would tell of each counter when it was made, too.
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        # Not the library's global registry, which may have anything in it.
        self.registry = prometheus.CollectorRegistry(auto_describe=False)
        prometheus.ProcessCollector(registry=self.registry)
        new = self._new
        self._jobs = new(Counter, "poolmgr_jobs", "action", "outcome", "code")
        self._calls = new(
            Counter, "poolmgr_cloud_calls", "service", "method", "status"
        )
        self._runs = new(Counter, "poolmgr_reaper_looks", "outcome")
        self._removed = new(Counter, "poolmgr_reaper_removed", "kind")
        self._job_seconds = new(
            partial(Histogram, buckets=JOB_BUCKETS),
            "poolmgr_job_duration_seconds",
            "action",
        )
        self._call_seconds = new(
            partial(Histogram, buckets=CALL_BUCKETS),
            "poolmgr_cloud_call_duration_seconds",
            "service",
            "method",
        )
        for outcome in ("done", "failed"):
            self._runs.labels(outcome)
        for kind in ("device", "floating IP"):
            self._removed.labels(kind)

    def start_at_0(self, actions: Sequence[str]) -> None:
        """Have the counters of these actions start at 0.

        Prometheus sees an increase only of a series that was there before,
        so it would miss the first failure of its kind.
        """
        codes = {
            found.code
            for found in vars(errors).values()
            if isinstance(found, type)
            and issubclass(found, errors.PoolmgrError)
        }
        for action in actions:
            self._jobs.labels(action, PASS, "")
            for code in sorted(codes):
                self._jobs.labels(action, FAIL, code)

    def job_ended(self, ended: EndedJob) -> None:
        """See :class:`~poolmgr.events.Observer`."""
        action, code = ended.action or "unknown", ended.outcome.code
        outcome = PASS if ended.outcome.error is None else FAIL
        self._jobs.labels(action, outcome, code).inc()
        self._job_seconds.labels(action).observe(ended.seconds)

    def cloud_called(self, call: CloudCall) -> None:
        """See :class:`~poolmgr.events.Observer`."""
        status = "none" if call.status is None else str(call.status)
        labels = call.service, call.method
        self._calls.labels(*labels, status).inc()
        self._call_seconds.labels(*labels).observe(call.seconds)

    def reaper_looked(self, findings: Sequence[ReaperFinding] | None) -> None:
        """See :class:`~poolmgr.events.Observer`."""
        self._runs.labels("failed" if findings is None else "done").inc()
        for each in findings or ():
            if each.verdict == "removed":
                self._removed.labels(each.kind).inc()

    def _new(
        self, metric: Callable[..., MetricT], name: str, *labels: str
    ) -> MetricT:
        return metric(name, HELP[name], labels, registry=self.registry)

"""The metrics, as Prometheus takes them.

prometheus_client is imported here and nowhere else in poolmgr.
"""

import importlib.metadata
import platform
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from poolmgr import errors
from poolmgr.jobs.message import FAIL, PASS
from poolmgr.monitoring.histogram import Histogram
from poolmgr.monitoring.queues import Queue
from poolmgr.monitoring.tally import Tally
from poolmgr.worker.state import State

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Every error code that poolmgr itself gives; plugins may add theirs.
_CODES = sorted(
    {
        found.code
        for found in vars(errors).values()
        if isinstance(found, type) and issubclass(found, errors.PoolmgrError)
    }
)

Labels = tuple[str, ...]


class AsksQueues(Protocol):
    """Knows how many jobs wait at the job servers."""

    def read(self) -> Mapping[str, Queue | None]:
        """The queue of each server, None of one that could not be asked."""


class Metrics:
    """Makes the text that Prometheus reads; on any thread.

    :param state: what the worker is doing
    :param tally: what it has done
    :param queues: the job servers' queues
    """

    def __init__(self, state: State, tally: Tally, queues: AsksQueues) -> None:
        # Its own: the global one may have anything in it.
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Worker(state, tally, queues))
        ProcessCollector(registry=self._registry)

    def text(self) -> str:
        """All of them, now."""
        return generate_latest(self._registry).decode()


class _Worker(Collector):
    def __init__(self, state: State, tally: Tally, queues: AsksQueues) -> None:
        self._state = state
        self._tally = tally
        self._queues = queues

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is, is known when it is collected."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every metric."""
        yield from self._process()
        yield from self._done()
        yield from self._in_flight()
        yield from self._cloud()
        yield from self._job_servers()
        yield from self._reaper()

    def _process(self) -> Iterator[Metric]:
        labels = {
            "version": importlib.metadata.version("poolmgr"),
            "python": platform.python_version(),
            "pool": self._state.pool,
        }
        yield _gauge(
            "poolmgr_build_info",
            "Always 1; what runs, in the labels.",
            tuple(labels),
            {tuple(labels.values()): 1},
        )
        yield _gauge(
            "poolmgr_draining",
            "1 while the worker ends: it takes no more jobs.",
            (),
            {(): int(self._state.service.draining)},
        )

    def _done(self) -> Iterator[Metric]:
        counts = self._tally.counts
        yield _counter(
            "poolmgr_jobs",
            "Jobs that have ended, by action, outcome (PASS or FAIL) and "
            "error code.",
            ("action", "outcome", "code"),
            {**_no_jobs(self._state.actions), **counts.jobs},
        )
        yield _histogram(
            "poolmgr_job_duration_seconds",
            "How long jobs took from their coming into a lane to their "
            "answer.",
            ("action",),
            counts.job_times,
        )

    def _in_flight(self) -> Iterator[Metric]:
        load, settings = self._state.load, self._state.settings
        labels = ("lane", "state")
        yield _gauge(
            "poolmgr_jobs_in_flight",
            "Jobs that are here: running, and long ones held until one of "
            "those ends.",
            labels,
            {
                ("long", "running"): load.long,
                ("short", "running"): load.short,
                ("long", "held"): load.held,
            },
        )
        yield _gauge(
            "poolmgr_jobs_in_flight_limit",
            "How many there may be at most.",
            labels,
            {
                ("long", "running"): settings.long_jobs,
                ("short", "running"): settings.short_jobs,
                ("long", "held"): settings.held_jobs,
            },
        )
        oldest = max((job.seconds for job in self._state.jobs), default=0.0)
        yield _gauge(
            "poolmgr_oldest_job_seconds",
            "How long the oldest of the running jobs has been running; 0 "
            "without one.",
            (),
            {(): oldest},
        )

    def _cloud(self) -> Iterator[Metric]:
        counts = self._tally.counts
        yield _counter(
            "poolmgr_cloud_calls",
            'Calls of the cloud, by service, method and HTTP status; "none" '
            "is no answer.",
            ("service", "method", "status"),
            counts.calls,
        )
        yield _histogram(
            "poolmgr_cloud_call_duration_seconds",
            "How long they took, without the wait for their turn.",
            ("service", "method"),
            counts.call_times,
        )
        driver = self._state.driver
        yield _gauge(
            "poolmgr_watch_devices",
            "Devices that are waited for.",
            (),
            {(): driver.awaited},
        )
        yield _gauge(
            "poolmgr_watch_age_seconds",
            "How old the view of these is: seconds since the cloud was last "
            "asked of them with success; 0 while there are none.",
            (),
            {(): driver.view_age},
        )
        yield _gauge(
            "poolmgr_breaker_open",
            "1 while what always fails is held back and only tried now and "
            "then.",
            ("breaker",),
            {
                (name,): int(breaker.open)
                for name, breaker in self._state.breakers.items()
            },
        )

    def _job_servers(self) -> Iterator[Metric]:
        links = {str(x.address): x for x in self._state.links}
        yield _gauge(
            "poolmgr_job_server_connected",
            "1 while the worker is registered with the job server.",
            ("server",),
            {(name,): int(x.state == "up") for name, x in links.items()},
        )
        yield _counter(
            "poolmgr_job_server_reconnects",
            "Attempts to connect after the first.",
            ("server",),
            {(name,): x.reconnects for name, x in links.items()},
        )
        queues = self._queues.read()
        yield _gauge(
            "poolmgr_job_server_answers",
            "1 if the job server has told its queue just now.",
            ("server",),
            {(name,): int(q is not None) for name, q in queues.items()},
        )
        known = {name: queue for name, queue in queues.items() if queue}
        yield _gauge(
            "poolmgr_job_server_jobs",
            "Jobs of this function at the job server: waiting, and those "
            "that workers have.",
            ("server", "state"),
            {
                (name, state): getattr(queue, state)
                for name, queue in known.items()
                for state in ("waiting", "running")
            },
        )
        yield _gauge(
            "poolmgr_job_server_workers",
            "Workers that the job server knows for this function.",
            ("server",),
            {(name,): queue.workers for name, queue in known.items()},
        )

    def _reaper(self) -> Iterator[Metric]:
        counts = self._tally.counts
        yield _counter(
            "poolmgr_reaper_looks",
            "Looks of the reaper, by whether they came to an end (done) or "
            "broke off (failed).",
            ("outcome",),
            {("done",): 0, ("failed",): 0, **counts.looks},
        )
        yield _counter(
            "poolmgr_reaper_removed",
            "What the reaper has removed, by kind.",
            ("kind",),
            {("device",): 0, ("floating IP",): 0, **counts.removed},
        )
        look = counts.look
        yield _gauge(
            "poolmgr_reaper_findings",
            "What the last look found, by kind and verdict (kept, unowned, "
            "removed, failed).",
            ("kind", "verdict"),
            dict(look.findings) if look else {},
        )
        if look is not None:
            yield _gauge(
                "poolmgr_reaper_look_age_seconds",
                "Seconds since the last look that came to an end.",
                (),
                {(): max(0.0, time.time() - look.at)},
            )


def _no_jobs(actions: Iterable[str]) -> dict[Labels, float]:
    """A 0 for each way in which a job of these actions may end.

    Prometheus sees an increase only of a series that was there before, so
    without these it would miss the first failure of its kind.
    """
    ends = [(PASS, ""), *((FAIL, code) for code in _CODES)]
    return {(action, *end): 0 for action in actions for end in ends}


def _gauge(
    name: str, help: str, labels: Labels, values: Mapping[Labels, float]
) -> Metric:
    family = GaugeMetricFamily(name, help, labels=labels)
    for each, value in values.items():
        family.add_metric(each, value)
    return family


def _counter(
    name: str, help: str, labels: Labels, values: Mapping[Labels, float]
) -> Metric:
    family = CounterMetricFamily(name, help, labels=labels)
    for each, value in values.items():
        family.add_metric(each, value)
    return family


def _histogram(
    name: str, help: str, labels: Labels, values: Mapping[Labels, Histogram]
) -> Metric:
    family = HistogramMetricFamily(name, help, labels=labels)
    for each, value in values.items():
        bounds = [*(f"{bound:g}" for bound in value.bounds), "+Inf"]
        below = accumulate(value.counts)
        family.add_metric(
            each, list(zip(bounds, below, strict=True)), value.total
        )
    return family

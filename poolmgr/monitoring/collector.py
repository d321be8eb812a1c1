"""The metrics that are read from a worker when Prometheus asks."""

import importlib.metadata
import platform
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import core
from prometheus_client.registry import Collector

from poolmgr.monitoring.metrics import HELP, Labels
from poolmgr.monitoring.queues import Queues
from poolmgr.worker.state import State


class StateCollector(Collector):
    """Reads the metrics from the worker's state.

    :param state: what the worker is doing
    :param queues: the job servers' queues
    """

    def __init__(self, state: State, queues: Queues) -> None:
        self._state = state
        self._queues = queues

    def collect(self) -> Iterator[core.Metric]:
        """Every one of them."""
        yield from self._worker()
        yield from self._cloud()
        yield from self._job_servers()

    def _worker(self) -> Iterator[core.Metric]:
        state = self._state
        version = importlib.metadata.version("poolmgr")
        info = version, platform.python_version(), state.pool
        yield _gauge(
            "poolmgr_build_info", {info: 1}, "version", "python", "pool"
        )
        yield _gauge("poolmgr_draining", {(): state.service.draining})
        load, limits = state.load, state.settings
        running = _by_lane(load.long, load.short, load.held)
        yield _gauge("poolmgr_jobs_in_flight", running, "lane", "state")
        most = _by_lane(limits.long_jobs, limits.short_jobs, limits.held_jobs)
        yield _gauge("poolmgr_jobs_in_flight_limit", most, "lane", "state")
        oldest = max((job.seconds for job in state.jobs), default=0.0)
        yield _gauge("poolmgr_oldest_job_seconds", {(): oldest})

    def _cloud(self) -> Iterator[core.Metric]:
        driver = self._state.driver
        yield _gauge("poolmgr_watch_devices", {(): driver.awaited})
        yield _gauge("poolmgr_watch_age_seconds", {(): driver.view_age})
        breakers = self._state.breakers.items()
        is_open = {(name,): breaker.open for name, breaker in breakers}
        yield _gauge("poolmgr_breaker_open", is_open, "breaker")

    def _job_servers(self) -> Iterator[core.Metric]:
        links = {(str(link.address),): link for link in self._state.links}
        up = {server: link.state == "up" for server, link in links.items()}
        yield _gauge("poolmgr_job_server_connected", up, "server")
        name = "poolmgr_job_server_reconnects"
        reconnects = core.CounterMetricFamily(
            name, HELP[name], labels=("server",)
        )
        for server, link in links.items():
            reconnects.add_metric(server, link.reconnects)
        yield reconnects
        queues = self._queues.read()
        answers = {
            (name,): queue is not None for name, queue in queues.items()
        }
        yield _gauge("poolmgr_job_server_answers", answers, "server")
        jobs, workers = {}, {}
        for name, queue in queues.items():
            if queue is not None:
                waiting = max(0, queue.queued - queue.running)
                jobs[name, "waiting"] = waiting
                jobs[name, "running"] = queue.running
                workers[(name,)] = queue.workers
        yield _gauge("poolmgr_job_server_jobs", jobs, "server", "state")
        yield _gauge("poolmgr_job_server_workers", workers, "server")


def _gauge(
    name: str, values: Mapping[Any, float], *labels: str
) -> core.Metric:
    family = core.GaugeMetricFamily(name, HELP[name], labels=labels)
    for each, value in values.items():
        family.add_metric(each, value)
    return family


def _by_lane(long: int, short: int, held: int) -> dict[Labels, float]:
    return {
        ("long", "running"): long,
        ("short", "running"): short,
        ("long", "held"): held,
    }

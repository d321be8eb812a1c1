"""The metrics that are read when Prometheus asks."""

import asyncio
import importlib.metadata
import math
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from poolmgr.errors import TransportError
from poolmgr.gearman import Address, ConnectionOptions, admin
from poolmgr.gearman.admin import FunctionStatus
from poolmgr.monitoring.statistics import HELP, LABELS, Statistics
from poolmgr.worker.service import Service

#: Seconds for which an answer is used: job servers are asked no more often,
#: however often Prometheus asks.
MAX_AGE = 10.0
#: Seconds that a job server has for its answer.
TIMEOUT = 2.0


@dataclass(eq=False)
class StateCollector(Collector):
    """Reads metrics from what is known of the worker.

    :ivar service: the worker
    :ivar statistics: what it has done
    :ivar options: how to reach the job servers
    """

    service: Service
    statistics: Statistics
    options: ConnectionOptions
    _asked_at: float = -math.inf
    _queues: dict[str, FunctionStatus | None] = field(default_factory=dict)

    def collect(self) -> Iterator[Metric]:
        """Every one of them."""
        yield from self._worker()
        yield from self._cloud()
        yield from self._job_servers()

    def _worker(self) -> Iterator[Metric]:
        service = self.service
        version = importlib.metadata.version("poolmgr")
        info = (
            version,
            platform.python_version(),
            service.manager.settings.pool,
        )
        yield _gauge("poolmgr_build_info", {info: 1})
        yield _gauge("poolmgr_draining", {(): service.draining})
        slots, limits = service.slots, service.settings
        running = _by_lane(slots.long, slots.short, slots.held)
        yield _gauge("poolmgr_jobs_in_flight", running)
        most = _by_lane(limits.long_jobs, limits.short_jobs, limits.held_jobs)
        yield _gauge("poolmgr_jobs_in_flight_limit", most)
        oldest = max(
            (job.seconds for job in service.manager.running()), default=0.0
        )
        yield _gauge("poolmgr_oldest_job_seconds", {(): oldest})

    def _cloud(self) -> Iterator[Metric]:
        driver = self.service.manager.cloud
        yield _gauge("poolmgr_watch_devices", {(): driver.awaited})
        yield _gauge("poolmgr_watch_age_seconds", {(): driver.view_age})
        breakers = self.service.breakers.items()
        is_open = {(name,): breaker.open for name, breaker in breakers}
        yield _gauge("poolmgr_breaker_open", is_open)
        run = self.statistics.reaper_run
        if run is not None:
            found = run.number
            yield _gauge("poolmgr_reaper_findings", found)
            age = max(0.0, time.time() - run.at)
            yield _gauge("poolmgr_reaper_look_age_seconds", {(): age})

    def _job_servers(self) -> Iterator[Metric]:
        name = "poolmgr_job_server_reconnects"
        reconnects = CounterMetricFamily(name, HELP[name], labels=LABELS[name])
        up, answers, jobs, workers = {}, {}, {}, {}
        for connection in self.service.links:
            server = str(connection.address)
            up[(server,)] = connection.state == "up"
            reconnects.add_metric([server], connection.reconnects)
        for server, queue in self._read_queues().items():
            answers[(server,)] = queue is not None
            if queue is not None:
                waiting = max(0, queue.queued - queue.running)
                jobs[server, "waiting"] = waiting
                jobs[server, "running"] = queue.running
                workers[(server,)] = queue.workers
        yield reconnects
        yield _gauge("poolmgr_job_server_connected", up)
        yield _gauge("poolmgr_job_server_answers", answers)
        yield _gauge("poolmgr_job_server_jobs", jobs)
        yield _gauge("poolmgr_job_server_workers", workers)

    def _read_queues(self) -> dict[str, FunctionStatus | None]:
        """The queue of each job server, None if it did not answer."""
        now = time.monotonic()
        if now - self._asked_at >= MAX_AGE:
            # Whoever comes meanwhile gets the answers before these.
            self._asked_at = now
            self._queues = asyncio.run(self._ask_all())
        return self._queues

    async def _ask_all(self) -> dict[str, FunctionStatus | None]:
        servers = [connection.address for connection in self.service.links]
        found = await asyncio.gather(*map(self._ask, servers))
        return dict(zip(map(str, servers), found, strict=True))

    async def _ask(self, server: Address) -> FunctionStatus | None:
        try:
            functions = await admin.status(server, self.options, TIMEOUT)
        except TransportError:
            return None
        name = self.service.settings.function
        ours = (each for each in functions if each.name == name)
        return next(ours, FunctionStatus(name, 0, 0, 0))


def _gauge(name: str, values: Mapping[Any, float]) -> GaugeMetricFamily:
    labels = LABELS.get(name, ())
    family = GaugeMetricFamily(name, HELP[name], labels=labels)
    for each, value in values.items():
        family.add_metric(each, value)
    return family


def _by_lane(long: int, short: int, held: int) -> dict[Any, float]:
    return {
        ("long", "running"): long,
        ("short", "running"): short,
        ("long", "held"): held,
    }

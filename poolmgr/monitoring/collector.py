"""The metrics that are read when Prometheus asks."""

import asyncio
import importlib.metadata
import math
import platform
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from poolmgr.errors import TransportError
from poolmgr.gearman import admin
from poolmgr.gearman.admin import FunctionStatus
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.monitoring.statistics import COUNTERS, HELP, LABELS, Statistics
from poolmgr.worker.service import Service

#: Seconds to wait for a job server's answer.
TIMEOUT = 2.0

#: Values of metrics, by metric and by the values of its labels.
Values = dict[str, dict[tuple[str, ...], float]]


@dataclass(eq=False)
class StateCollector(Collector):
    """Collects metrics of a worker's present state, on any thread.

    :ivar service: the worker
    :ivar statistics: its history
    :ivar options: how to reach the job servers
    """

    service: Service
    statistics: Statistics
    options: ConnectionOptions
    _queues: Sequence[FunctionStatus | None] = ()
    _fresh_until: float = -math.inf

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        found = self._worker() | self._cloud() | self._job_servers()
        for name, values in found.items():
            counts = name in COUNTERS
            make = CounterMetricFamily if counts else GaugeMetricFamily
            family = make(name, HELP[name], labels=LABELS.get(name, ()))
            for labels, value in values.items():
                family.add_metric(labels, value)
            yield family

    def _worker(self) -> Values:
        manager, slots = self.service.manager, self.service.slots
        limits = self.service.settings
        version = importlib.metadata.version("poolmgr")
        info = version, platform.python_version(), manager.settings.pool
        oldest = max((job.seconds for job in manager.running()), default=0.0)
        return {
            "poolmgr_build_info": {info: 1},
            "poolmgr_draining": {(): self.service.draining},
            "poolmgr_jobs_in_flight": {
                ("long", "running"): slots.long,
                ("short", "running"): slots.short,
                ("long", "held"): slots.held,
            },
            "poolmgr_jobs_in_flight_limit": {
                ("long", "running"): limits.long_jobs,
                ("short", "running"): limits.short_jobs,
                ("long", "held"): limits.held_jobs,
            },
            "poolmgr_oldest_job_seconds": {(): oldest},
        }

    def _cloud(self) -> Values:
        cloud, history = self.service.manager.cloud, self.statistics
        found: Values = {
            "poolmgr_watch_devices": {(): cloud.poller.waiting},
            "poolmgr_watch_age_seconds": {(): cloud.poller.age},
            "poolmgr_breaker_open": {
                (name,): breaker.open
                for each in (cloud.circuits.capacity, cloud.circuits.calls)
                for name, breaker in each.items()
            },
        }
        if history.reaped_at:
            age = max(0.0, time.time() - history.reaped_at)
            found["poolmgr_reaper_findings"] = defaultdict(float)
            for each in history.findings:
                found["poolmgr_reaper_findings"][each.kind, each.verdict] += 1
            found["poolmgr_reaper_look_age_seconds"] = {(): age}
        return found

    def _job_servers(self) -> Values:
        found: Values = defaultdict(dict)
        # The pages share a few threads, so many requests for metrics must not
        # each wait for a job server that does not answer.
        if time.monotonic() > self._fresh_until:
            # Not on the worker's loop, which may hang.
            self._queues = asyncio.run(self._read_queues())
            self._fresh_until = time.monotonic() + TIMEOUT
        connections = self.service.connections
        for each, queue in zip(connections, self._queues, strict=True):
            server = str(each.address)
            up = each.state == "up"
            found["poolmgr_job_server_connected"][server,] = up
            found["poolmgr_job_server_reconnects"][server,] = each.reconnects
            found["poolmgr_job_server_answers"][server,] = queue is not None
            if queue is not None:
                jobs = found["poolmgr_job_server_jobs"]
                jobs[server, "waiting"] = max(0, queue.queued - queue.running)
                jobs[server, "running"] = queue.running
                found["poolmgr_job_server_workers"][server,] = queue.workers
        return found

    async def _read_queues(self) -> list[FunctionStatus | None]:
        servers = [each.address for each in self.service.connections]
        return await asyncio.gather(*map(self._read_queue, servers))

    async def _read_queue(self, server: Address) -> FunctionStatus | None:
        """Return the queue of a job server; None if it does not answer."""
        try:
            options = replace(self.options, connect_timeout=TIMEOUT)
            functions = await admin.status(server, options)
        except TransportError:
            return None
        name = self.service.settings.function
        ours = (each for each in functions if each.name == name)
        return next(ours, FunctionStatus(name, 0, 0, 0))

"""What a worker is doing, as facts; for reports, pages and metrics alike."""

import time
from collections.abc import Iterator

from poolmgr.cloud import CloudState
from poolmgr.cloud.breaker import Breaker
from poolmgr.events import RunningJob
from poolmgr.gearman import ConnectionStatus
from poolmgr.jobs.manager import JobManager
from poolmgr.settings import WorkerSettings
from poolmgr.worker.report import Report
from poolmgr.worker.service import Service
from poolmgr.worker.slots import Load


class State:
    """What a worker is doing; from any thread.

    :param manager: runs its jobs
    :param service: serves the job servers
    """

    def __init__(self, manager: JobManager, service: Service) -> None:
        self._manager = manager
        self.service = service

    @property
    def pool(self) -> str:
        """The pool's name."""
        return self._manager.settings.pool

    @property
    def links(self) -> list[ConnectionStatus]:
        """How each connection to a job server is."""
        return self.service.links

    @property
    def load(self) -> Load:
        """How many jobs are here."""
        return self.service.load

    @property
    def settings(self) -> WorkerSettings:
        """How many may be here."""
        return self.service.settings

    @property
    def jobs(self) -> list[RunningJob]:
        """The jobs that run, the oldest first."""
        return self._manager.running()

    @property
    def actions(self) -> list[str]:
        """The names of the actions that are installed."""
        return self._manager.actions.names()

    @property
    def driver(self) -> CloudState:
        """How the cloud is, as the driver's calls show."""
        return self._manager.cloud.state

    @property
    def cloud_is_down(self) -> bool:
        """Whether no device can be made at present, as far as is known."""
        return self._manager.cloud.is_down

    @property
    def capacity(self) -> dict[str, Breaker]:
        """The circuit breakers that tell whether the cloud has room."""
        capacity = self._manager.cloud.capacity
        return {
            "device quota": capacity.devices,
            "floating ip quota": capacity.ips,
            "boots": capacity.boots,
        }

    @property
    def breakers(self) -> dict[str, Breaker]:
        """All circuit breakers."""
        return {**self.capacity, **self.driver.breakers}


def describe(report: Report, state: State) -> None:
    """Add a worker's sections to a report, which escapes what is in them."""
    report.add("job servers", lambda: _links(state))
    report.add("jobs", lambda: _load(state))
    report.add("open circuits", lambda: _open_circuits(state))
    report.add("running jobs", lambda: _jobs(state))


def _links(state: State) -> Iterator[str]:
    now = time.time()
    for link in state.links:
        yield (
            f"{link.address} {link.state} for {now - link.since:.1f} s, "
            f"reconnects={link.reconnects}, "
            f"last error: {link.last_error or 'none'}"
        )


def _load(state: State) -> Iterator[str]:
    load, settings = state.load, state.settings
    yield f"long: {load.long} of {settings.long_jobs} running"
    yield f"short: {load.short} of {settings.short_jobs} running"
    yield f"held: {load.held} of {settings.held_jobs} waiting"


def _open_circuits(state: State) -> Iterator[str]:
    for name, breaker in state.breakers.items():
        if breaker.open:
            yield f"{name}: {breaker.reason}"


def _jobs(state: State) -> Iterator[str]:
    for each in state.jobs:
        job = each.job
        yield (
            f"action={each.action} "
            f"unique={job.unique or '-'} "
            f"handle={job.handle or '-'} "
            f"server={job.server or '-'} "
            f"running={each.seconds:.1f}s limit={each.limit:g}s "
            f"deliveries={each.deliveries} request={each.request_id} "
            f"doing={each.doing or '-'}"
        )

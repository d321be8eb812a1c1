"""What a worker is doing, in lines for a report."""

import time
from collections.abc import Iterator

from poolmgr.manager import PoolManager
from poolmgr.report import Report
from poolmgr.service import Service


def describe(report: Report, manager: PoolManager, service: Service) -> None:
    """Add a worker's sections to a report, which escapes what is in them."""
    report.add("job servers", lambda: _links(service))
    report.add("jobs", lambda: _load(service))
    report.add("running jobs", lambda: _jobs(manager))


def _links(service: Service) -> Iterator[str]:
    now = time.time()
    for link in service.links:
        yield (
            f"{link.address} {link.state} for {now - link.since:.1f} s, "
            f"reconnects={link.reconnects}, "
            f"last error: {link.last_error or 'none'}"
        )


def _load(service: Service) -> Iterator[str]:
    load, settings = service.load, service.settings
    yield f"long: {load.long} of {settings.long_jobs} running"
    yield f"short: {load.short} of {settings.short_jobs} running"
    yield f"held: {load.held} of {settings.held_jobs} waiting"


def _jobs(manager: PoolManager) -> Iterator[str]:
    for each in manager.running():
        job = each.job
        yield (
            f"action={each.action} "
            f"unique={job.unique or '-'} "
            f"handle={job.handle or '-'} "
            f"server={job.server or '-'} "
            f"running={each.seconds:.1f}s limit={each.limit:g}s "
            f"deliveries={each.deliveries}"
        )

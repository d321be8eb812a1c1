"""The pool whose workers are killed, and its reaper."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from poolmgr.cloud import Cloud
from poolmgr.drivers.base import Driver
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.reaper.reaper import Finding, InFlight, Reaper
from poolmgr.settings import PoolSettings
from tests.chaos.audit import Scene

#: Deadline of the pool's actions in seconds.
ACTION_TIME = 20.0
_LOOK_TIME = 60.0


def pool_settings(name: str) -> PoolSettings:
    """Return the pool's settings."""
    return PoolSettings(
        pool=name,
        basename=name,
        explain_failures=True,
        long_timeout=ACTION_TIME,
        short_timeout=ACTION_TIME,
    )


def write_configuration(
    path: Path, name: str, driver: str, server: Address
) -> Path:
    """Write the workers' configuration.

    :param driver: the driver's part of the configuration
    :returns: the path
    """
    path.write_text(
        f"""\
[poolmgr]
pool = {name}
basename = {name}
explain_failures = true
long_timeout = {ACTION_TIME}
short_timeout = {ACTION_TIME}
{driver}
[gearman]
servers = {server}
reconnect_sleep = 0.5
[worker]
drain_timeout = 100
[reaper]
mode = off
older_than = 0
limit = 10000
"""
    )
    return path


def scene(driver: Driver, name: str) -> Scene:
    """Return the pool's present resources."""
    devices = driver.list_devices(_LOOK_TIME)
    ips = driver.list_ips(_LOOK_TIME)
    return Scene(
        [d for d in devices if d.mark and d.mark.pool == name],
        [ip for ip in ips if ip.mark and ip.mark.pool == name],
    )


def reaped(
    driver: Driver, name: str, servers: Sequence[Address]
) -> list[Finding]:
    """Reap like ``poolmgr reap``, after all workers have ended.

    So it does not have to wait until orphans are older than any job.
    """
    time.sleep(1.1)  # a resource created in this second is not old enough
    return asyncio.run(_look_twice_and_remove(driver, name, servers))


async def _look_twice_and_remove(
    driver: Driver, name: str, servers: Sequence[Address]
) -> list[Finding]:
    cloud = Cloud(driver)
    try:
        jobs = InFlight(list, servers, ConnectionOptions())
        reaper, pool = Reaper(cloud, jobs), pool_settings(name)
        await reaper.find(pool, 0.0)
        return await reaper.remove(await reaper.find(pool, 0.0), 10000)
    finally:
        cloud.close()

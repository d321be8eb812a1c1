"""The pool whose workers are killed, and its reaper."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from poolmgr.cloud import Cloud
from poolmgr.drivers.base import Driver
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.jobs.in_flight import InFlight
from poolmgr.reaper.reaper import Finding, Reaper
from poolmgr.settings import PoolSettings
from tests.chaos.audit import Scene

#: Seconds that an action of the pool may take.
ACTION_TIME = 20.0
_LOOK_TIME = 60.0


def pool_settings(name: str) -> PoolSettings:
    """The settings of the pool."""
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

    :param driver: the driver's part of it
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
    """What the cloud has of the pool now."""
    devices = driver.list_devices(_LOOK_TIME)
    ips = driver.list_ips(_LOOK_TIME)
    return Scene(
        [d for d in devices if d.mark and d.mark.pool == name],
        [ip for ip in ips if ip.mark and ip.mark.pool == name],
    )


def reaped(
    driver: Driver, name: str, servers: Sequence[Address]
) -> list[Finding]:
    """What ``poolmgr reap`` does, for when no worker is at work any more.

    So it need not wait until what it finds is older than any job may be.
    """
    time.sleep(1.1)  # what is made in this second is not older than it
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
        cloud.close(keep_driver=True)

"""Devices and addresses, mostly in a wrong state."""

import sqlite3
from contextlib import closing

from poolmgr import PoolManager
from poolmgr.cloud import open_cloud
from poolmgr.drivers.base import Driver
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.ownership import Job, Mark
from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.clouds import nova_on
from tests.docs.stage import Stage, scene
from tests.jobservers import free_port

NAME = "libra-4e3a5a0e-64c9-4f0a-8b5b-3f6e2d1c9a70"
MARK = Mark.for_job("libra", Job("9a1c"))
SHORT = "[poolmgr]\nshort_timeout = 5\n"


def make(driver: Driver, mark: Mark) -> None:
    """Create a device of a job that no job server knows."""
    with open_cloud(driver, timeout=30.0) as cloud:
        cloud.wait_ready(cloud.create_device(NAME, mark))


def left_on(cloud: LoopbackCloud, mark: Mark = MARK) -> None:
    """Create such a device on a loopback cloud."""
    with nova_on(cloud) as driver:
        make(driver, mark)


def left_for_hours(stage: Stage, mark: Mark = MARK) -> None:
    """Create one on the fake cloud, and use that."""
    state = stage.folder / "cloud.db"
    with closing(FakeCloud(FakeSettings(state=str(state)))) as cloud:
        make(cloud, mark)
    with closing(sqlite3.connect(state)) as db, db:
        db.execute("UPDATE device SET created = created - 7200")
    stage.fake("[reaper]\ninterval = 0.2\n", state=state)


def device_of(stage: Stage) -> str:
    """Build a device and return its name."""
    return stage.run("build-device", "-f", "value", "-c", "name").strip()


def ip_of(stage: Stage) -> str:
    """Build a floating IP and return its address."""
    return stage.run("build-ip", "-f", "value", "-c", "ip").strip()


@scene("there is no device 'libra-...'")
def device_gone(stage: Stage) -> str:
    stage.cloud()
    return stage.run("assign-ip", ip_of(stage), NAME)


@scene("there is no floating IP '198.18.0.77'")
def address_gone(stage: Stage) -> str:
    left_on(stage.cloud())
    return stage.run("assign-ip", "198.18.0.77", NAME)


@scene("2 devices are named 'libra-...'")
def two_of_a_name(stage: Stage) -> str:
    cloud = stage.cloud()
    left_on(cloud)
    left_on(cloud)
    return stage.run("delete-device", NAME)


@scene("is not this pool's ([poolmgr] authority is 'pattern')")
def not_ours(stage: Stage) -> str:
    left_on(stage.cloud(), Mark.for_job("other", Job("9a1c")))
    return stage.run("delete-device", NAME)


@scene("is attached to another device than 'libra-...'")
def on_another(stage: Stage) -> str:
    stage.cloud()
    ip, device, other = ip_of(stage), device_of(stage), device_of(stage)
    stage.run("assign-ip", ip, device)
    return stage.run("remove-ip", ip, other)


@scene("External network ... is not reachable from subnet")
def no_way_to_the_device(stage: Stage) -> str:
    stage.cloud()
    stage.configure(networks="isolated")
    return stage.run("assign-ip", ip_of(stage), device_of(stage))


@scene("attaching ...: not done within ... s")
def not_in_effect(stage: Stage) -> str:
    cloud = stage.cloud()
    stage.configure(SHORT)
    name, ip = device_of(stage), ip_of(stage)
    cloud.fault(Fault.lost_floating_ip(times=None))
    printed = ""
    # A call may be under way when the time is up.
    while "attaching" not in printed:
        printed = stage.run("assign-ip", ip, name)
    return printed


@scene("to accept: not done within ... s")
def port_closed(stage: Stage) -> str:
    # Addresses at which this machine refuses connections.
    stage.cloud(floating_range="127.0.128.0/24")
    stage.configure(f"{SHORT}check_port = {free_port()}\n")
    return stage.run("assign-ip", ip_of(stage), device_of(stage))


@scene("job 9a1c was never answered")
def left_behind(stage: Stage) -> str:
    left_for_hours(stage)
    stage.job_server()
    return "".join(stage.worker(" orphan: ").lines)


@scene("nobody knows whether its answer arrived")
def unconfirmed(stage: Stage) -> str:
    left_for_hours(stage, MARK.unconfirmed())
    stage.job_server()
    return "".join(stage.worker(" kept: ").lines)


@scene("cannot be asked: Connection refused")
def reap_unasked(stage: Stage) -> str:
    left_for_hours(stage)
    stage.dead_job_server()
    return stage.run("reap", "--dry-run")


@scene("poolmgr pool=")
def description(stage: Stage) -> str:
    cloud = stage.cloud()
    with nova_on(cloud) as driver, PoolManager(driver) as manager:
        manager.execute("BUILD_IP")
    (ip,) = cloud.floating_ips
    return str(ip["description"])

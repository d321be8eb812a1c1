"""Scenes: devices and addresses in a wrong state."""

import sqlite3
from contextlib import closing

from poolmgr.cloud import open_cloud
from poolmgr.drivers.base import Driver
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.ownership import Job, Mark
from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.clouds import nova_on
from tests.jobservers import free_port
from tests.trouble.building import by_hand
from tests.trouble.scenes import scene
from tests.trouble.stage import Stage

NAME = "libra-4e3a5a0e-64c9-4f0a-8b5b-3f6e2d1c9a70"
SHORT = "[poolmgr]\nshort_timeout = 5\n"


def make(driver: Driver, mark: Mark) -> None:
    """Create a device of a job that no job server knows."""
    with open_cloud(driver, timeout=30.0) as cloud:
        cloud.wait_ready(cloud.create_device(NAME, mark))


def left_on(cloud: LoopbackCloud, pool: str = "libra") -> None:
    """Create such a device on a loopback cloud."""
    with nova_on(cloud) as driver:
        make(driver, Mark.for_job(pool, Job("9a1c")))


def left_for_hours(stage: Stage, mark: Mark, ago: int = 7200) -> str:
    """Create one on the fake cloud and return the configuration for it."""
    state = stage.folder / "cloud.db"
    with closing(FakeCloud(FakeSettings(state=str(state)))) as cloud:
        make(cloud, mark)
    with closing(sqlite3.connect(state)) as db, db:
        db.execute("UPDATE device SET created = created - ?", (ago,))
    return f"[fake]\nstate = {state}\n[reaper]\ninterval = 0.2\n"


def device_of(stage: Stage, **nova: str) -> str:
    """Build a device and return its name."""
    only = ("-f", "value", "-c", "name")
    return by_hand(stage, "build-device", *only, **nova).strip()


def ip_of(stage: Stage) -> str:
    """Build a floating IP and return its address."""
    return by_hand(stage, "build-ip", "-f", "value", "-c", "ip").strip()


@scene("there is no device 'libra-...'")
def device_gone(stage: Stage) -> str:
    stage.cloud()
    return by_hand(stage, "assign-ip", ip_of(stage), NAME)


@scene("there is no floating IP '198.18.0.77'")
def address_gone(stage: Stage) -> str:
    left_on(stage.cloud())
    return by_hand(stage, "assign-ip", "198.18.0.77", NAME)


@scene("2 devices are named 'libra-...'")
def two_of_a_name(stage: Stage) -> str:
    cloud = stage.cloud()
    left_on(cloud)
    left_on(cloud)
    return by_hand(stage, "delete-device", NAME)


@scene("is not this pool's ([poolmgr] authority is 'pattern')")
def not_ours(stage: Stage) -> str:
    left_on(stage.cloud(), pool="other")
    return by_hand(stage, "delete-device", NAME)


@scene("is attached to another device than 'libra-...'")
def on_another(stage: Stage) -> str:
    stage.cloud()
    ip, device, other = ip_of(stage), device_of(stage), device_of(stage)
    by_hand(stage, "assign-ip", ip, device)
    return by_hand(stage, "remove-ip", ip, other)


@scene("External network ... is not reachable from subnet")
def no_way_to_the_device(stage: Stage) -> str:
    stage.cloud()
    name = device_of(stage, networks="isolated")
    return by_hand(stage, "assign-ip", ip_of(stage), name)


@scene("attaching ...: not done within ... s")
def not_in_effect(stage: Stage) -> str:
    cloud = stage.cloud()
    name, ip = device_of(stage), ip_of(stage)
    cloud.fault(Fault.lost_floating_ip(times=None))
    return by_hand(stage, "assign-ip", ip, name, text=SHORT)


@scene("to accept: not done within ... s")
def port_closed(stage: Stage) -> str:
    # Addresses at which this machine refuses connections.
    stage.cloud(floating_range="127.0.128.0/24")
    text = f"{SHORT}check_port = {free_port()}\n"
    name, ip = device_of(stage), ip_of(stage)
    return by_hand(stage, "assign-ip", ip, name, text=text)


@scene("job 9a1c was never answered, and no worker or job server has it")
def left_behind(stage: Stage) -> str:
    text = left_for_hours(stage, Mark.for_job("libra", Job("9a1c")))
    options = stage.at(str(stage.job_server().address), text)
    return stage.log(options, " orphan: ")


@scene("nobody knows whether its answer arrived")
def unconfirmed(stage: Stage) -> str:
    mark = Mark.for_job("libra", Job("9a1c")).unconfirmed()
    text = left_for_hours(stage, mark)
    options = stage.at(str(stage.job_server().address), text)
    return stage.log(options, " kept: ")


@scene("cannot be asked: Connection refused")
def reap_unasked(stage: Stage) -> str:
    text = left_for_hours(stage, Mark.for_job("libra", Job("9a1c")))
    options = stage.at(stage.dead_address(), text)
    return stage.run(*options, "reap", "--dry-run")

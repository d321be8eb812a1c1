"""Drivers on loopback clouds, and the contents of a fake cloud."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from poolmgr.cloud import BlockingCloud, open_cloud
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.drivers.nova import NovaCloud, NovaSettings
from poolmgr.testing.openstack import LoopbackCloud

#: The settings of devices on loopback clouds and the real one.
MADE_OF: Mapping[str, Any] = {
    "image": "tiny",
    "flavor": "m1.nano",
    "networks": ("private",),
    "floating_network": "public",
}


def fake_devices(state: Path) -> list[str]:
    """Return the names of the devices in a fake cloud's file."""
    if not state.exists():
        return []
    with closing(FakeCloud(FakeSettings(state=str(state)))) as cloud:
        return [device.name for device in cloud.list_devices(30.0)]


def nova_group(cloud: str, **more: object) -> str:
    """Return the group ``[nova]`` of a configuration file.

    :param cloud: its name in clouds.yaml
    :param more: other options
    """
    options = {"cloud": cloud, **MADE_OF, **more}
    lines = (
        f"{name} = {','.join(v) if isinstance(v, tuple) else v}"
        for name, v in options.items()
    )
    return "\n".join(["[nova]", *lines, ""])


def settings_for(cloud: LoopbackCloud, **changes: Any) -> NovaSettings:
    """Return settings for a loopback cloud.

    :param changes: different settings
    """
    common = {**cloud.credentials, **MADE_OF, "call_timeout": 10.0}
    return NovaSettings(**{**common, **changes})


@contextmanager
def nova_on(cloud: LoopbackCloud, **changes: Any) -> Iterator[NovaCloud]:
    """Return a Nova driver on a loopback cloud."""
    driver = NovaCloud(settings_for(cloud, **changes))
    try:
        yield driver
    finally:
        driver.close()


@contextmanager
def openstack_on(
    cloud: LoopbackCloud, seconds: float = 10.0, **changes: Any
) -> Iterator[BlockingCloud]:
    """Yield a loopback cloud as actions see it.

    :param seconds: the time limit of each call
    :param changes: different settings
    """
    driver = NovaCloud(settings_for(cloud, **changes))
    with open_cloud(driver, timeout=seconds) as openstack:
        yield openstack

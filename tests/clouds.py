"""Drivers on loopback clouds."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from poolmgr.drivers.nova import NovaCloud, NovaSettings
from poolmgr.testing.openstack import LoopbackCloud


def settings_for(cloud: LoopbackCloud, **changes: Any) -> NovaSettings:
    """Settings that fit a loopback cloud.

    :param changes: settings that are to be different
    """
    credentials = cloud.credentials
    common = {
        **credentials,
        "image": "tiny",
        "flavor": "m1.nano",
        "networks": ("private",),
        "floating_network": "public",
        "call_timeout": 10.0,
    }
    return NovaSettings(**{**common, **changes})


@contextmanager
def nova_on(cloud: LoopbackCloud, **changes: Any) -> Iterator[NovaCloud]:
    """Nova's driver on a loopback cloud."""
    driver = NovaCloud(settings_for(cloud, **changes))
    try:
        yield driver
    finally:
        driver.close()

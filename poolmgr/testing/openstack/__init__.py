"""A loopback OpenStack: real HTTP, faults by rule, a record of every call.

Needs ``pip install poolmgr[testing]``. Importing this module imports nothing
else; what is used is loaded then.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poolmgr.testing.openstack.cloud import LoopbackCloud as LoopbackCloud
    from poolmgr.testing.openstack.fault import Fate as Fate
    from poolmgr.testing.openstack.fault import Fault as Fault
    from poolmgr.testing.openstack.fixtures import (
        loopback_cloud as loopback_cloud,
    )
    from poolmgr.testing.openstack.record import Call as Call
    from poolmgr.testing.openstack.settings import (
        CloudSettings as CloudSettings,
    )

_HOMES = {
    "Call": "poolmgr.testing.openstack.record",
    "CloudSettings": "poolmgr.testing.openstack.settings",
    "Fate": "poolmgr.testing.openstack.fault",
    "Fault": "poolmgr.testing.openstack.fault",
    "LoopbackCloud": "poolmgr.testing.openstack.cloud",
    "loopback_cloud": "poolmgr.testing.openstack.fixtures",
}
__all__ = [
    "Call",
    "CloudSettings",
    "Fate",
    "Fault",
    "LoopbackCloud",
    "loopback_cloud",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""A loopback OpenStack: real HTTP, fault injection, a record of all calls.

Needs ``pip install poolmgr[testing]``.
"""

from poolmgr.testing.openstack.cloud import LoopbackCloud, loopback_cloud
from poolmgr.testing.openstack.fault import Fate, Fault
from poolmgr.testing.openstack.record import Call
from poolmgr.testing.openstack.settings import CloudSettings

__all__ = [
    "Call",
    "CloudSettings",
    "Fate",
    "Fault",
    "LoopbackCloud",
    "loopback_cloud",
]

"""What goes wrong with the cloud meanwhile."""

import random
from collections.abc import Callable

from poolmgr.testing.openstack import Fault, LoopbackCloud

_SERVERS, _IPS = "/servers", "/floatingips"
_KINDS: tuple[Callable[[], Fault], ...] = (
    lambda: Fault(method="POST", path=_SERVERS, reset=True),
    lambda: Fault(method="POST", path=_SERVERS, reset=True, after=True),
    lambda: Fault(method="POST", path=_SERVERS, status=500, after=True),
    lambda: Fault(method="POST", path=_SERVERS, truncate=True),
    lambda: Fault.server_error(),
    lambda: Fault(method="POST", path=_IPS, reset=True, after=True),
    lambda: Fault(method="POST", path=_IPS, status=503),
    lambda: Fault(method="GET", path="/servers/detail", status=500),
    lambda: Fault(method="GET", path="/servers/detail", reset=True),
    lambda: Fault(method="GET", path=_IPS, status=429, retry_after=1.0),
    lambda: Fault(method="POST", path="/servers/[^/]+/metadata", status=500),
    lambda: Fault(
        method="POST", path="/servers/[^/]+/metadata", reset=True, after=True
    ),
    lambda: Fault(method="DELETE", path="/servers/[^/]+", status=500),
    lambda: Fault.lost_floating_ip(),
)


def worsen(cloud: LoopbackCloud, chance: random.Random) -> None:
    """Have one more thing go wrong, once."""
    cloud.fault(chance.choice(_KINDS)())

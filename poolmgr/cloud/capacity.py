"""Whether the cloud has room for more, as all jobs of a process know it."""

from dataclasses import dataclass, field

from poolmgr.cloud.breaker import Breaker
from poolmgr.errors import CloudUnavailable, DeviceFailed, QuotaExceeded

#: Boots that fail in a row before only single ones are tried.
_FAILED_BOOTS = 5


def _quota(what: str) -> Breaker:
    return Breaker(what, QuotaExceeded, QuotaExceeded, scarce=True)


def _boots() -> Breaker:
    return Breaker(
        "building devices",
        DeviceFailed,
        lambda reason: CloudUnavailable(
            f"no device was asked for, because the last ones failed: {reason}"
        ),
        threshold=_FAILED_BOOTS,
    )


@dataclass(frozen=True)
class Capacity:
    """What jobs have found out about the cloud's room.

    Over quota, one request after a pause finds out whether there is room
    again, whoever's it is; so a queue of builds is neither burnt nor does it
    beat upon the cloud.

    :ivar devices: the quota of devices
    :ivar ips: that of floating IPs
    :ivar boots: whether devices boot at all
    """

    devices: Breaker = field(
        default_factory=lambda: _quota("creating devices")
    )
    ips: Breaker = field(
        default_factory=lambda: _quota("allocating floating IPs")
    )
    boots: Breaker = field(default_factory=_boots)

    def hurry(self) -> None:
        """Have nobody wait for room any more."""
        for breaker in (self.devices, self.ips, self.boots):
            breaker.hurry()

    @property
    def scarce(self) -> bool:
        """Whether a build that is started now would only wait."""
        return self.devices.open or self.boots.open

"""Whether the cloud has room for more, as all jobs of a process know it."""

from poolmgr.cloud.breaker import Breaker
from poolmgr.cloud.pace import Pace
from poolmgr.errors import (
    CloudUnavailable,
    DeviceFailed,
    PoolmgrError,
    QuotaExceeded,
)

#: Boots that fail in a row before only single ones are tried.
_FAILED_BOOTS = 5


class Capacity:
    """What jobs have found out about the cloud's room.

    Over quota, one request after a pause finds out whether there is room
    again, whoever makes it: so a queue of builds neither fails as a whole nor
    floods the cloud.

    :ivar devices: the quota of devices
    :ivar ips: the quota of floating IPs
    :ivar boots: whether devices boot at all

    :param pace: the times of waiting
    :param making_devices: the breaker of the service that creates devices
    :param making_ips: the breaker of the one that allocates floating IPs
    """

    def __init__(
        self, pace: Pace, making_devices: Breaker, making_ips: Breaker
    ) -> None:
        def quota(what: str, service: Breaker) -> Breaker:
            return Breaker(
                what,
                QuotaExceeded,
                QuotaExceeded,
                first=pace.room_first,
                longest=pace.room_longest,
                slow_start=True,
                behind=service,
            )

        self.devices = quota("creating devices", making_devices)
        self.ips = quota("allocating floating IPs", making_ips)
        self.boots = Breaker(
            "building devices",
            DeviceFailed,
            _boots_fail,
            _FAILED_BOOTS,
            pace.room_first,
            pace.room_longest,
        )

    def hurry(self) -> None:
        """Let nobody wait for room any more."""
        for breaker in self.breakers.values():
            breaker.hurry()

    @property
    def breakers(self) -> dict[str, Breaker]:
        """All of them, by what they are for."""
        return {
            "device quota": self.devices,
            "floating ip quota": self.ips,
            "boots": self.boots,
        }

    @property
    def exhausted(self) -> bool:
        """Whether a build that is started now would only wait."""
        return self.devices.open or self.boots.open


def _boots_fail(reason: str) -> PoolmgrError:
    return CloudUnavailable(
        f"no device was asked for, because the last ones failed: {reason}"
    )

"""The room that the cloud has, as far as jobs have found out."""

from poolmgr.cloud.breaker import Breaker
from poolmgr.cloud.pace import Pace
from poolmgr.errors import CloudUnavailable, DeviceFailed, QuotaExceeded

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
    :ivar breakers: all of them, by what they are for

    :param pace: the times of waiting
    """

    def __init__(self, pace: Pace) -> None:
        self.devices, self.ips = (
            Breaker(
                what,
                QuotaExceeded,
                QuotaExceeded,
                pace.room_first,
                pace.room_longest,
                slow_start=True,
            )
            for what in ("creating devices", "allocating floating IPs")
        )
        self.boots = Breaker(
            "building devices",
            # Of its own floating IP: the next device gets none, either.
            (DeviceFailed, QuotaExceeded),
            lambda reason: CloudUnavailable(
                "no device was asked for, because the last ones failed: "
                f"{reason}"
            ),
            pace.room_first,
            pace.room_longest,
            _FAILED_BOOTS,
        )
        self.breakers = {
            "device quota": self.devices,
            "floating ip quota": self.ips,
            "boots": self.boots,
        }

    def hurry(self) -> None:
        """Let nobody wait for room any more."""
        for breaker in self.breakers.values():
            breaker.hurry()

    @property
    def exhausted(self) -> bool:
        """Whether a build that is started now would only wait."""
        return self.devices.open or self.boots.open

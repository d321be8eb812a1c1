"""What drivers and the rest of poolmgr tell each other of a cloud."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from poolmgr.ownership import Mark

Status = Literal["building", "active", "failed"]
Kind = Literal["device", "ip"]


def _require(value: object, kind: Any, *fields: str) -> None:
    """Require that fields of a value have a type: a driver's are not trusted.

    :raises TypeError: one has not
    """
    for name in fields:
        found = getattr(value, name)
        if not isinstance(found, kind):
            what, wanted = (
                type(value).__name__,
                getattr(kind, "__name__", kind),
            )
            raise TypeError(f"a {what}'s {name} is {found!r}, not {wanted}")


@dataclass(frozen=True)
class Device:
    """A server of the cloud.

    :ivar id: the cloud's own id
    :ivar name: its name; the cloud may have several of one name
    :ivar status: "building", "active" or "failed"
    :ivar address: where clients reach it, None until it has one
    :ivar created: when it was made, ISO 8601 in UTC
    :ivar fault: the cloud's own words when it failed
    :ivar mark: what poolmgr wrote on it, None if it did not make it
    """

    id: str
    name: str
    status: Status
    address: str | None
    created: str
    fault: str | None = None
    mark: Mark | None = None

    def __post_init__(self) -> None:
        _require(self, str, "id", "name", "created")
        _require(self, str | None, "address", "fault")
        _require(self, Mark | None, "mark")
        if self.status not in get_args(Status):
            raise TypeError(f"a device's status is {self.status!r}")

    @property
    def ready(self) -> bool:
        """Whether it runs and can be reached."""
        return self.status == "active" and self.address is not None


@dataclass(frozen=True)
class FloatingIP:
    """An address that can be moved between devices.

    :ivar id: the cloud's own id
    :ivar address: the address itself
    :ivar device_id: the device it is attached to, None when to nothing
    :ivar revision: changes whenever the cloud's record does; what
        :meth:`Driver.attach_ip`, :meth:`Driver.detach_ip` and
        :meth:`Driver.mark_ip` compare
    :ivar mark: what poolmgr wrote on it, None if it did not make it
    :ivar created: when it was allocated, ISO 8601 in UTC, None when the
        cloud does not tell
    :ivar goes_with: the id of the device that it was made for and is deleted
        with; None when it is one of its own
    """

    id: str
    address: str
    device_id: str | None
    revision: int
    mark: Mark | None = None
    created: str | None = None
    goes_with: str | None = None

    def __post_init__(self) -> None:
        _require(self, str, "id", "address")
        _require(self, str | None, "device_id", "created", "goes_with")
        _require(self, int, "revision")
        _require(self, Mark | None, "mark")


@dataclass(frozen=True)
class Finding:
    """What the check of a setting against the cloud has found.

    :ivar setting: the setting's name
    :ivar value: its value, empty when unset
    :ivar found: what that is in the cloud, as an id
    :ivar problem: in one line, what is wrong with it; None if nothing is
    """

    setting: str
    value: str
    found: str = ""
    problem: str | None = None

    def __post_init__(self) -> None:
        _require(self, str, "setting", "value", "found")
        _require(self, str | None, "problem")


@dataclass(frozen=True)
class Poll:
    """What one poll of devices that boot, or are deleted, has found.

    A device that was asked for and is in neither was not found.

    :ivar seen: devices as they are now; others than those asked for may be
        among them
    :ivar unchanged: ids of devices that are there and still building
    :ivar requests: requests to the cloud that the poll took; the more, the
        longer the pause until the next
    """

    seen: Sequence[Device]
    unchanged: Collection[str] = ()
    requests: int = 1

    def __post_init__(self) -> None:
        _require(self, Collection, "seen", "unchanged")
        _require(self, int, "requests")
        if not all(isinstance(each, Device) for each in self.seen):
            raise TypeError("a Poll's seen has what is no Device")


@dataclass(frozen=True)
class Limits:
    """How much a driver may be asked at once, and how long a verb may take.

    :ivar calls_at_once: verbs that run at the same time, at most
    :ivar calls_per_second: requests a second that :attr:`Driver.limiter`
        lets through; 0 for any number
    :ivar call_timeout: seconds for one verb
    :ivar poll_interval: seconds between two polls of devices that boot, at
        least
    """

    calls_at_once: int = 20
    calls_per_second: float = 0.0
    call_timeout: float = 30.0
    poll_interval: float = 1.0

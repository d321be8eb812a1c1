"""The values that drivers and the rest of poolmgr exchange."""

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


@dataclass(frozen=True, slots=True)
class Device:
    """A server of the cloud.

    :ivar id: the cloud's own id
    :ivar name: its name; the cloud may have several of one name
    :ivar status: "building", "active" or "failed"
    :ivar address: its address for clients, None until it has one
    :ivar created: when it was created, ISO 8601 in UTC
    :ivar fault: the cloud's reason for a failure
    :ivar mark: its mark, None if poolmgr did not create it
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


@dataclass(frozen=True, slots=True)
class FloatingIP:
    """An address that can be moved between devices.

    :ivar id: the cloud's own id
    :ivar address: the address itself
    :ivar device_id: the device that it is attached to, or None
    :ivar revision: changes with every change of the floating IP;
        :meth:`Driver.attach_ip`, :meth:`Driver.detach_ip` and
        :meth:`Driver.mark_ip` compare it
    :ivar mark: its mark, None if poolmgr did not create it
    :ivar created: when it was allocated, ISO 8601 in UTC, or None if unknown
    :ivar goes_with: the id of the device that it belongs to and is deleted
        with, or None
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
    """The result of checking a setting against the cloud.

    :ivar setting: the setting's name
    :ivar value: its value, empty when unset
    :ivar found: the id of the resource in the cloud
    :ivar problem: what is wrong, in one line, or None
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
    """The result of one poll of devices that boot or are being deleted.

    A device that is neither in ``seen`` nor in ``unchanged`` was not found.

    :ivar seen: devices as they are now, and possibly others
    :ivar unchanged: ids of devices that are still building
    :ivar requests: requests that the poll took; the more, the longer the pause
        until the next
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
    """Limits for the calls of a driver.

    :ivar calls_at_once: maximum number of concurrent calls
    :ivar calls_per_second: requests a second that :attr:`Driver.limiter`
        lets through; 0: no limit
    :ivar call_timeout: seconds for one call
    :ivar poll_interval: minimum seconds between two polls
    """

    calls_at_once: int = 20
    calls_per_second: float = 0.0
    call_timeout: float = 30.0
    poll_interval: float = 1.0

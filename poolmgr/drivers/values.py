"""The values that drivers and the rest of poolmgr exchange."""

import functools
import reprlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from poolmgr.ownership import Mark

Status = Literal["building", "active", "failed"]


def check_type(value: object, hint: Any, what: str) -> None:
    """Check the type of a value that comes from a driver.

    :param hint: a class, a union, a ``Literal``, or a collection of these
    :param what: the name of the value in the error
    :raises TypeError: the value has another type
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Collection, Sequence):
        check_type(value, Collection, what)
        for each in value:  # type: ignore[attr-defined]
            check_type(each, args[0], f"an entry of {what}")
        return
    is_valid = value in args if origin is Literal else isinstance(value, hint)
    if not is_valid:
        wanted = getattr(hint, "__name__", hint)
        raise TypeError(f"{what} is {reprlib.repr(value)}, not {wanted}")


# Not a field's own type: that is text if the module of a driver postpones the
# evaluation of annotations. Cached, because a list has thousands of devices.
_hints_of = functools.cache(get_type_hints)


@dataclass(frozen=True, slots=True)
class _Checked:
    """Checks the types of its fields, because a driver sets them."""

    def __post_init__(self) -> None:
        hints = _hints_of(type(self))  # type: ignore[arg-type]
        for field in fields(self):
            what = f"{type(self).__name__}.{field.name}"
            check_type(getattr(self, field.name), hints[field.name], what)


@dataclass(frozen=True, slots=True)
class Device(_Checked):
    """A server of the cloud.

    :ivar id: the cloud's own id
    :ivar name: its name; the cloud may have several devices of one name
    :ivar status: "building", "active" or "failed"
    :ivar address: its address for clients, None until it has one
    :ivar created: creation time, ISO 8601 in UTC
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

    @property
    def ready(self) -> bool:
        """Whether the device is active and has an address."""
        return self.status == "active" and self.address is not None


@dataclass(frozen=True, slots=True)
class FloatingIP(_Checked):
    """An address that can be moved between devices.

    :ivar id: the cloud's own id
    :ivar address: the address itself
    :ivar device_id: id of the device that it is attached to, or None
    :ivar revision: changes with every change of the floating IP;
        ``attach_ip``, ``detach_ip`` and ``mark_ip`` compare it
    :ivar mark: its mark, None if poolmgr did not create it
    :ivar created: allocation time, ISO 8601 in UTC, or None if unknown
    :ivar goes_with: id of the device that it belongs to and is deleted with,
        or None
    """

    id: str
    address: str
    device_id: str | None
    revision: int
    mark: Mark | None = None
    created: str | None = None
    goes_with: str | None = None


@dataclass(frozen=True, slots=True)
class Finding(_Checked):
    """The result of checking a setting against the cloud.

    :ivar setting: the setting's name
    :ivar value: its value, empty when unset
    :ivar found: id of the resource in the cloud
    :ivar problem: the problem in one line, or None
    """

    setting: str
    value: str
    found: str = ""
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Poll(_Checked):
    """The result of one poll of devices that boot or are being deleted.

    A device that is neither in ``seen`` nor in ``unchanged`` was not found.

    :ivar seen: current state of the devices, and possibly of others
    :ivar unchanged: ids of devices that are still building
    :ivar requests: number of requests that the poll took; the more, the
        longer the pause until the next poll
    """

    seen: Sequence[Device]
    unchanged: Collection[str] = ()
    requests: int = 1


# Not _Checked, which would refuse an int in place of a float.
@dataclass(frozen=True)
class Limits:
    """Limits for the calls of a driver.

    :ivar calls_at_once: maximum number of concurrent calls
    :ivar calls_per_second: requests a second that the driver's ``limiter``
        lets through; 0: no limit
    :ivar call_timeout: seconds for one call
    :ivar poll_interval: minimum seconds between two polls
    """

    calls_at_once: int = 20
    calls_per_second: float = 0.0
    call_timeout: float = 30.0
    poll_interval: float = 1.0

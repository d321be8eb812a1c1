"""What a driver may return and raise, so that it takes its own blame.

Each ``*_in`` takes a value that a driver returned and raises
:class:`Nonsense` if it may not return that.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, get_args

from poolmgr.drivers.base import (
    Device,
    Driver,
    Finding,
    FloatingIP,
    Poll,
    Status,
)
from poolmgr.drivers.lifecycle import name_of
from poolmgr.errors import PluginFailed, PoolmgrError
from poolmgr.foreign import is_interrupt, told
from poolmgr.ownership import Mark

LOG = logging.getLogger(__name__)

T = TypeVar("T")

Service = Literal["compute", "network"]
Kind = Literal["reading", "changing", "making"]


class Nonsense(Exception):
    """What a driver returned is not what it has to be."""


def device_in(value: object) -> Device:
    """Return a device."""
    if not isinstance(value, Device):
        raise Nonsense(f"returned {type(value).__name__}, not a Device")
    _require(value, str, "id", "name")
    _require(value, (str, type(None)), "address", "fault")
    _require(value, (Mark, type(None)), "mark")
    if value.status not in get_args(Status):
        raise Nonsense(f"returned a Device with the status {value.status!r}")
    return value


def optional_device_in(value: object) -> Device | None:
    """Return a device or None."""
    return None if value is None else device_in(value)


def ip_in(value: object) -> FloatingIP:
    """Return a floating IP."""
    if not isinstance(value, FloatingIP):
        raise Nonsense(f"returned {type(value).__name__}, not a FloatingIP")
    _require(value, str, "id", "address")
    _require(value, (str, type(None)), "device_id")
    _require(value, (Mark, type(None)), "mark")
    return value


def devices_in(value: object) -> list[Device]:
    """Return any number of devices."""
    return [device_in(each) for each in _list(value)]


def ips_in(value: object) -> list[FloatingIP]:
    """Return any number of floating IPs."""
    return [ip_in(each) for each in _list(value)]


def created_in(value: object) -> list[Any]:
    """Return any number of devices or floating IPs."""
    return [
        device_in(each) if isinstance(each, Device) else ip_in(each)
        for each in _list(value)
    ]


def poll_in(value: object) -> Poll:
    """Return what a look has found."""
    if not isinstance(value, Poll):
        raise Nonsense(f"returned {type(value).__name__}, not a Poll")
    if not isinstance(value.unchanged, Collection):
        raise Nonsense("returned a Poll whose 'unchanged' is no collection")
    if type(value.requests) is not int:
        raise Nonsense("returned a Poll whose 'requests' is no number")
    devices_in(value.seen)
    return value


def findings_in(value: object) -> list[Finding]:
    """Return what a check has found."""
    found = _list(value)
    for each in found:
        if not isinstance(each, Finding):
            raise Nonsense(f"returned {type(each).__name__}, not a Finding")
        _require(each, str, "setting", "value", "found")
        _require(each, (str, type(None)), "problem")
    return found


def flag_in(value: object) -> bool:
    """Return True or False."""
    if type(value) is not bool:
        raise Nonsense(f"returned {type(value).__name__}, not True or False")
    return value


def text_in(value: object) -> str:
    """Return text."""
    if not isinstance(value, str):
        raise Nonsense(f"is {type(value).__name__}, not text")
    return value


def nothing_in(value: object) -> None:
    """Ignore whatever it returned."""


def _require(value: object, kinds: Any, *names: str) -> None:
    for name in names:
        found = getattr(value, name)
        if not isinstance(found, kinds):
            raise Nonsense(
                f"returned a {type(value).__name__} whose {name} is "
                f"{type(found).__name__}"
            )


def _list(value: object) -> list[Any]:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise Nonsense(f"returned {type(value).__name__}, not a list")
    return list(value)


@dataclass(frozen=True)
class Verb(Generic[T]):
    """A method of a driver.

    :ivar name: its name
    :ivar service: "compute" or "network"
    :ivar kind: what it does; one kind may fail while the others work
    :ivar take: checks what it returns
    """

    name: str
    service: Service
    kind: Kind
    take: Callable[[Any], T]


CREATE_DEVICE = Verb("create_device", "compute", "making", device_in)
GET_DEVICE = Verb("get_device", "compute", "reading", optional_device_in)
LIST_DEVICES = Verb("list_devices", "compute", "reading", devices_in)
FIND_DEVICES = Verb("find_devices", "compute", "reading", devices_in)
DEVICES_OF_JOBS = Verb("devices_of_jobs", "compute", "reading", devices_in)
POLL = Verb("poll", "compute", "reading", poll_in)
FINISH_DEVICE = Verb("finish_device", "network", "changing", device_in)
EXPLAIN_FAILURE = Verb("explain_failure", "compute", "reading", text_in)
MARK_DEVICE = Verb("mark_device", "compute", "changing", nothing_in)
DELETE_DEVICE = Verb("delete_device", "compute", "changing", flag_in)
CREATE_IP = Verb("create_ip", "network", "making", ip_in)
LIST_IPS = Verb("list_ips", "network", "reading", ips_in)
FIND_IPS = Verb("find_ips", "network", "reading", ips_in)
IPS_OF_JOBS = Verb("ips_of_jobs", "network", "reading", ips_in)
MARK_IP = Verb("mark_ip", "network", "changing", nothing_in)
ATTACH_IP = Verb("attach_ip", "network", "changing", nothing_in)
DETACH_IP = Verb("detach_ip", "network", "changing", nothing_in)
DELETE_IP = Verb("delete_ip", "network", "changing", flag_in)
FIND_CREATED_DEVICES = Verb("find_created", "compute", "reading", created_in)
FIND_CREATED_IPS = Verb("find_created", "network", "reading", created_in)
CHECK = Verb("check", "compute", "reading", findings_in)
ACCEPTS = Verb("accepts", "network", "reading", flag_in)


def call(driver: Driver, verb: Verb[T], *args: object) -> T:
    """Call a method of a driver and check what it returns.

    :raises PoolmgrError: raised by the driver
    :raises PluginFailed: it raised or returned what it may not
    """
    try:
        return verb.take(getattr(driver, verb.name)(*args))
    except BaseException as error:
        if _may_raise(error):
            raise
        raise _blame(driver, verb.name, error) from error


def image_of(driver: Driver) -> str:
    """Return the image that a driver makes devices from.

    :raises PluginFailed: it is no text
    """
    try:
        return text_in(driver.image)
    except BaseException as error:
        if _may_raise(error):
            raise
        raise _blame(driver, "image", error) from error


def _may_raise(error: BaseException) -> bool:
    """Tell whether it is none of a driver's defects."""
    return is_interrupt(error) or issubclass(type(error), PoolmgrError)


def _blame(driver: Driver, verb: str, error: BaseException) -> PluginFailed:
    name = name_of(driver)
    if type(error) is Nonsense:
        return PluginFailed(f"{name}: {verb} {error}")
    try:
        LOG.error("%s failed unexpectedly in %s", name, verb, exc_info=error)
    except BaseException:  # its traceback, too, is made by a plugin
        LOG.error("%s failed and cannot be shown", name)
    return PluginFailed(f"{name}: {verb}: {told(error)}")

"""What a driver may return: each of these takes a value, or says what it is.

All raise :class:`Nonsense` for a value that it may not return.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args

from poolmgr.cloud.breaker import Breaker
from poolmgr.drivers.base import (
    Device,
    DriverState,
    Finding,
    FloatingIP,
    Status,
)
from poolmgr.ownership import Mark

T = TypeVar("T")


class Nonsense(Exception):
    """What a driver returned is not what it has to be."""


def device_in(value: object) -> Device:
    """A device."""
    if not isinstance(value, Device):
        raise Nonsense(f"returned {type(value).__name__}, not a Device")
    _require(value, str, "id", "name")
    _require(value, (str, type(None)), "address", "fault")
    _require(value, (Mark, type(None)), "mark")
    if value.status not in get_args(Status):
        raise Nonsense(f"returned a Device with the status {value.status!r}")
    return value


def ready_device(value: object) -> Device:
    """A device that is ready."""
    device = device_in(value)
    if not device.ready:
        raise Nonsense("returned a Device that is not ready")
    return device


def ip_in(value: object) -> FloatingIP:
    """A floating IP."""
    if not isinstance(value, FloatingIP):
        raise Nonsense(f"returned {type(value).__name__}, not a FloatingIP")
    _require(value, str, "id", "address")
    _require(value, (str, type(None)), "device_id")
    _require(value, (Mark, type(None)), "mark")
    return value


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


def devices_in(value: object) -> list[Device]:
    """Any number of devices."""
    return [device_in(each) for each in _list(value)]


def ips_in(value: object) -> list[FloatingIP]:
    """Any number of floating IPs."""
    return [ip_in(each) for each in _list(value)]


def findings_in(value: object) -> list[Finding]:
    """What a check has found."""
    found = _list(value)
    for each in found:
        if not isinstance(each, Finding):
            raise Nonsense(f"returned {type(each).__name__}, not a Finding")
        _require(each, str, "setting", "value", "found")
        _require(each, (str, type(None)), "problem")
    return found


def optional(take: Callable[[object], T]) -> Callable[[object], T | None]:
    """What it may return besides, or None."""
    return lambda value: None if value is None else take(value)


def flag_in(value: object) -> bool:
    """True or False."""
    if type(value) is not bool:
        raise Nonsense(f"returned {type(value).__name__}, not True or False")
    return value


def text_in(value: object) -> str:
    """Text."""
    if not isinstance(value, str):
        raise Nonsense(f"is {type(value).__name__}, not text")
    return value


def state_in(value: object) -> DriverState:
    """How a driver does."""
    if not isinstance(value, DriverState):
        raise Nonsense(f"is {type(value).__name__}, not a DriverState")
    breakers = value.breakers
    if not isinstance(breakers, Mapping) or not all(
        isinstance(name, str) and isinstance(breaker, Breaker)
        for name, breaker in breakers.items()
    ):
        raise Nonsense("has breakers that are none")
    if not (isinstance(value.awaited, int) and math.isfinite(value.view_age)):
        raise Nonsense("has numbers that are none")
    return value


def nothing(value: object) -> None:
    """Whatever it returned is not wanted."""

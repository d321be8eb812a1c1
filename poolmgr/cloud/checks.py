"""The verbs of a driver, and what they may return and raise.

A driver that does something else is named as the one to blame.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin
from typing import get_type_hints as type_hints

from poolmgr.drivers.base import Device, Driver, Finding, FloatingIP, Poll
from poolmgr.drivers.lifecycle import name_of
from poolmgr.errors import PluginFailed, PoolmgrError
from poolmgr.foreign import is_interrupt, log_defect, told

LOG = logging.getLogger(__name__)

T = TypeVar("T")

Service = Literal["compute", "network"]
Kind = Literal["reading", "changing", "making"]

#: The types of the fields of what drivers return.
_FIELDS = {cls: type_hints(cls) for cls in (Device, FloatingIP, Finding, Poll)}


@dataclass(frozen=True)
class Verb(Generic[T]):
    """A method of a driver.

    :ivar name: its name
    :ivar service: what it asks
    :ivar kind: what it does; one kind may fail while the others work
    :ivar returns: the type of what it returns
    """

    name: str
    service: Service
    kind: Kind
    returns: Any

    @property
    def circuit(self) -> str:
        """The circuit breaker that it has to pass."""
        return f"{self.kind} {self.service}"


def _verb(
    method: Callable[..., T], service: Service, kind: Kind = "reading"
) -> Verb[T]:
    hint = type_hints(method)["return"]
    # What a verb returns that has nothing to tell does not matter.
    returns = object if hint is NoneType else hint
    return Verb(method.__name__, service, kind, returns)


CREATE_DEVICE = _verb(Driver.create_device, "compute", "making")
GET_DEVICE = _verb(Driver.get_device, "compute")
LIST_DEVICES = _verb(Driver.list_devices, "compute")
FIND_DEVICES = _verb(Driver.find_devices, "compute")
DEVICES_OF_JOBS = _verb(Driver.devices_of_jobs, "compute")
POLL = _verb(Driver.poll, "compute")
FINISH_DEVICE = _verb(Driver.finish_device, "network", "changing")
EXPLAIN_FAILURE = _verb(Driver.explain_failure, "compute")
MARK_DEVICE = _verb(Driver.mark_device, "compute", "changing")
DELETE_DEVICE = _verb(Driver.delete_device, "compute", "changing")
CREATE_IP = _verb(Driver.create_ip, "network", "making")
LIST_IPS = _verb(Driver.list_ips, "network")
FIND_IPS = _verb(Driver.find_ips, "network")
IPS_OF_JOBS = _verb(Driver.ips_of_jobs, "network")
MARK_IP = _verb(Driver.mark_ip, "network", "changing")
ATTACH_IP = _verb(Driver.attach_ip, "network", "changing")
DETACH_IP = _verb(Driver.detach_ip, "network", "changing")
DELETE_IP = _verb(Driver.delete_ip, "network", "changing")
FIND_CREATED_DEVICES: Verb[Sequence[Device]] = Verb(
    "find_created", "compute", "reading", Sequence[Device]
)
FIND_CREATED_IPS: Verb[Sequence[FloatingIP]] = Verb(
    "find_created", "network", "reading", Sequence[FloatingIP]
)
CHECK = _verb(Driver.check, "compute")
ACCEPTS = _verb(Driver.accepts, "network")


class Nonsense(Exception):
    """What a driver returned is not what it has to be."""


def call(driver: Driver, verb: Verb[T], *args: object) -> T:
    """Call a method of a driver and check what it returns.

    :raises PoolmgrError: raised by the driver
    :raises PluginFailed: it raised or returned what it may not
    """
    name = f"{name_of(driver)}: {verb.name}"
    try:
        returned = getattr(driver, verb.name)(*args)
        checked: T = fitting(returned, verb.returns)
        return checked
    except Nonsense as error:
        raise PluginFailed(f"{name} returned {error}") from error
    except BaseException as error:
        if is_interrupt(error) or issubclass(type(error), PoolmgrError):
            raise
        log_defect(LOG, name, error)
        raise PluginFailed(f"{name}: {told(error)}") from error


def image_of(driver: Driver) -> str:
    """Return the image that a driver makes devices from.

    :raises PluginFailed: it is no text
    """
    try:
        image: str = fitting(driver.image, str)
    except Nonsense as error:
        raise PluginFailed(f"{name_of(driver)}: image is {error}") from error
    return image


def fitting(value: Any, hint: Any, where: str = "") -> Any:
    """Return a value that has the type of a hint; a sequence as a list.

    :param where: what has the value, for the message
    :raises Nonsense: it has another type
    """
    kind, kinds = get_origin(hint) or hint, get_args(hint)
    if kind is UnionType:
        kind = next((k for k in kinds if isinstance(value, k)), kinds[0])
    if kind is Literal:
        fits = value in kinds
    elif kind is Sequence:
        fits = isinstance(value, Iterable) and not isinstance(value, str)
    else:
        fits = isinstance(value, kind)
    if not fits:
        shown = repr(value) if _is_plain(value) else type(value).__name__
        wanted = getattr(hint, "__name__", hint)
        raise Nonsense(f"{where}{shown}, not {wanted}")
    if kind is Sequence:
        return [fitting(each, kinds[0], where) for each in value]
    for name, field in _FIELDS.get(kind, {}).items():
        fitting(
            getattr(value, name), field, f"a {kind.__name__} whose {name} is "
        )
    return value


def _is_plain(value: object) -> bool:
    return type(value) in (str, int, float, bool, NoneType)

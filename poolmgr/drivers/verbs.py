"""The verbs of a driver, and how one is called.

A driver that returns or raises what it may not is named as the one to blame.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from poolmgr.drivers.base import Device, Driver, FloatingIP
from poolmgr.plugins import is_interrupt, known

T = TypeVar("T")


@dataclass(frozen=True)
class Verb(Generic[T]):
    """A method of a driver.

    :ivar name: its name
    :ivar circuit: what it does, and which service it asks: one may fail while
        the others work
    :ivar returns: the type of what it returns
    """

    name: str
    circuit: str
    returns: Any

    @property
    def service(self) -> str:
        """Which service it asks."""
        return self.circuit.split()[1]

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing."""
        return self.circuit.startswith("reading")


def _verb(
    method: Callable[..., T], circuit: str = "reading compute"
) -> Verb[T]:
    return Verb(method.__name__, circuit, get_type_hints(method)["return"])


CREATE_DEVICE = _verb(Driver.create_device, "making compute")
GET_DEVICE = _verb(Driver.get_device)
LIST_DEVICES = _verb(Driver.list_devices)
FIND_DEVICES = _verb(Driver.find_devices)
DEVICES_OF_JOBS = _verb(Driver.devices_of_jobs)
POLL = _verb(Driver.poll)
FINISH_DEVICE = _verb(Driver.finish_device, "changing network")
EXPLAIN_FAILURE = _verb(Driver.explain_failure)
MARK_DEVICE = _verb(Driver.mark_device, "changing compute")
DELETE_DEVICE = _verb(Driver.delete_device, "changing compute")
CREATE_IP = _verb(Driver.create_ip, "making network")
LIST_IPS = _verb(Driver.list_ips, "reading network")
FIND_IPS = _verb(Driver.find_ips, "reading network")
IPS_OF_JOBS = _verb(Driver.ips_of_jobs, "reading network")
MARK_IP = _verb(Driver.mark_ip, "changing network")
ATTACH_IP = _verb(Driver.attach_ip, "changing network")
DETACH_IP = _verb(Driver.detach_ip, "changing network")
DELETE_IP = _verb(Driver.delete_ip, "changing network")
FIND_CREATED_DEVICES: Verb[Sequence[Device]] = Verb(
    "find_created", "reading compute", Sequence[Device]
)
FIND_CREATED_IPS: Verb[Sequence[FloatingIP]] = Verb(
    "find_created", "reading network", Sequence[FloatingIP]
)
CHECK = _verb(Driver.check)
ACCEPTS = _verb(Driver.accepts, "reading network")


def name_of(driver: Driver) -> str:
    """Return what a driver is called in messages."""
    return f"driver {type(driver).__name__}"


def call(driver: Driver, verb: Verb[T], *args: object) -> T:
    """Call a method of a driver and check what it returns.

    :returns: that; a sequence as a list
    :raises PoolmgrError: raised by the driver
    :raises PluginFailed: it raised or returned what it may not
    """
    try:
        returned = getattr(driver, verb.name)(*args)
        checked: T = _checked(returned, verb.returns)
        return checked
    except BaseException as error:
        if is_interrupt(error):
            raise
        failure = known(error, f"{name_of(driver)}: {verb.name}")
    raise failure


def _checked(returned: Any, hint: Any) -> Any:
    if hint is NoneType or hint is Any:
        return returned  # what has nothing to tell may return anything
    if get_origin(hint) is not Sequence:
        _require(returned, hint)
        return returned
    resources = list(returned)
    for each in resources:
        _require(each, get_args(hint)[0])
    return resources


def _require(value: object, kind: Any) -> None:
    # What these are made of they have checked themselves.
    if not isinstance(value, kind):
        wanted = getattr(kind, "__name__", kind)
        raise TypeError(f"returned a {type(value).__name__}, not {wanted}")

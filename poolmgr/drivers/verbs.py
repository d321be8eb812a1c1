"""Load, create, call and close drivers.

Drivers are plugins: an error that a driver must not raise, or a result of
the wrong type, becomes a :class:`~poolmgr.errors.PluginFailed` that names the
driver.
"""

import dataclasses
import logging
import threading
from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any, Generic, TypeVar, get_origin, get_type_hints

from poolmgr.drivers.base import Driver
from poolmgr.drivers.values import check_type
from poolmgr.plugins import DRIVERS, Registry, as_poolmgr_error
from poolmgr.text import describe

LOG = logging.getLogger(__name__)

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Verb(Generic[T]):
    """A method of a driver.

    :ivar name: the method's name
    :ivar circuit: the kind of operation and the service; each combination has
        a circuit breaker of its own
    :ivar returns: the return type
    """

    name: str
    circuit: str
    returns: Any

    @property
    def service(self) -> str:
        """The service of the cloud that the method uses."""
        return self.circuit.split()[1]

    @property
    def is_read(self) -> bool:
        """Whether the method changes nothing."""
        return self.circuit.startswith(("reading", "reaching"))

    def checked(self, result: Any) -> T:
        """Return a result of the method; a sequence as a list.

        :raises TypeError: the result has another type
        """
        if get_origin(self.returns) is Sequence:
            # A generator must run, and fail, on the thread of its call.
            result = list(result)
        # The result of a method that returns None is not used.
        if self.returns not in (Any, NoneType):
            check_type(result, self.returns, "its result")
        return result  # type: ignore[no-any-return]


def _verb(
    method: Callable[..., T], circuit: str = "reading compute"
) -> Verb[T]:
    return Verb(method.__name__, circuit, get_type_hints(method)["return"])


# The names of the circuits are labels of the metric poolmgr_breaker_open.
CREATE_DEVICE = _verb(Driver.create_device, "making compute")
GET_DEVICE = _verb(Driver.get_device)
LIST_DEVICES = _verb(Driver.list_devices)
FIND_DEVICES = _verb(Driver.find_devices)
DEVICES_OF_JOBS = _verb(Driver.devices_of_jobs)
POLL = _verb(Driver.poll)
FINISH_DEVICE = _verb(Driver.finish_device, "finishing network")
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
CHECK = _verb(Driver.check)
ACCEPTS = _verb(Driver.accepts, "reaching network")


def driver_plugins() -> Registry[Driver]:
    """Return the registry of the installed drivers."""
    return Registry("driver", DRIVERS, Driver, find_defect)  # type: ignore[type-abstract]


def find_defect(driver: type[Driver]) -> str | None:
    """Return what is wrong with a driver's class, or None."""
    settings = getattr(driver, "Settings", None)
    if not (isinstance(settings, type) and dataclasses.is_dataclass(settings)):
        return "'Settings' must be a dataclass"
    # Raises if a type cannot be resolved; the registry reports that.
    get_type_hints(settings)
    for field in dataclasses.fields(settings):
        if "help" not in field.metadata:
            return f"the setting {field.name!r} must be made by setting()"
    return None


def make_driver(cls: type[Driver], settings: object = None) -> Driver:
    """Create a driver from its settings.

    :param settings: None for the defaults
    :raises PoolmgrError: raised by the driver
    :raises PluginFailed: the driver has a bug
    """
    try:
        return cls(cls.Settings() if settings is None else settings)
    except KeyboardInterrupt:
        raise
    # A SystemExit, too: a plugin must not end the program.
    except BaseException as error:
        doing = f"driver {cls.__name__}: __init__"
        raise as_poolmgr_error(error, doing)  # noqa: B904 - has its cause


def name_of(driver: Driver) -> str:
    """Return a driver's name for messages."""
    return f"driver {type(driver).__name__}"


def close_driver(driver: Driver, timeout: float = 5.0) -> None:
    """Close a driver; do not wait for one that hangs, log an error.

    :param timeout: seconds until a driver that hangs is abandoned
    """
    # Not a thread of the calls' pool, which is closed by then.
    closing = threading.Thread(
        target=_close, args=(driver,), name="poolmgr-closing", daemon=True
    )
    closing.start()
    closing.join(timeout)
    if closing.is_alive():
        name = name_of(driver)
        LOG.error("%s: close has not returned within %g s", name, timeout)


def _close(driver: Driver) -> None:
    try:
        driver.close()
    except BaseException as error:
        LOG.error("%s: close: %s", name_of(driver), describe(error))

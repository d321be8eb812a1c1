"""A driver that is held to its contract, so that it takes its own blame."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from poolmgr.cloud.values import (
    Nonsense,
    device_in,
    devices_in,
    findings_in,
    flag_in,
    ip_in,
    ips_in,
    nothing,
    optional,
    ready_device,
    state_in,
    text_in,
)
from poolmgr.drivers.base import (
    Device,
    Driver,
    DriverState,
    Finding,
    FloatingIP,
)
from poolmgr.errors import (
    PluginFailed,
    PoolmgrError,
    is_interrupt,
    told,
)
from poolmgr.events import Observer
from poolmgr.ownership import Mark
from poolmgr.threads import NoThreads, start_daemon
from poolmgr.waiting import Deadline

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds that a driver may take to close.
CLOSING_TIME = 5.0


class Checked(Driver):
    """Another driver; all of poolmgr calls it through this.

    What it returns is looked at, and what it raises names it: so the action
    that called it is not blamed.  It looks like the other to whoever asks
    for its class, and has all of its attributes.

    :param driver: the other
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._name = f"driver {type(driver).__name__}"
        # What each thread waits for; and what was complained of.
        self._calls: dict[int, str] = {}
        self._told: set[str] = set()

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._driver)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    @property
    def Settings(self) -> Any:  # type: ignore[override]  # noqa: N802
        return type(self._driver).Settings

    @property
    def image(self) -> str:  # type: ignore[override]
        return self._call("image", text_in, lambda: self._driver.image)

    def call_of(self, thread: int) -> str:
        """What a thread waits for, "driver MyCloud: find_ip"; else empty."""
        return self._calls.get(thread, "")

    # -- the contract -------------------------------------------------------

    def create_device(
        self, name: str, mark: Mark, deadline: Deadline
    ) -> Device:
        return self._do("create_device", device_in, name, mark, deadline)

    def wait_for_device(self, device: Device, deadline: Deadline) -> Device:
        return self._do("wait_for_device", ready_device, device, deadline)

    def list_devices(self, deadline: Deadline) -> Sequence[Device]:
        return self._do("list_devices", devices_in, deadline)

    def find_devices(self, name: str, deadline: Deadline) -> Sequence[Device]:
        return self._do("find_devices", devices_in, name, deadline)

    def devices_of_job(
        self, unique: str, deadline: Deadline
    ) -> Sequence[Device]:
        return self._do("devices_of_job", devices_in, unique, deadline)

    def mark_device(
        self, device: Device, mark: Mark, deadline: Deadline
    ) -> None:
        self._do("mark_device", nothing, device, mark, deadline)

    def delete_device(self, device: Device, deadline: Deadline) -> None:
        self._do("delete_device", nothing, device, deadline)

    def create_ip(self, mark: Mark, deadline: Deadline) -> FloatingIP:
        return self._do("create_ip", ip_in, mark, deadline)

    def list_ips(self, deadline: Deadline) -> Sequence[FloatingIP]:
        return self._do("list_ips", ips_in, deadline)

    def find_ip(self, address: str, deadline: Deadline) -> FloatingIP | None:
        return self._do("find_ip", optional(ip_in), address, deadline)

    def ips_of_job(
        self, unique: str, deadline: Deadline
    ) -> Sequence[FloatingIP]:
        return self._do("ips_of_job", ips_in, unique, deadline)

    def device_of_ip(
        self, ip: FloatingIP, deadline: Deadline
    ) -> Device | None:
        return self._do("device_of_ip", optional(device_in), ip, deadline)

    def mark_ip(self, ip: FloatingIP, mark: Mark, deadline: Deadline) -> None:
        self._do("mark_ip", nothing, ip, mark, deadline)

    def attach_ip(
        self, ip: FloatingIP, device: Device, deadline: Deadline
    ) -> None:
        self._do("attach_ip", nothing, ip, device, deadline)

    def detach_ip(self, ip: FloatingIP, deadline: Deadline) -> None:
        self._do("detach_ip", nothing, ip, deadline)

    def delete_ip(self, ip: FloatingIP, deadline: Deadline) -> None:
        self._do("delete_ip", nothing, ip, deadline)

    def accepts(self, address: str, port: int, deadline: Deadline) -> bool:
        return self._do("accepts", flag_in, address, port, deadline)

    def check(self, deadline: Deadline) -> Sequence[Finding]:
        return self._do("check", findings_in, deadline)

    def observe(self, observer: Observer) -> None:
        self._do("observe", nothing, observer)

    @property
    def is_down(self) -> bool:
        return self._ask(flag_in, "is_down", False)

    @property
    def state(self) -> DriverState:
        return self._ask(state_in, "state", DriverState())

    def try_again(self) -> None:
        self._do("try_again", nothing)

    def close(self) -> None:
        """Close it; one that hangs is left."""

        def close() -> None:
            try:
                self._do("close", nothing)
            except PoolmgrError as error:
                LOG.error("%s", told(error))

        try:
            thread = start_daemon("poolmgr-closing", close)
        except NoThreads:
            close()
            return
        thread.join(CLOSING_TIME)
        if thread.is_alive():
            LOG.error(
                "%s: close has not returned within %g s and is left",
                self._name,
                CLOSING_TIME,
            )

    # -- inside -------------------------------------------------------------

    def _do(self, verb: str, take: Callable[[Any], T], *args: object) -> T:
        return self._call(
            verb, take, lambda: getattr(self._driver, verb)(*args)
        )

    def _call(
        self, verb: str, take: Callable[[Any], T], call: Callable[[], object]
    ) -> T:
        """What it returns, looked at.

        :raises PoolmgrError: its own
        :raises PluginFailed: it raised or returned what it may not
        """
        thread = threading.get_ident()
        self._calls[thread] = f"{self._name}: {verb}"
        try:
            return take(call())
        except BaseException as error:
            if _may_raise(error):
                raise
            raise self._blamed(verb, error) from error
        finally:
            self._calls.pop(thread, None)

    def _blamed(self, verb: str, error: BaseException) -> PluginFailed:
        if type(error) is Nonsense:
            return PluginFailed(f"{self._name}: {verb} {error}")
        try:
            LOG.error(
                "%s failed unexpectedly in %s",
                self._name,
                verb,
                exc_info=error,
            )
        except BaseException:  # its traceback, too, is made by a plugin
            LOG.error("%s failed and cannot be shown", self._name)
        return PluginFailed(f"{self._name}: {verb}: {told(error)}")

    def _ask(self, take: Callable[[Any], T], name: str, default: T) -> T:
        """An attribute that many look at; one that fails is told of once."""
        try:
            return take(getattr(self._driver, name))
        except BaseException as error:
            if is_interrupt(error):
                raise
            problem = f"{self._name}: {name}: {told(error)}"
            if problem not in self._told and len(self._told) < 100:
                self._told.add(problem)
                LOG.error("%s", problem)
            return default


def checked(driver: Driver) -> Checked:
    """A driver, held to its contract."""
    return driver if type(driver) is Checked else Checked(driver)


def make_driver(cls: type[Driver], settings: object = None) -> Checked:
    """A driver that is made from its settings, and held to its contract.

    :param settings: None for its defaults
    :raises PoolmgrError: its own
    :raises PluginFailed: it raised what it may not
    """
    try:
        driver = cls(cls.Settings() if settings is None else settings)
    except BaseException as error:
        if _may_raise(error):
            raise
        raise PluginFailed(
            f"driver {cls.__name__} cannot be made: {told(error)}"
        ) from error
    if not issubclass(type(driver), Driver):
        kind = type(driver).__name__
        raise PluginFailed(f"driver {cls.__name__} makes a {kind}, no driver")
    return checked(driver)


def _may_raise(error: BaseException) -> bool:
    """Whether it is none of a driver's defects."""
    return is_interrupt(error) or issubclass(type(error), PoolmgrError)

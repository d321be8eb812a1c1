"""The contract of a driver: what a cloud can do, in short blocking verbs.

A driver is a class that an entry point in ``poolmgr.drivers`` names::

    [options.entry_points]
    poolmgr.drivers =
        mycloud = mypackage.mycloud:MyCloud

There is one object of it in a process, and several threads call it at once.
A verb asks the cloud once, or a few times, and returns: it does not wait for
what the cloud does afterwards, does not repeat what failed, and does not
sleep.  :class:`poolmgr.cloud.Cloud` does all of that, for every driver, and
limits how many verbs run at once.

``timeout`` is in seconds, and counts anew with each request that waits at
:attr:`Driver.limiter`: a verb of several requests may use it for each.  When
it is over, the verb should raise.  A verb raises subclasses of
:class:`~poolmgr.errors.CloudError` and nothing else:

===========================  ================================================
``CloudUnavailable``         no answer, or a failure inside the cloud; the
                             same request can be repeated
``Busy``                     the same, and only for the moment: too many
                             requests, or the device is in use
``OutcomeUnknown``           the request may have taken effect or not
``QuotaExceeded``            there is no room for one more
``Changed``                  somebody else changed the thing meanwhile
``CloudRefused``             the cloud says no, and will say it again
``AuthenticationFailed``     it does not accept the credentials
===========================  ================================================

A creation is repeated after ``CloudUnavailable``, so raise that only when
nothing was made; raise ``OutcomeUnknown`` when that is not certain.
"""

import abc
import dataclasses
import math
import os
import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self, get_type_hints

from poolmgr.errors import Forked, PluginFailed, PoolmgrError
from poolmgr.events import CloudCall
from poolmgr.foreign import is_interrupt, told
from poolmgr.ownership import Mark
from poolmgr.settings import IsSettings, Rule

Status = Literal["building", "active", "failed"]
Kind = Literal["device", "ip"]


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


@dataclass(frozen=True)
class Poll:
    """What one look at devices that boot, or that are deleted, has found.

    A device that was asked for and is in neither was not found.

    :ivar seen: devices as they are now; others than those asked for may be
        among them
    :ivar unchanged: ids of devices that are there and still building
    :ivar requests: requests to the cloud that the look took; the more, the
        longer the pause until the next
    """

    seen: Sequence[Device]
    unchanged: Collection[str] = ()
    requests: int = 1


@dataclass(frozen=True)
class Limits:
    """How much a driver may be asked at once, and how long a verb may take.

    :ivar calls_at_once: verbs that run at the same time, at most
    :ivar calls_per_second: requests a second that :attr:`Driver.limiter`
        lets through; 0 for any number
    :ivar call_timeout: seconds for one verb
    :ivar poll_interval: seconds between two looks at devices that boot, at
        least
    """

    calls_at_once: int = 20
    calls_per_second: float = 0.0
    call_timeout: float = 30.0
    poll_interval: float = 1.0


class RequestLimiter(Protocol):
    """Limits the requests a second."""

    def acquire(self) -> None:
        """Block until a request may be sent."""


class _Unlimited:
    def acquire(self) -> None:
        pass


def _ignore(call: CloudCall) -> None:
    pass


class Driver(abc.ABC):
    """A cloud.

    :cvar Settings: a dataclass of :func:`poolmgr.settings.setting` fields.
        Each becomes an option in the configuration group that is named like
        the driver.
    :ivar image: the image that devices are made from, as configured
    :ivar limits: how much the driver may be asked
    :ivar limiter: set by ``Cloud``; a driver calls ``limiter.acquire()``
        before each request that it sends
    :ivar report_call: set by ``Cloud``; a driver may call it with a
        :class:`~poolmgr.events.CloudCall` after each request, for the
        metrics. If it never does, each verb counts as one request.

    :param settings: an instance of :attr:`Settings`
    """

    Settings: ClassVar[type[IsSettings]]
    image: str
    limits: Limits = Limits()
    limiter: RequestLimiter
    report_call: Callable[[CloudCall], None]
    _made_in: int

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        made = super().__new__(cls)
        # A driver may be a frozen dataclass.
        object.__setattr__(made, "_made_in", os.getpid())
        object.__setattr__(made, "limiter", _Unlimited())
        object.__setattr__(made, "report_call", _ignore)
        return made

    @abc.abstractmethod
    def __init__(self, settings: Any) -> None: ...

    # -- devices ------------------------------------------------------------

    @abc.abstractmethod
    def create_device(self, name: str, mark: Mark, timeout: float) -> Device:
        """Ask for a device, marked in the same request.

        Returns while it still boots.

        :raises QuotaExceeded: there is no room for one more
        :raises OutcomeUnknown: it may have been made
        """

    @abc.abstractmethod
    def list_devices(self, timeout: float) -> Sequence[Device]:
        """List all devices, other people's too."""

    def get_device(self, id: str, timeout: float) -> Device | None:
        """Return the device of this id, None if there is none."""
        every = self.list_devices(timeout)
        return next((each for each in every if each.id == id), None)

    def find_devices(
        self, names: Collection[str], timeout: float
    ) -> Sequence[Device]:
        """List the devices of exactly these names."""
        every = self.list_devices(timeout)
        return [device for device in every if device.name in names]

    def devices_of_jobs(
        self, uniques: Collection[str], timeout: float
    ) -> Sequence[Device]:
        """List the devices whose mark has one of these uniques."""
        every = self.list_devices(timeout)
        return [d for d in every if d.mark and d.mark.unique in uniques]

    def poll(self, devices: Collection[Device], timeout: float) -> Poll:
        """Look at devices that boot or are being deleted.

        Called about once a second for all of them together.
        """
        names = {device.name for device in devices}
        return Poll(self.find_devices(names, timeout))

    def finish_device(self, device: Device, timeout: float) -> Device:
        """Do what is left to do for a device that has just become active.

        It may be called again after it succeeded.

        :returns: the device as it is then; if it is not ready, this is called
            again after a pause
        """
        return device

    def explain_failure(self, device: Device, timeout: float) -> str:
        """Return why a device failed, with all that the cloud tells."""
        return device.fault or ""

    @abc.abstractmethod
    def mark_device(self, device: Device, mark: Mark, timeout: float) -> None:
        """Write another mark on a device that is active.

        Two workers may do so at once.  :meth:`Mark.written_over
        <poolmgr.ownership.Mark.written_over>` tells what has to be there
        afterwards.
        """

    @abc.abstractmethod
    def delete_device(self, device: Device, timeout: float) -> bool:
        """Ask for a device's deletion; do not wait for it.

        :returns: False when the cloud says that it has no such device
        """

    # -- floating IPs -------------------------------------------------------

    @abc.abstractmethod
    def create_ip(self, mark: Mark, timeout: float) -> FloatingIP:
        """Allocate a floating IP, marked in the same request.

        :raises QuotaExceeded: there is none left, for us or at all
        :raises OutcomeUnknown: it may have been allocated
        """

    @abc.abstractmethod
    def list_ips(self, timeout: float) -> Sequence[FloatingIP]:
        """List all floating IPs, other people's too."""

    def find_ips(
        self, addresses: Collection[str], timeout: float
    ) -> Sequence[FloatingIP]:
        """List the floating IPs of exactly these addresses."""
        return [ip for ip in self.list_ips(timeout) if ip.address in addresses]

    def ips_of_jobs(
        self, uniques: Collection[str], timeout: float
    ) -> Sequence[FloatingIP]:
        """List the floating IPs whose mark has one of these uniques."""
        every = self.list_ips(timeout)
        return [ip for ip in every if ip.mark and ip.mark.unique in uniques]

    @abc.abstractmethod
    def mark_ip(self, ip: FloatingIP, mark: Mark, timeout: float) -> None:
        """Write another mark on a floating IP.

        :raises Changed: the floating IP is not what ``ip`` says any more
        """

    @abc.abstractmethod
    def attach_ip(
        self, ip: FloatingIP, device: Device, timeout: float
    ) -> None:
        """Attach a floating IP, wherever it was before, in one step.

        :raises Changed: the floating IP is not what ``ip`` says any more
        """

    @abc.abstractmethod
    def detach_ip(self, ip: FloatingIP, timeout: float) -> None:
        """Detach a floating IP; it stays allocated.

        :raises Changed: the floating IP is not what ``ip`` says any more
        """

    @abc.abstractmethod
    def delete_ip(self, ip: FloatingIP, timeout: float) -> bool:
        """Give a floating IP back, attached or not.

        :returns: False when the cloud says that it has no such floating IP
        """

    # -- both ---------------------------------------------------------------

    def find_created(
        self, kind: Kind, name: str, mark: Mark, timeout: float
    ) -> Sequence[Device | FloatingIP]:
        """List what a creation with this name and mark has made.

        Called when the outcome of a creation is unknown.

        :param kind: "device" or "ip"
        :param name: the device's name; empty for a floating IP
        """
        if kind == "device":
            return self.find_devices([name], timeout)
        return [ip for ip in self.list_ips(timeout) if ip.mark == mark]

    def accepts(self, address: str, port: int, timeout: float) -> bool:
        """Tell whether a TCP connection to an address can be made now."""
        try:
            with socket.create_connection((address, port), min(5.0, timeout)):
                return True
        except OSError:
            return False

    def check(self, timeout: float) -> Sequence[Finding]:
        """Check the settings against the cloud, before they are needed.

        ``poolmgr check`` shows what this returns, and a worker does not
        start when there is a problem.

        :returns: what was looked at, problems and all
        """
        return ()

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Close connections; the driver is not used any more."""

    def require_own_process(self) -> None:
        """Raise unless this is the process that the driver was made in.

        Its connections cannot be used in a child process.

        :raises Forked: the process was forked since
        """
        if self._made_in != os.getpid():
            raise Forked("driver")


def defect(driver: type[Driver]) -> str | None:
    """Return what is wrong with a driver's class, None if nothing is."""
    try:
        settings = getattr(driver, "Settings", None)
    except BaseException as error:
        return f"'Settings' raises {told(error)}"
    if not (isinstance(settings, type) and dataclasses.is_dataclass(settings)):
        return "'Settings' must be a dataclass"
    try:
        get_type_hints(settings)
    except BaseException as error:
        return f"'Settings' has types that are not there: {told(error)}"
    for each in dataclasses.fields(settings):
        rule = each.metadata.get("rule")
        if not isinstance(rule, Rule):
            return f"the setting {each.name!r} must be made by setting()"
        if wrong := _defect_of_rule(rule):
            return f"the setting {each.name!r}: {wrong}"
    return None


def make_driver(cls: type[Driver], settings: object = None) -> Driver:
    """Make a driver from its settings.

    :param settings: None for its defaults
    :raises PoolmgrError: raised by the driver
    :raises PluginFailed: it raised what it may not
    """
    try:
        driver = cls(cls.Settings() if settings is None else settings)
    except PoolmgrError:
        raise
    except BaseException as error:
        if is_interrupt(error):
            raise
        raise PluginFailed(
            f"driver {cls.__name__} cannot be made: {told(error)}"
        ) from error
    if not issubclass(type(driver), Driver):
        kind = type(driver).__name__
        raise PluginFailed(f"driver {cls.__name__} makes a {kind}, no driver")
    return driver


def _defect_of_rule(rule: Rule) -> str | None:
    if type(rule.help) is not str:
        return "'help' must be text"
    for name in ("min", "max"):
        bound = getattr(rule, name)
        is_number = isinstance(bound, (int, float))
        if bound is not None and not (is_number and math.isfinite(bound)):
            return f"{name!r} must be a number"
    if rule.check is not None and not callable(rule.check):
        return "'check' must be a function"
    for names in ("choices", "old"):
        found = getattr(rule, names)
        if type(found) is not tuple or any(type(n) is not str for n in found):
            return f"{names!r} must be a tuple of texts"
    if any(old.count(".") != 1 for old in rule.old):
        return "'old' must have names like group.name"
    return None

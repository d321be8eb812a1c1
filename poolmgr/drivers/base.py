"""The contract of a cloud.

A driver is a class made known by an entry point in ``poolmgr.drivers``::

    [options.entry_points]
    poolmgr.drivers =
        mycloud = mypackage.mycloud:MyCloud

It is made once a process and used from many threads at once.  It says what
the cloud has and does what it is told; what belongs to whom and what to do
about a failure is decided by those who call it.

Every method that waits for the cloud takes a
:class:`~poolmgr.waiting.Deadline` and heeds it.  What the cloud refuses or
fails to do is raised as a :class:`~poolmgr.errors.CloudError`; a driver
raises nothing else but ``DeadlineExceeded`` and ``Stopped``.
"""

import abc
import dataclasses
import math
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self, get_type_hints

from poolmgr.cloud.breaker import Breaker
from poolmgr.errors import Forked, told
from poolmgr.events import Observer
from poolmgr.ownership import Mark
from poolmgr.settings import IsSettings, Rule
from poolmgr.waiting import Deadline

Status = Literal["building", "active", "failed"]


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
    """What was found when a setting was held against the cloud.

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
class DriverState:
    """How a driver does at the moment.

    :ivar breakers: what it holds back when it fails, each with its breaker
    :ivar awaited: devices that are waited for
    :ivar view_age: seconds since the cloud was asked of these with success,
        0 while there are none
    :ivar overdue: seconds since when a call of the cloud should have come
        back, and none has: something inside this process hangs
    """

    breakers: Mapping[str, Breaker] = field(default_factory=dict)
    awaited: int = 0
    view_age: float = 0.0
    overdue: float = 0.0


class Driver(abc.ABC):
    """A cloud.

    :cvar Settings: a dataclass of :func:`poolmgr.settings.setting` fields.
        Each becomes an option in the configuration group that is named like
        the driver.
    :ivar image: the image that devices are made from, as configured

    :param settings: an instance of :attr:`Settings`
    """

    Settings: ClassVar[type[IsSettings]]
    image: str
    _made_in: int

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        made = super().__new__(cls)
        # So, because it may be a frozen dataclass.
        object.__setattr__(made, "_made_in", os.getpid())
        return made

    @abc.abstractmethod
    def __init__(self, settings: Any) -> None: ...

    @abc.abstractmethod
    def create_device(
        self, name: str, mark: Mark, deadline: Deadline
    ) -> Device:
        """Ask for a device, marked from birth; do not wait for its boot.

        :raises QuotaExceeded: there is no room for one more
        """

    @abc.abstractmethod
    def wait_for_device(self, device: Device, deadline: Deadline) -> Device:
        """Wait until a device is :attr:`~Device.ready`.

        :returns: the device as it is then
        :raises DeviceFailed: it failed, or is gone
        """

    @abc.abstractmethod
    def list_devices(self, deadline: Deadline) -> Sequence[Device]:
        """All devices, other people's included."""

    @abc.abstractmethod
    def find_devices(self, name: str, deadline: Deadline) -> Sequence[Device]:
        """The devices of exactly this name."""

    @abc.abstractmethod
    def devices_of_job(
        self, unique: str, deadline: Deadline
    ) -> Sequence[Device]:
        """The devices whose mark has this unique."""

    @abc.abstractmethod
    def mark_device(
        self, device: Device, mark: Mark, deadline: Deadline
    ) -> None:
        """Write another mark on a device that is active.

        Two workers may do so at once.  What has to be there afterwards is
        said by :meth:`poolmgr.ownership.Mark.written_over`.
        """

    @abc.abstractmethod
    def delete_device(self, device: Device, deadline: Deadline) -> None:
        """Delete a device and wait until it is gone.

        A device that is gone already is no error.
        """

    @abc.abstractmethod
    def create_ip(self, mark: Mark, deadline: Deadline) -> FloatingIP:
        """Allocate a floating IP, marked from birth.

        :raises QuotaExceeded: there is none left, for us or at all
        """

    @abc.abstractmethod
    def list_ips(self, deadline: Deadline) -> Sequence[FloatingIP]:
        """All floating IPs, other people's included."""

    @abc.abstractmethod
    def find_ip(self, address: str, deadline: Deadline) -> FloatingIP | None:
        """The floating IP of exactly this address, None if there is none."""

    @abc.abstractmethod
    def ips_of_job(
        self, unique: str, deadline: Deadline
    ) -> Sequence[FloatingIP]:
        """The floating IPs whose mark has this unique."""

    @abc.abstractmethod
    def device_of_ip(
        self, ip: FloatingIP, deadline: Deadline
    ) -> Device | None:
        """The device a floating IP is attached to, None if there is none."""

    @abc.abstractmethod
    def mark_ip(self, ip: FloatingIP, mark: Mark, deadline: Deadline) -> None:
        """Write another mark on a floating IP.

        :raises Changed: the floating IP is not what ``ip`` says any more
        """

    @abc.abstractmethod
    def attach_ip(
        self, ip: FloatingIP, device: Device, deadline: Deadline
    ) -> None:
        """Attach a floating IP, wherever it was before, in one step.

        :raises Changed: the floating IP is not what ``ip`` says any more
        """

    @abc.abstractmethod
    def detach_ip(self, ip: FloatingIP, deadline: Deadline) -> None:
        """Detach a floating IP; it stays allocated.

        :raises Changed: the floating IP is not what ``ip`` says any more
        """

    @abc.abstractmethod
    def delete_ip(self, ip: FloatingIP, deadline: Deadline) -> None:
        """Give a floating IP back, attached or not.

        One that is gone already is no error.
        """

    def accepts(self, address: str, port: int, deadline: Deadline) -> bool:
        """Whether a TCP connection to an address can be made now."""
        timeout = max(0.01, min(5.0, deadline.remaining()))
        try:
            with socket.create_connection((address, port), timeout):
                return True
        except OSError:
            return False

    def check(self, deadline: Deadline) -> Sequence[Finding]:
        """Hold the settings against the cloud, before they are needed.

        ``poolmgr check`` shows what this returns, and a worker does not
        start when there is a problem.

        :returns: what was looked at, problems and all
        """
        return ()

    def require_own_process(self) -> None:
        """Go on only in the process that the driver was made in.

        Its connections and threads are not its child's.

        :raises Forked: the process was forked since
        """
        if self._made_in != os.getpid():
            raise Forked("driver")

    @property
    def is_down(self) -> bool:
        """Whether no device can be made at present, as far as is known.

        A worker then lets others take the builds first.
        """
        return False

    @property
    def state(self) -> DriverState:
        """How it does at the moment; from any thread, without waiting."""
        return DriverState()

    def observe(self, observer: Observer) -> None:  # noqa: B027 - may be left
        """Tell somebody of every call of the cloud from now on.

        :param observer: its ``cloud_called`` is for this; it raises nothing
        """

    def try_again(self) -> None:  # noqa: B027 - may be left
        """Try at once what is held back after it was refused.

        Somebody may have put it right: the configuration was read again.
        """

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Let go of connections and threads; the driver is done."""


def defect(driver: type[Driver]) -> str | None:
    """What is wrong with a driver's class attributes, None if nothing is."""
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

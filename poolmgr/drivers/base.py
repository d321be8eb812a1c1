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
import os
import socket
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Protocol, Self

from poolmgr.drivers.values import Device as Device
from poolmgr.drivers.values import Finding as Finding
from poolmgr.drivers.values import FloatingIP as FloatingIP
from poolmgr.drivers.values import Kind as Kind
from poolmgr.drivers.values import Limits as Limits
from poolmgr.drivers.values import Poll as Poll
from poolmgr.drivers.values import Status as Status
from poolmgr.errors import Forked
from poolmgr.events import CloudCall
from poolmgr.ownership import Mark
from poolmgr.settings import IsSettings


class RequestLimiter(Protocol):
    """Limits the requests a second."""

    def acquire(self) -> None:
        """Block until a request may be sent."""


class _Unlimited:
    def acquire(self) -> None:
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

    :param settings: an instance of :attr:`Settings`
    """

    Settings: ClassVar[type[IsSettings]]
    image: str
    limits: Limits = Limits()
    limiter: RequestLimiter = _Unlimited()
    _made_in: int

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        made = super().__new__(cls)
        # A driver may be a frozen dataclass.
        object.__setattr__(made, "_made_in", os.getpid())
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

    def report_call(self, call: CloudCall) -> None:  # noqa: B027
        """Report a request, for the metrics; ``Cloud`` replaces this.

        A driver may call it after each request. If it never does, each verb
        counts as one request.
        """

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

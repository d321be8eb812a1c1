"""The contract of a driver: the operations of a cloud as short blocking calls.

A driver is a class that an entry point in ``poolmgr.drivers`` names::

    [options.entry_points]
    poolmgr.drivers =
        mycloud = mypackage.mycloud:MyCloud

A process has one object of it, which several threads call at once.  A method
makes one request, or a few, and returns: it does not wait for the effect,
retry or sleep.  :class:`poolmgr.cloud.Cloud` does all of that, for every
driver, and limits how many methods run at once.

``timeout`` is in seconds.  It starts again after each wait at the driver's
``limiter``, so a method may use it for each of its requests.  After it, the
method should raise.  A method raises only subclasses of
:class:`~poolmgr.errors.CloudError`:

===========================  ================================================
``CloudUnavailable``         no answer, or an internal error of the cloud, and
                             the request had no effect or can be repeated:
                             poolmgr calls again, after ``retry_after``
                             seconds if given. After five such errors in a row
                             a circuit breaker opens.
``Busy``                     the cloud works, but there were too many requests,
                             or the device is in use: poolmgr calls again, and
                             the circuit breaker stays closed
``OutcomeUnknown``           the request may have taken effect: after a
                             creation, poolmgr looks for its mark before it
                             calls again
``QuotaExceeded``            the quota is used up: builds wait for room
``Changed``                  somebody else has changed the resource: poolmgr
                             reads it again and decides anew
``CloudRefused``             the cloud refuses the request for good: the job
                             fails
``AuthenticationFailed``     the cloud does not accept the credentials: the
                             job fails, and later ones without a request
                             until a pause is over
===========================  ================================================

Any other exception is a bug of the driver; it is logged, and the job fails.

A creation is repeated after ``CloudUnavailable``: raise that only if nothing
was created, and ``OutcomeUnknown`` if that is not certain.
"""

import abc
import os
import socket
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Self

# Authors of drivers import these from here; "as" marks a re-export.
from poolmgr.drivers.values import Device as Device
from poolmgr.drivers.values import Finding as Finding
from poolmgr.drivers.values import FloatingIP as FloatingIP
from poolmgr.drivers.values import Limits as Limits
from poolmgr.drivers.values import Poll as Poll
from poolmgr.drivers.values import Status as Status
from poolmgr.errors import Forked
from poolmgr.events import CloudCall
from poolmgr.ownership import Mark
from poolmgr.settings import IsSettings


class RequestLimiter:
    """Limits the requests a second; this one does not limit them."""

    def acquire(self) -> None:
        """Block until a request may be sent."""


class Driver(abc.ABC):
    """A cloud.

    :cvar Settings: a dataclass of :func:`poolmgr.settings.setting` fields.
        Each becomes an option in the configuration group that is named like
        the driver.
    :ivar image: the configured image of devices
    :ivar limits: limits for the calls of the driver
    :ivar limiter: set by ``Cloud``; a driver calls ``limiter.acquire()``
        before each request that it sends, so that ``limits.calls_per_second``
        has an effect

    :param settings: an instance of ``Settings``
    """

    Settings: ClassVar[type[IsSettings]]
    image: str
    limits: Limits = Limits()
    limiter: RequestLimiter = RequestLimiter()
    _created_in: int

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        driver = super().__new__(cls)
        # A driver may be a frozen dataclass.
        object.__setattr__(driver, "_created_in", os.getpid())
        return driver

    # Abstract, so that a driver that does not take its settings is refused.
    @abc.abstractmethod
    def __init__(self, settings: Any) -> None: ...

    # -- devices ------------------------------------------------------------

    @abc.abstractmethod
    def create_device(self, name: str, mark: Mark, timeout: float) -> Device:
        """Request a device with a mark; do not wait for its boot.

        :raises QuotaExceeded: the quota is used up
        :raises OutcomeUnknown: the device may have been created
        """

    @abc.abstractmethod
    def list_devices(self, timeout: float) -> Sequence[Device]:
        """List all devices of the project."""

    def get_device(self, id: str, timeout: float) -> Device | None:
        """Return the device with this id, or None."""
        every = self.list_devices(timeout)
        return next((each for each in every if each.id == id), None)

    def find_devices(
        self, names: Collection[str], timeout: float
    ) -> Sequence[Device]:
        """List the devices with exactly these names."""
        every = self.list_devices(timeout)
        return [device for device in every if device.name in names]

    def devices_of_jobs(
        self, uniques: Collection[str], timeout: float
    ) -> Sequence[Device]:
        """List the devices whose mark has one of these uniques."""
        every = self.list_devices(timeout)
        return [d for d in every if d.mark and d.mark.unique in uniques]

    def poll(self, devices: Collection[Device], timeout: float) -> Poll:
        """Read the state of devices that boot or are being deleted.

        This is called every ``limits.poll_interval`` seconds, or less often
        if a poll is slow, with all devices that jobs wait for.
        """
        names = {device.name for device in devices}
        return Poll(self.find_devices(names, timeout))

    def finish_device(self, device: Device, timeout: float) -> Device:
        """Finish a device that has just become active.

        This may be called again after it has succeeded.

        :returns: the device as it is now; if it is not ready, this is called
            again after a pause
        """
        return device

    def explain_failure(self, device: Device, timeout: float) -> str:
        """Return why a device failed, in the cloud's words."""
        return device.fault or ""

    @abc.abstractmethod
    def mark_device(self, device: Device, mark: Mark, timeout: float) -> None:
        """Replace the mark of an active device.

        Two workers may do so at once.  So write what
        :meth:`mark.written_over(present, device.mark)
        <poolmgr.ownership.Mark.written_over>` returns, where ``present`` is
        the mark that the device has now.
        """

    @abc.abstractmethod
    def delete_device(self, device: Device, timeout: float) -> bool:
        """Request the deletion of a device; do not wait for it.

        :returns: False if the cloud has no such device
        """

    # -- floating IPs -------------------------------------------------------

    @abc.abstractmethod
    def create_ip(self, mark: Mark, timeout: float) -> FloatingIP:
        """Allocate a floating IP, marked in the same request.

        :raises QuotaExceeded: the quota or the network is used up
        :raises OutcomeUnknown: the address may have been allocated
        """

    @abc.abstractmethod
    def list_ips(self, timeout: float) -> Sequence[FloatingIP]:
        """List all floating IPs of the project."""

    def find_ips(
        self, addresses: Collection[str], timeout: float
    ) -> Sequence[FloatingIP]:
        """List the floating IPs with exactly these addresses."""
        return [ip for ip in self.list_ips(timeout) if ip.address in addresses]

    def ips_of_jobs(
        self, uniques: Collection[str], timeout: float
    ) -> Sequence[FloatingIP]:
        """List the floating IPs whose mark has one of these uniques."""
        every = self.list_ips(timeout)
        return [ip for ip in every if ip.mark and ip.mark.unique in uniques]

    @abc.abstractmethod
    def mark_ip(self, ip: FloatingIP, mark: Mark, timeout: float) -> None:
        """Replace the mark of a floating IP.

        :raises Changed: the floating IP has changed since ``ip`` was read
        """

    @abc.abstractmethod
    def attach_ip(
        self, ip: FloatingIP, device: Device, timeout: float
    ) -> None:
        """Attach a floating IP, wherever it was before, in one step.

        :raises Changed: the floating IP has changed since ``ip`` was read
        """

    @abc.abstractmethod
    def detach_ip(self, ip: FloatingIP, timeout: float) -> None:
        """Detach a floating IP; it stays allocated.

        :raises Changed: the floating IP has changed since ``ip`` was read
        """

    @abc.abstractmethod
    def delete_ip(self, ip: FloatingIP, timeout: float) -> bool:
        """Release a floating IP, attached or not.

        :returns: False if the cloud has no such floating IP
        """

    # -- other --------------------------------------------------------------

    def report_call(self, call: CloudCall) -> None:  # noqa: B027
        """Report a request, for the metrics; ``Cloud`` replaces this.

        A driver may call it after each request. If it never does, each call of
        a method counts as one request.
        """

    def accepts(self, address: str, port: int, timeout: float) -> bool:
        """Return whether an address accepts a TCP connection now."""
        try:
            # Short, because it holds a slot, and ASSIGN_IP calls it again.
            with socket.create_connection((address, port), min(1.0, timeout)):
                return True
        except OSError:
            return False

    def check(self, timeout: float) -> Sequence[Finding]:
        """Check the settings against the cloud.

        ``poolmgr check`` shows the findings, and a worker does not start if
        there is a problem.

        :returns: a finding for each setting
        """
        return ()

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Close connections; the driver is not used any more."""

    def require_own_process(self) -> None:
        """Raise unless this process created the driver.

        Its connections cannot be used in a child process.

        :raises Forked: the process was forked since
        """
        if self._created_in != os.getpid():
            raise Forked("driver")

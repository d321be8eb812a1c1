"""ASSIGN_IP."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from poolmgr.actions.base import Action, Context, device_name, ip_address
from poolmgr.actions.lookup import check_ours, our_device, until_in_effect
from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.errors import DeadlineExceeded, PoolmgrError, Stopped
from poolmgr.waiting import Deadline


@dataclass(frozen=True)
class Request:
    """What ASSIGN_IP takes."""

    ip: str = field(metadata=ip_address("address of the floating IP"))
    name: str = field(metadata=device_name("name of the device"))


class AssignIp(Action[Request]):
    """Attach a floating IP to a device, from wherever it is.

    If it is on another device of the pool it is moved in one step; this is
    how a load balancer fails over.
    """

    takes = Request
    cleanup_time = 10.0

    def run(self, request: Request, context: Context) -> Mapping[str, str]:
        """See :meth:`Action.run`."""
        device = our_device(request.name, context)
        ip = self._attach(request.ip, device, context)
        if context.settings.check_port is not None:
            self._check_port(ip, context.settings.check_port, context)
        return {}

    def _attach(
        self, address: str, device: Device, context: Context
    ) -> FloatingIP:
        def ask(ip: FloatingIP) -> None:
            check_ours(ip, context)
            context.driver.attach_ip(ip, device, context.deadline)

        return until_in_effect(
            f"attaching {address} to device {device.name!r}",
            context,
            lambda ip: ip.device_id == device.id,
            ask,
            address,
        )

    def _check_port(self, ip: FloatingIP, port: int, context: Context) -> None:
        doing = f"waiting for port {port} of {ip.address} to accept"
        try:
            for _attempt in context.deadline.retries(doing, longest=5.0):
                if context.driver.accepts(ip.address, port, context.deadline):
                    return
        except (DeadlineExceeded, Stopped):
            self._detach(ip, context)
            raise

    def _detach(self, attached: FloatingIP, context: Context) -> None:
        if context.forsaken():
            # Another worker may have the job, and have found the port open.
            context.log.warning("%s stays attached", attached.address)
            return
        deadline = Deadline(self.cleanup_time)
        try:
            # It may have changed since, if only in its status.
            until_in_effect(
                f"detaching {attached.address} again",
                replace(context, deadline=deadline),
                lambda ip: ip.device_id != attached.device_id,
                lambda ip: context.driver.detach_ip(ip, deadline),
                attached.address,
            )
        except PoolmgrError as error:
            # The reason for the FAIL is the port; this comes on top of it.
            context.log.warning(
                "cannot detach %s: %s", attached.address, error
            )

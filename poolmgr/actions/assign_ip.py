"""ASSIGN_IP."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from poolmgr.actions.base import Action, Context, device_name, ip_address
from poolmgr.cloud.pace import backoff
from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.errors import PoolmgrError


@dataclass(frozen=True)
class Request:
    """The fields of ASSIGN_IP and REMOVE_IP."""

    ip: str = field(metadata=ip_address("address of the floating IP"))
    name: str = field(metadata=device_name("name of the device"))


class AssignIp(Action[Request]):
    """Attach a floating IP to a device; move it if it is attached elsewhere.

    It moves in one step, and only from another device of the pool.
    """

    takes = Request
    cleanup_time = 10.0

    async def run(
        self, request: Request, context: Context
    ) -> Mapping[str, str]:
        """See :meth:`Action.run`."""
        device = await context.cloud.our_device(request.name)
        ip = await context.cloud.attach_ip(request.ip, device)
        port = context.settings.check_port
        if port is not None:
            try:
                await self._wait_for_port(ip, port, context)
            except BaseException:
                await self._detach(ip, device, context)
                raise
        return {}

    async def _wait_for_port(
        self, ip: FloatingIP, port: int, context: Context
    ) -> None:
        for pause in backoff(0.1, 5.0):
            if await context.cloud.accepts(ip.address, port):
                return
            context.doing(f"waiting for port {port} of {ip.address} to accept")
            await asyncio.sleep(pause)

    async def _detach(
        self, ip: FloatingIP, device: Device, context: Context
    ) -> None:
        if context.abandoned:
            # Another worker may have found the port open.
            context.log.warning("%s stays attached", ip.address)
            return
        try:
            async with context.limit(self.cleanup_time):
                # By its address, because its revision may have changed.
                await context.cloud.detach_ip(ip.address, device)
        except PoolmgrError as error:
            # Only logged: the reason of the FAIL is the port.
            context.log.warning("cannot detach %s: %s", ip.address, error)

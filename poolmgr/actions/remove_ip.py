"""REMOVE_IP."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from poolmgr.actions.base import Action, Context, device_name, ip_address


@dataclass(frozen=True)
class Request:
    """What REMOVE_IP takes."""

    ip: str = field(metadata=ip_address("address of the floating IP"))
    name: str = field(metadata=device_name("name of the device"))


class RemoveIp(Action[Request]):
    """Detach a floating IP from a device and keep it allocated."""

    takes = Request

    async def run(
        self, request: Request, context: Context
    ) -> Mapping[str, str]:
        """See :meth:`Action.run`."""
        ip = await context.cloud.get_ip(request.ip)
        if ip.device_id is not None:
            device = await context.cloud.our_device(request.name)
            await context.cloud.detach_ip(ip, device)
        return {}

"""REMOVE_IP."""

from collections.abc import Mapping

from poolmgr.actions.assign_ip import Request
from poolmgr.actions.base import Action, Context


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

"""DELETE_IP."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from poolmgr.actions.base import Action, Context, ip_address
from poolmgr.actions.lookup import check_ours, floating_ip


@dataclass(frozen=True)
class Request:
    """What DELETE_IP takes."""

    ip: str = field(metadata=ip_address("address of the floating IP"))


class DeleteIp(Action[Request]):
    """Give a floating IP back to the cloud, attached or not."""

    takes = Request

    def run(self, request: Request, context: Context) -> Mapping[str, str]:
        """See :meth:`Action.run`."""
        ip = floating_ip(request.ip, context)
        check_ours(ip, context)
        context.driver.delete_ip(ip, context.deadline)
        context.capacity.ips.hint()
        return {}

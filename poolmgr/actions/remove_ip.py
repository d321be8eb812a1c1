"""REMOVE_IP."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from poolmgr.actions.base import Action, Context, device_name, ip_address
from poolmgr.actions.lookup import our_device, until_in_effect
from poolmgr.drivers.base import FloatingIP
from poolmgr.errors import AttachedElsewhere


@dataclass(frozen=True)
class Request:
    """What REMOVE_IP takes."""

    ip: str = field(metadata=ip_address("address of the floating IP"))
    name: str = field(metadata=device_name("name of the device"))


class RemoveIp(Action[Request]):
    """Detach a floating IP from a device and keep it allocated."""

    takes = Request

    def run(self, request: Request, context: Context) -> Mapping[str, str]:
        """See :meth:`Action.run`."""

        def ask(ip: FloatingIP) -> None:
            device = our_device(request.name, context)
            if ip.device_id != device.id:
                raise AttachedElsewhere(ip.address, device.name)
            context.driver.detach_ip(ip, context.deadline)

        until_in_effect(
            f"detaching {request.ip} from device {request.name!r}",
            context,
            lambda ip: ip.device_id is None,
            ask,
            request.ip,
        )
        return {}

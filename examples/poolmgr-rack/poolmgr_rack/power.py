"""POWER_CYCLE."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from poolmgr.actions.base import Action, Context, device_name


@dataclass(frozen=True)
class Request:
    """The fields of POWER_CYCLE."""

    name: str = field(metadata=device_name("name of the device"))


class PowerCycle(Action[Request]):
    """Turn a device off and on."""

    takes = Request
    answers = ("addr",)

    async def run(
        self, request: Request, context: Context
    ) -> Mapping[str, str | None]:
        """See :meth:`Action.run`."""
        device = await context.cloud.our_device(request.name)
        await context.cloud.call_driver("power_cycle", device)
        return {"addr": device.address}

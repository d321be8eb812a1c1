"""DELETE_DEVICE."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from poolmgr.actions.base import Action, Context, device_name


@dataclass(frozen=True)
class Request:
    """The fields of DELETE_DEVICE."""

    name: str = field(metadata=device_name("name of the device"))


class DeleteDevice(Action[Request]):
    """Delete a device and wait until it is gone."""

    takes = Request

    async def run(
        self, request: Request, context: Context
    ) -> Mapping[str, str]:
        """See :meth:`Action.run`."""
        device = await context.cloud.our_device(request.name)
        await context.cloud.delete_device(device)
        return {}

"""COUNT_DEVICES."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from poolmgr.actions.base import Action, BlockingContext, text


@dataclass(frozen=True)
class Request:
    """The fields of COUNT_DEVICES."""

    prefix: str = field(
        default="", metadata=text("count only names with this prefix")
    )


class CountDevices(Action[Request]):
    """Count the devices."""

    takes = Request
    answers = ("count",)

    def run(
        self, request: Request, context: BlockingContext
    ) -> Mapping[str, int]:
        """See :meth:`Action.run`."""
        devices = context.cloud.list_devices()
        found = [d for d in devices if d.name.startswith(request.prefix)]
        context.log.info("counted %d of %d", len(found), len(devices))
        return {"count": len(found)}

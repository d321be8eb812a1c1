"""DELETE_IP."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from poolmgr.actions.base import Action, Context, ip_address
from poolmgr.drivers.base import FloatingIP
from poolmgr.errors import Changed
from poolmgr.ownership import age_of

#: Age in seconds up to which a floating IP may be newer than an earlier
#: delivery of the job: job servers notice a lost worker late, clocks differ.
_RECENT = 600


@dataclass(frozen=True)
class Request:
    """The fields of DELETE_IP."""

    ip: str = field(metadata=ip_address("address of the floating IP"))


class DeleteIp(Action[Request]):
    """Release a floating IP, attached or not."""

    takes = Request

    async def run(
        self, request: Request, context: Context
    ) -> Mapping[str, str]:
        """See :meth:`Action.run`."""
        ip = await context.cloud.our_ip(request.ip)
        if _may_be_reallocated(ip, context.job.handle) and (
            await context.delivered_before()
        ):
            raise Changed(
                f"floating IP {ip.address!r} is new, and this job was "
                "delivered before: it may be somebody else's by now; it was "
                "not touched"
            )
        await context.cloud.delete_ip(ip)
        return {}


def _may_be_reallocated(ip: FloatingIP, handle: str) -> bool:
    """Return whether the client may have meant an earlier floating IP of this
    address.

    An earlier delivery may have deleted that one, and the cloud may have
    given the address to somebody else since.  This is impossible if the job
    that built this one was queued before this job: the last part of a handle
    is the job server's count of jobs.

    :param handle: the handle of the job
    """
    made, built = (ip.mark.made, ip.mark.handle) if ip.mark else ("", "")
    age = age_of(ip.created or made, datetime.now(UTC))
    if age is not None and age > _RECENT:
        return False
    if ip.mark is None or ip.mark.state == "building":
        return True
    server, _colon, number = handle.rpartition(":")
    ip_server, _colon, ip_number = built.rpartition(":")
    if server != ip_server or not (
        number.isdecimal() and ip_number.isdecimal()
    ):
        return True
    return int(ip_number) >= int(number)

"""DELETE_IP."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from poolmgr.actions.base import Action, Context, ip_address
from poolmgr.drivers.base import FloatingIP
from poolmgr.errors import Changed
from poolmgr.ownership import age_of

#: Seconds for which an earlier delivery of the job may have been over: clouds
#: give an address to the next client at once, job servers take a while to
#: notice that a worker has gone, and clocks differ.
_RECENT = 600


@dataclass(frozen=True)
class Request:
    """What DELETE_IP takes."""

    ip: str = field(metadata=ip_address("address of the floating IP"))


class DeleteIp(Action[Request]):
    """Give a floating IP back to the cloud, attached or not."""

    takes = Request

    async def run(
        self, request: Request, context: Context
    ) -> Mapping[str, str]:
        """See :meth:`Action.run`."""
        ip = await context.cloud.our_ip(request.ip)
        if _may_be_given_anew(ip, context.job.handle) and (
            await context.delivered_before()
        ):
            raise Changed(
                f"floating IP {ip.address!r} is new, and this job was "
                "delivered before: it may be somebody else's by now; it was "
                "not touched"
            )
        await context.cloud.delete_ip(ip)
        return {}


def _may_be_given_anew(ip: FloatingIP, handle: str) -> bool:
    """Whether the client may have meant an earlier one of this address.

    An earlier delivery may have deleted that, and the cloud have given its
    address to somebody else since; unless the job that built this one came
    to the job server before this job.  A job server counts its jobs: the last
    part of a handle is the number.

    :param handle: the job's
    """
    made, built = (ip.mark.made, ip.mark.handle) if ip.mark else ("", "")
    age = age_of(ip.created or made, datetime.now(UTC))
    if age is not None and age > _RECENT:
        return False
    if ip.mark is None or ip.mark.state == "building":
        return True
    server, _colon, number = handle.rpartition(":")
    its_server, _colon, its_number = built.rpartition(":")
    are_numbers = number.isdecimal() and its_number.isdecimal()
    return (
        not are_numbers
        or server != its_server
        or int(its_number) >= int(number)
    )

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
        await _check_not_given_anew(ip, context)
        await context.cloud.delete_ip(ip)
        return {}


async def _check_not_given_anew(ip: FloatingIP, context: Context) -> None:
    """Go on only with a floating IP that the client can have meant.

    An earlier delivery may have deleted that one, and the cloud have given
    its address to somebody else since.

    :raises Changed: that may be so
    """
    made = ip.mark.made if ip.mark else None
    age = age_of(ip.created or made, datetime.now(UTC))
    if age is not None and age > _RECENT:
        return
    if _was_built_before(ip, context):
        return
    if await context.delivered_before():
        raise Changed(
            f"floating IP {ip.address!r} is new, and this job was delivered "
            "before: it may be somebody else's by now; it was not touched"
        )


def _was_built_before(ip: FloatingIP, context: Context) -> bool:
    """Whether the job that built it came to the job server before this one.

    A job server counts its jobs: the last part of a handle is the number.
    """
    if ip.mark is None or ip.mark.state == "building":
        return False
    server, _colon, number = context.job.handle.rpartition(":")
    its_server, _colon, its_number = ip.mark.handle.rpartition(":")
    return (
        server == its_server
        and number.isdecimal()
        and its_number.isdecimal()
        and int(its_number) < int(number)
    )

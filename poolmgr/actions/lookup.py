"""What several actions look up, and whether they may touch it."""

from collections.abc import Callable

from poolmgr.actions.base import Context
from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.errors import (
    Ambiguous,
    Changed,
    CloudError,
    CloudUnavailable,
    DeadlineExceeded,
    NotFound,
    NotOwned,
)

#: Seconds after which a list that lacked something is asked for once more.
_HOLE = 0.5


def our_device(name: str, context: Context) -> Device:
    """The one device of exactly this name.

    :raises NotFound: there is none
    :raises Ambiguous: there are several
    :raises NotOwned: it is not ours to touch
    """
    found = context.driver.find_devices(name, context.deadline)
    if not found:
        raise NotFound("device", name)
    if len(found) > 1:
        raise Ambiguous("device", name, [device.id for device in found])
    if not context.ownership.of_device(found[0].name, found[0].mark):
        raise NotOwned("device", name, context.ownership.authority)
    return found[0]


def floating_ip(address: str, context: Context) -> FloatingIP:
    """The floating IP of exactly this address, whoever's it is.

    :raises NotFound: there is none
    """
    ip = context.driver.find_ip(address, context.deadline)
    if ip is None:
        raise NotFound("floating IP", address)
    return ip


def check_ours(ip: FloatingIP, context: Context) -> None:
    """Go on only with a floating IP that is ours to touch.

    :raises NotOwned: it is not
    """
    if not context.ownership.of_ip(
        ip.mark, ip.device_id is not None, ours=False
    ):
        # Its own mark does not say so; the device that it is on may.
        device = context.driver.device_of_ip(ip, context.deadline)
        ours = device is not None and context.ownership.of_device(
            device.name, device.mark
        )
        if not context.ownership.of_ip(ip.mark, attached=True, ours=ours):
            raise NotOwned(
                "floating IP", ip.address, context.ownership.authority
            )


def _seen(address: str, context: Context) -> FloatingIP:
    """The floating IP, even if one list has a hole.

    :raises NotFound: two lists lack it
    """
    try:
        return floating_ip(address, context)
    except NotFound:
        context.deadline.sleep(_HOLE, f"looking for {address} again")
        return floating_ip(address, context)


def until_in_effect(
    doing: str,
    context: Context,
    in_effect: Callable[[FloatingIP], bool],
    ask: Callable[[FloatingIP], None],
    address: str,
) -> FloatingIP:
    """Ask for a change of a floating IP until it is seen to be in effect.

    Clouds lose requests, and others change things in between; so each round
    reads the floating IP anew, and a change counts once it is read back.

    :param doing: what is being done, for messages
    :param in_effect: whether the floating IP is as wanted
    :param ask: requests the change
    :param address: the floating IP's address
    :returns: the floating IP as wanted
    :raises NotFound: there is no such floating IP
    :raises CloudUnavailable: the last round failed, by the cloud's doing
    :raises Changed: the last round failed, by what others did
    :raises DeadlineExceeded: it was not in effect in time
    """
    failed: CloudError | None = None
    try:
        for attempt in context.deadline.retries(doing):
            try:
                ip = _seen(address, context)
                if not in_effect(ip):
                    ask(ip)
                    ip = _seen(address, context)
                if in_effect(ip):
                    return ip
            except (Changed, CloudUnavailable) as error:
                # One that the deadline cuts short says less than those before.
                if attempt == 0 or context.deadline.remaining():
                    failed = error
                context.log.info("%s: %s; trying again", doing, error)
            else:
                failed = None
                context.log.info("%s: not in effect yet; asking again", doing)
    except DeadlineExceeded:
        if failed is not None:
            raise failed from None
        raise
    raise DeadlineExceeded(doing, context.deadline.seconds)

"""What may have no owner any more, by rules that can be read in the reasons.

Each of them is there to spare a thing that may have an owner.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal, get_args

from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.ownership import Mark, State
from poolmgr.reaper.inventory import DeviceItem, IpItem
from poolmgr.text import format_duration, one_line

DEVICE, IP = "device", "floating IP"

Verdict = Literal["kept", "unowned", "removed", "failed"]


@dataclass(frozen=True)
class Candidate:
    """A thing that may have no owner.

    :ivar thing: as the driver tells it
    :ivar mark: what poolmgr wrote on it
    :ivar age: seconds since it was made, None when that is not known
    :ivar verdict: "kept"; "unowned", to be removed; "removed"; or "failed"
        to be
    :ivar reason: why, for a person
    """

    thing: Device | FloatingIP
    mark: Mark
    age: int | None
    verdict: Verdict
    reason: str

    @property
    def kind(self) -> str:
        """What it is."""
        return DEVICE if isinstance(self.thing, Device) else IP

    @property
    def name(self) -> str:
        """What people call it: a device's name, an address."""
        if isinstance(self.thing, Device):
            return self.thing.name
        return self.thing.address

    def kept(self, reason: str) -> "Candidate":
        """The same, to be kept for a reason."""
        return replace(self, verdict="kept", reason=reason)

    def __str__(self) -> str:
        return f"{self.kind} {one_line(str(self.name))}"


def judge_device(item: DeviceItem, old: float) -> Candidate | None:
    """What a device of this pool is by itself; None if it has an owner.

    :param old: seconds from which on no job can be at work on it
    """
    assert item.mark is not None  # noqa: S101 - it is this pool's
    candidate = Candidate(
        item.device, item.mark, item.age, "unowned", _made_for(item.mark)
    )
    return _judge_age(_judge_state(candidate), old)


def judge_ip(
    item: IpItem, devices: Collection[str], old: float
) -> Candidate | None:
    """What a floating IP of this pool is by itself; None if it has an owner.

    :param devices: the ids of the devices that there are
    :param old: as of :func:`judge_device`
    """
    mark, ip = item.mark, item.ip
    assert mark is not None  # noqa: S101 - it is this pool's
    candidate = Candidate(ip, mark, item.age, "unowned", _made_for(mark))
    if ip.goes_with is not None:
        if ip.goes_with in devices or ip.device_id is not None:
            return None
        reason = f"its device {ip.goes_with} is gone"
        return _judge_age(replace(candidate, reason=reason), old)
    if mark.is_left and ip.device_id is not None:
        return candidate.kept(f"it is attached to {item.attached_to or ''}")
    return _judge_age(_judge_state(candidate), old)


def _judge_state(candidate: Candidate) -> Candidate | None:
    """What a mark's state makes of it."""
    mark = candidate.mark
    if mark.state == "unconfirmed":
        return candidate.kept(
            "nobody knows whether its answer arrived: if no client has it, "
            "delete it by hand"
        )
    if mark.state not in get_args(State):
        return candidate.kept(
            "this version of poolmgr does not know its state"
        )
    return candidate if mark.is_left else None


def _judge_age(candidate: Candidate | None, old: float) -> Candidate | None:
    if candidate is None or candidate.verdict == "kept":
        return candidate
    if candidate.age is None:
        return candidate.kept("its age is unknown")
    if candidate.age <= old:
        least = format_duration(int(old))
        return candidate.kept(f"not older than {least} yet")
    return candidate


def _made_for(mark: Mark) -> str:
    job = mark.unique or mark.handle or "without a name"
    what = {
        "building": "never answered",
        "withdrawn": "whose answer could not be sent",
    }.get(mark.state, "")
    return f"made for job {job}, {what}, that no worker and job server has"

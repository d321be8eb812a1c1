"""What may be an orphan, by rules that can be read in the reasons.

Each of them is there to spare a thing that may have an owner.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from poolmgr.drivers.base import FloatingIP
from poolmgr.ownership import Mark, State
from poolmgr.reaper.inventory import Item
from poolmgr.text import format_duration, one_line

Verdict = Literal["kept", "unowned", "removed", "failed"]


@dataclass(frozen=True)
class Candidate:
    """A thing that may be an orphan.

    :ivar item: the thing
    :ivar mark: what poolmgr wrote on it
    :ivar verdict: "kept"; "unowned", to be removed; "removed"; or "failed"
        to be
    :ivar reason: why, for a person
    """

    item: Item[Any]
    mark: Mark
    verdict: Verdict
    reason: str

    @property
    def kind(self) -> str:
        """What it is."""
        return self.item.kind

    def kept(self, reason: str) -> "Candidate":
        """The same, to be kept for a reason."""
        return replace(self, verdict="kept", reason=reason)

    def __str__(self) -> str:
        return f"{self.kind} {one_line(str(self.item.name))}"


def judge(
    item: Item[Any], mark: Mark, devices: Collection[str], old: float
) -> Candidate | None:
    """Return what a thing of this pool is by itself; None if it has an owner.

    :param mark: its mark
    :param devices: the ids of the devices that there are
    :param old: seconds from which on no job can be at work on it
    """
    thing = item.thing
    found = Candidate(item, mark, "unowned", _made_for(mark))
    if isinstance(thing, FloatingIP) and thing.goes_with is not None:
        if thing.goes_with in devices or thing.device_id is not None:
            return None
        reason = f"its device {thing.goes_with} is gone"
        found = replace(found, reason=reason)
    elif mark.state == "unconfirmed":
        return found.kept(
            "nobody knows whether its answer arrived: if no client has it, "
            "delete it by hand"
        )
    elif mark.state not in get_args(State):
        return found.kept("this version of poolmgr does not know its state")
    elif not mark.is_left:
        return None
    elif item.attached_to is not None:
        return found.kept(f"it is attached to {item.attached_to}")
    if item.age is None:
        return found.kept("its age is unknown")
    if item.age <= old:
        least = format_duration(int(old))
        return found.kept(f"not older than {least} yet")
    return found


def _made_for(mark: Mark) -> str:
    job = mark.unique or mark.handle or "without a name"
    what = "was never answered"
    if mark.state == "withdrawn":
        what = "could not be answered"
    return f"job {job} {what}, and no worker or job server has it"

"""Holds what is in the cloud against what the clients know."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.ownership import Mark
from tests.chaos.ledger import Entry, Holding, Kind, Ledger

Fault = Literal[
    "duplicate", "unowned", "in doubt", "missing", "not deleted", "misplaced"
]


@dataclass(frozen=True)
class Finding:
    """Something in the cloud that is not as the clients know it.

    :ivar fault: "unowned": no client has it; "duplicate": likewise, and it
        was made for a job that was answered with another one; "in doubt": its
        answer was on the way when the job server died, nobody can tell;
        "missing": a client has it by an answer, and it is not there, or not
        as answered; "not deleted": it is there although its deletion was
        answered with a PASS; "misplaced": an address on another device
    :ivar kind: device or address
    :ivar name: which
    :ivar entry: the job that it was made for
    :ivar says: what is the case
    :ivar left: whether its mark says that no client can have it
    :ivar id: the cloud's id of it, empty if it is not there
    """

    fault: Fault
    kind: Kind
    name: str
    entry: Entry | None
    says: str
    left: bool = False
    id: str = ""

    def __str__(self) -> str:
        return f"{self.fault}: {self.kind} {self.name}: {self.says}"


@dataclass(frozen=True)
class Scene:
    """What the cloud has of the pool.

    :ivar devices: with the pool's mark
    :ivar ips: likewise
    """

    devices: Sequence[Device]
    ips: Sequence[FloatingIP]

    def audit(self, ledger: Ledger) -> list[Finding]:
        """All that is not as it has to be."""
        found: list[Finding] = []
        there: dict[tuple[Kind, str], list[Device | FloatingIP]]
        there = defaultdict(list)
        for device in self.devices:
            there["device", device.name].append(device)
        for ip in self.ips:
            there["address", ip.address].append(ip)
        for (kind, name), things in there.items():
            found += _judged(kind, name, things, ledger)
        found += self._unreachable(ledger)
        for holding in ledger.holdings:
            absent = (holding.kind, holding.name) not in there
            if absent and holding.state == "owned":
                says = "it was answered and is not there"
                found.append(_finding("missing", holding, says))
        return found + self._misplaced(ledger)

    def _unreachable(self, ledger: Ledger) -> list[Finding]:
        found = []
        for device in self.devices:
            holding = ledger.held("device", device.name)
            if holding is None or holding.state != "owned":
                continue
            # A floating IP comes before the device's own address, and Nova
            # goes on showing one for a moment after it was detached.
            ips = {h.name for h in ledger.holdings if h.kind == "address"}
            answered = (holding.entry.answer or {})["addr"]
            if device.address not in {answered, *ips}:
                says = f"it is at {device.address}, not at {answered}"
                found.append(_finding("missing", holding, says, device.id))
        return found

    def _misplaced(self, ledger: Ledger) -> list[Finding]:
        names = {device.id: device.name for device in self.devices}
        found = []
        for ip in self.ips:
            holding = ledger.held("address", ip.address)
            if holding is None or holding.state != "owned":
                continue
            at = ip.device_id and names.get(ip.device_id, ip.device_id)
            if at not in holding.where:
                wanted = " or ".join(map(str, holding.where))
                says = f"it is on {at}, and has to be on {wanted}"
                found.append(_finding("misplaced", holding, says, ip.id))
        return found


def _judged(
    kind: Kind,
    name: str,
    things: list[Device | FloatingIP],
    ledger: Ledger,
) -> list[Finding]:
    """What is wrong with the things of one name."""
    holding = ledger.held(kind, name)
    if holding is None:
        return [_unowned(kind, name, thing, ledger) for thing in things]
    if holding.state == "gone":
        says = "it is there although it was deleted"
        return [_finding("not deleted", holding, says, things[0].id)]
    if len(things) > 1:
        return [_finding("duplicate", holding, f"there are {len(things)}")]
    says = _unlike(things[0], holding)
    if holding.state == "owned" and says:
        return [_finding("missing", holding, says, things[0].id)]
    return []


def _unlike(thing: Device | FloatingIP, holding: Holding) -> str:
    """In what a thing differs from what was answered."""
    answer = holding.entry.answer or {}
    mark = _mark(thing)
    if mark.unique != holding.entry.unique:
        return f"its mark is of another job: {mark}"
    if mark.state != "handed over":
        return f"it was answered, and its mark says {mark.state!r}"
    if isinstance(thing, Device):
        if thing.status != "active":
            return f"it is {thing.status}: {thing.fault}"
    elif thing.id != answer["id"]:
        return f"its id is {thing.id}, not as answered"
    return ""


def _unowned(
    kind: Kind, name: str, thing: Device | FloatingIP, ledger: Ledger
) -> Finding:
    mark = _mark(thing)
    entry = ledger.of(mark.unique)
    fault: Fault = "unowned"
    if entry is not None and entry.passed:
        fault = "duplicate"
    elif entry is not None and entry.lost and not mark.is_left:
        fault = "in doubt"
    made_for = "no job of ours" if entry is None else f"{entry}"
    ended = "" if entry is None else f", which was {entry.outcome}"
    says = f"{mark.state}, made for {made_for}{ended}"
    return Finding(fault, kind, name, entry, says, mark.is_left, thing.id)


def _finding(
    fault: Fault, holding: Holding, says: str, id_: str = ""
) -> Finding:
    return Finding(
        fault, holding.kind, holding.name, holding.entry, says, id=id_
    )


def _mark(thing: Device | FloatingIP) -> Mark:
    assert thing.mark is not None, "it is of the pool"
    return thing.mark


def serious(findings: Sequence[Finding], reaped: bool) -> list[Finding]:
    """Those findings that must not be.

    :param reaped: whether the reaper has passed; before, there may be what
        it will find
    """
    spared = ("unowned", "duplicate")
    return [
        finding
        for finding in findings
        if finding.fault != "in doubt"
        and (reaped or finding.fault not in spared or not finding.left)
    ]

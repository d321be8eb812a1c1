"""Compares the cloud with what the clients know."""

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
    """A difference between the cloud and the clients' knowledge.

    :ivar fault: "unowned": no client owns the resource; "duplicate": the same,
        and its job was answered with another one; "in doubt": the job server
        died while the answer was on its way; "missing": the cloud lacks an
        answered resource, or has a different one; "not deleted": the resource
        exists although its deletion passed; "misplaced": an address is on
        another device
    :ivar kind: device or address
    :ivar name: the resource's name
    :ivar entry: the job that it was created for
    :ivar says: the difference in words
    :ivar left: whether its mark rules out that a client owns it
    :ivar id: the cloud's id, empty if the resource does not exist
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
    """The pool's resources in the cloud.

    :ivar devices: devices with the pool's mark
    :ivar ips: floating IPs with the pool's mark
    """

    devices: Sequence[Device]
    ips: Sequence[FloatingIP]

    def audit(self, ledger: Ledger) -> list[Finding]:
        """Return all differences."""
        found: list[Finding] = []
        resources_by_name: dict[tuple[Kind, str], list[Device | FloatingIP]]
        resources_by_name = defaultdict(list)
        for device in self.devices:
            resources_by_name["device", device.name].append(device)
        for ip in self.ips:
            resources_by_name["address", ip.address].append(ip)
        for (kind, name), resources in resources_by_name.items():
            found += _audit_name(kind, name, resources, ledger)
        found += self._unreachable(ledger)
        for holding in ledger.holdings:
            absent = (holding.kind, holding.name) not in resources_by_name
            if absent and holding.state == "owned":
                says = "it was answered and does not exist"
                found.append(_finding("missing", holding, says))
        return found + self._misplaced(ledger)

    def _unreachable(self, ledger: Ledger) -> list[Finding]:
        found = []
        for device in self.devices:
            holding = ledger.held("device", device.name)
            if holding is None or holding.state != "owned":
                continue
            # A floating IP takes precedence over the device's own address,
            # and Nova shows it for a moment after it was detached.
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


def _audit_name(
    kind: Kind,
    name: str,
    resources: list[Device | FloatingIP],
    ledger: Ledger,
) -> list[Finding]:
    """Return the findings about all resources with one name."""
    holding = ledger.held(kind, name)
    if holding is None:
        return [
            _unowned(kind, name, resource, ledger) for resource in resources
        ]
    if holding.state == "gone":
        says = "it exists although it was deleted"
        return [_finding("not deleted", holding, says, resources[0].id)]
    if len(resources) > 1:
        return [_finding("duplicate", holding, f"there are {len(resources)}")]
    says = _difference(resources[0], holding)
    if holding.state == "owned" and says:
        return [_finding("missing", holding, says, resources[0].id)]
    return []


def _difference(resource: Device | FloatingIP, holding: Holding) -> str:
    """Return how a resource differs from the answer; empty if it does not."""
    answer = holding.entry.answer or {}
    mark = _mark(resource)
    if mark.unique != holding.entry.unique:
        return f"its mark is of another job: {mark}"
    if mark.state != "handed over":
        return f"it was answered, and its mark says {mark.state!r}"
    if isinstance(resource, Device):
        if resource.status != "active":
            return f"it is {resource.status}: {resource.fault}"
    elif resource.id != answer["id"]:
        return f"its id is {resource.id}, not as answered"
    return ""


def _unowned(
    kind: Kind, name: str, resource: Device | FloatingIP, ledger: Ledger
) -> Finding:
    mark = _mark(resource)
    entry = ledger.of(mark.unique)
    fault: Fault = "unowned"
    if entry is not None and entry.passed:
        fault = "duplicate"
    elif entry is not None and entry.lost and not mark.is_left:
        fault = "in doubt"
    made_for = "no job of ours" if entry is None else f"{entry}"
    ended = "" if entry is None else f", which was {entry.outcome}"
    says = f"{mark.state}, made for {made_for}{ended}"
    return Finding(fault, kind, name, entry, says, mark.is_left, resource.id)


def _finding(
    fault: Fault, holding: Holding, says: str, id_: str = ""
) -> Finding:
    return Finding(
        fault, holding.kind, holding.name, holding.entry, says, id=id_
    )


def _mark(resource: Device | FloatingIP) -> Mark:
    assert resource.mark is not None, "it is of the pool"
    return resource.mark


def serious(findings: Sequence[Finding], reaped: bool) -> list[Finding]:
    """Return the findings that are failures.

    :param reaped: whether the reaper has run; before that, orphans are
        allowed
    """
    spared = ("unowned", "duplicate")
    return [
        finding
        for finding in findings
        if finding.fault != "in doubt"
        and (reaped or finding.fault not in spared or not finding.left)
    ]

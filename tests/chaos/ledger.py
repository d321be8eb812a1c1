"""The clients' knowledge: their jobs, and what the answers gave them."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
Kind = Literal["device", "address"]


@dataclass
class Entry:
    """A job.

    :ivar number: a running number
    :ivar action: the action
    :ivar fields: the other fields of the message
    :ivar unique: the client's unique, new for each job
    :ivar handle: the job server's handle, once the job is accepted
    :ivar submitted: time of the submission, in seconds since the epoch
    :ivar answer: the answer, or None
    :ivar ended: when it was answered or lost
    :ivar lost: why there will be no answer
    """

    number: int
    action: str
    fields: Mapping[str, str]
    unique: str = field(default_factory=lambda: str(uuid.uuid4()))
    handle: str = ""
    submitted: float = field(default_factory=time.time)
    answer: Json | None = None
    ended: float | None = None
    lost: str = ""

    @property
    def passed(self) -> bool:
        """Whether it was answered with a PASS."""
        return self.answer is not None and self.answer["response"] == "PASS"

    @property
    def reason(self) -> str:
        """The error code of a FAIL."""
        error = (self.answer or {}).get("error") or {}
        return str(error.get("code", ""))

    @property
    def outcome(self) -> str:
        """How it ended."""
        if self.answer is not None:
            return str(self.answer["response"])
        return f"lost: {self.lost}" if self.lost else "not answered"

    def __str__(self) -> str:
        message = " ".join([self.action, *self.fields.values()])
        return f"job {self.number} {message} unique={self.unique}"


@dataclass
class Holding:
    """A device or address that an answer gave to a client.

    :ivar kind: device or address
    :ivar name: the device's name, or the address
    :ivar entry: the job whose answer has it
    :ivar state: "owned"; "gone" after its deletion passed; "maybe" if it may
        or may not exist
    :ivar where: the devices that an address may be on; None: not attached
    """

    kind: Kind
    name: str
    entry: Entry
    state: Literal["owned", "gone", "maybe"] = "owned"
    where: set[str | None] = field(default_factory=lambda: {None})


class Ledger:
    """All jobs and all holdings of one run.

    :ivar entries: the jobs, oldest first
    :ivar problems: violated guarantees: the job and what is wrong
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.problems: list[tuple[Entry | None, str]] = []
        self._by_unique: dict[str, Entry] = {}
        self._holdings: dict[tuple[Kind, str], Holding] = {}

    @property
    def holdings(self) -> list[Holding]:
        """All holdings."""
        return list(self._holdings.values())

    def open(self, action: str, **fields: str) -> Entry:
        """Record a job that is about to be submitted."""
        entry = Entry(len(self.entries) + 1, action, fields)
        self.entries.append(entry)
        self._by_unique[entry.unique] = entry
        return entry

    def answered(self, entry: Entry, answer: object) -> None:
        """Record an answer, and what is wrong with it."""
        entry.ended = time.time()
        problem = _problem(entry, answer)
        if problem is not None:
            self.problem(entry, f"{problem}: {answer!r}")
            entry.lost = problem
        elif isinstance(answer, dict):
            entry.answer = answer

    def lost(self, entry: Entry, why: str) -> None:
        """Record that a job legitimately gets no answer."""
        entry.ended = time.time()
        entry.lost = why

    def problem(self, entry: Entry | None, what: str) -> None:
        """Record a violated guarantee."""
        self.problems.append((entry, what))

    def hold(self, kind: Kind, entry: Entry) -> Holding | None:
        """Record the resource that an answer gives to its client, if any.

        A FAIL of BUILD_DEVICE with a name leaves it to the client to delete
        the device.
        """
        answer = entry.answer or {}
        name = answer.get("name" if kind == "device" else "ip")
        if name is None:
            return None
        state: Literal["owned", "maybe"] = "owned" if entry.passed else "maybe"
        holding = Holding(kind, str(name), entry, state)
        before = self._holdings.get((kind, holding.name))
        if before is not None and before.state == "owned":
            self.problem(entry, f"{name} was answered to {before.entry}, too")
        self._holdings[kind, holding.name] = holding
        return holding

    def of(self, unique: str) -> Entry | None:
        """Return the job with a unique."""
        return self._by_unique.get(unique)

    def held(self, kind: Kind, name: str) -> Holding | None:
        """Return the holding of a device or address."""
        return self._holdings.get((kind, name))


_ADDED = {
    "BUILD_DEVICE": ("name", "addr", "type", "az"),
    "BUILD_IP": ("id", "ip"),
}


def _problem(entry: Entry, answer: object) -> str | None:
    """Return what is wrong with an answer, or None."""
    if not isinstance(answer, dict):
        return "the answer is no object"
    if answer.get("response") not in ("PASS", "FAIL"):
        return "the answer has no response"
    message = {"action": entry.action, **entry.fields}
    if {key: answer.get(key) for key in message} != message:
        return "the answer lacks what was asked"
    added = _ADDED.get(entry.action, ())
    if answer["response"] == "PASS" and not all(answer.get(k) for k in added):
        return f"the answer lacks one of {', '.join(added)}"
    return None

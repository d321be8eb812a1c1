"""What the clients know: their jobs, and what they own by the answers."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
Kind = Literal["device", "address"]


@dataclass
class Entry:
    """One job.

    :ivar number: counts the jobs
    :ivar action: what it asks for
    :ivar fields: the rest of the message
    :ivar unique: the client's name for it, fresh for each
    :ivar handle: the job server's name for it, once it has taken it
    :ivar submitted: when, seconds of the epoch
    :ivar answer: the answer, None before, and when there is none
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
        """The code of a FAIL's reason."""
        error = (self.answer or {}).get("error") or {}
        return str(error.get("code", ""))

    @property
    def outcome(self) -> str:
        """How it ended."""
        if self.answer is not None:
            return str(self.answer["response"])
        return f"lost: {self.lost}" if self.lost else "not answered"

    def __str__(self) -> str:
        told = " ".join([self.action, *self.fields.values()])
        return f"job {self.number} {told} unique={self.unique}"


@dataclass
class Holding:
    """A device or an address that a client has by an answer.

    :ivar kind: which of the two
    :ivar name: a device's name, or the address
    :ivar entry: the job that was answered with it
    :ivar state: "owned"; "gone" once its deletion was answered with a PASS;
        "maybe" when it may or may not be there
    :ivar where: of an address, the devices it may be on; None is nowhere
    """

    kind: Kind
    name: str
    entry: Entry
    state: Literal["owned", "gone", "maybe"] = "owned"
    where: set[str | None] = field(default_factory=lambda: {None})


class Ledger:
    """All jobs and all holdings of one run.

    :ivar entries: the jobs, the oldest first
    :ivar problems: what must not happen and did: a job and what is wrong
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.problems: list[tuple[Entry | None, str]] = []
        self._by_unique: dict[str, Entry] = {}
        self._holdings: dict[tuple[Kind, str], Holding] = {}

    @property
    def holdings(self) -> list[Holding]:
        """All of them."""
        return list(self._holdings.values())

    def open(self, action: str, **fields: str) -> Entry:
        """Write down a job that is about to be handed in."""
        entry = Entry(len(self.entries) + 1, action, fields)
        self.entries.append(entry)
        self._by_unique[entry.unique] = entry
        return entry

    def answered(self, entry: Entry, answer: object) -> None:
        """Write down an answer, and what is wrong with it."""
        entry.ended = time.time()
        problem = _problem(entry, answer)
        if problem is not None:
            self.problem(entry, f"{problem}: {answer!r}")
            entry.lost = problem
        elif isinstance(answer, dict):
            entry.answer = answer

    def lost(self, entry: Entry, why: str) -> None:
        """Write down that there will be no answer, and that this may be."""
        entry.ended = time.time()
        entry.lost = why

    def problem(self, entry: Entry | None, what: str) -> None:
        """Write down what must not happen."""
        self.problems.append((entry, what))

    def hold(self, kind: Kind, entry: Entry) -> Holding | None:
        """What an answer gives to its client; None if it gives nothing.

        A FAIL of BUILD_DEVICE that has a name hands the device back, for the
        client to delete it.
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
        """The job of a unique."""
        return self._by_unique.get(unique)

    def held(self, kind: Kind, name: str) -> Holding | None:
        """Who has a device or an address."""
        return self._holdings.get((kind, name))


_ADDED = {
    "BUILD_DEVICE": ("name", "addr", "type", "az"),
    "BUILD_IP": ("id", "ip"),
}


def _problem(entry: Entry, answer: object) -> str | None:
    """What is wrong with an answer, None if nothing is."""
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

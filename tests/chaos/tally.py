"""The figures of one or more rounds."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.audit import Finding
from tests.chaos.ledger import Ledger


@dataclass
class Tally:
    """The figures of one or more rounds.

    :ivar rounds: number of rounds
    :ivar seconds: their duration
    :ivar kills: kills of workers
    :ivar deaths: kills of the job server
    :ivar problems: number of wrong answers
    :ivar reasons: FAILs by error code
    :ivar jobs: jobs by action and outcome: "PASS", "FAIL", "lost"
    :ivar before: findings before the reaper, by kind and fault
    :ivar after: findings after the reaper
    """

    rounds: int = 0
    seconds: float = 0.0
    kills: int = 0
    deaths: int = 0
    problems: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    jobs: Counter[tuple[str, str]] = field(default_factory=Counter)
    before: Counter[tuple[str, str]] = field(default_factory=Counter)
    after: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, other: "Tally") -> None:
        """Add the figures of another tally."""
        self.rounds += other.rounds
        self.seconds += other.seconds
        self.kills += other.kills
        self.deaths += other.deaths
        self.problems += other.problems
        self.jobs += other.jobs
        self.reasons += other.reasons
        self.before += other.before
        self.after += other.after

    def count_jobs(self, ledger: Ledger) -> None:
        """Count the jobs of a ledger, and its problems."""
        for entry in ledger.entries:
            outcome = entry.outcome.partition(":")[0]
            self.jobs[entry.action, outcome] += 1
            if entry.reason:
                self.reasons[entry.reason] += 1
        self.problems += len(ledger.problems)

    def table(self) -> str:
        """Return the figures as a table."""
        rows = [
            ("time", f"{self.seconds / 60:.1f} min, {self.rounds} rounds"),
            ("workers killed", str(self.kills)),
            ("job server killed", str(self.deaths)),
            ("jobs", str(self.jobs.total())),
        ]
        for action in sorted({action for action, _outcome in self.jobs}):
            rows.append((f"  {action}", self._outcomes(action)))
        reasons = self.reasons.most_common()
        rows += [
            (
                "reasons of FAILs",
                ", ".join(f"{n} {why}" for why, n in reasons),
            ),
            ("wrong or missing answers", str(self.problems)),
            ("duplicates, before/after the reaper", self._both("duplicate")),
            *(
                (f"{name} without an owner", self._both("unowned", kind))
                for kind, name in (
                    ("device", "devices"),
                    ("address", "addresses"),
                )
            ),
            ("in doubt (died with the job server)", self._both("in doubt")),
            ("answered and missing", self._both("missing")),
            ("deleted and still existing", self._both("not deleted")),
            ("addresses on the wrong device", self._both("misplaced")),
        ]
        width = max(len(name) for name, _value in rows)
        return "\n".join(f"{name:{width}}  {value}" for name, value in rows)

    def _outcomes(self, action: str) -> str:
        return ", ".join(
            f"{self.jobs[action, outcome]} {outcome}"
            for outcome in ("PASS", "FAIL", "lost", "not answered")
            if self.jobs[action, outcome]
        )

    def _both(self, fault: str, kind: str = "") -> str:
        def number(found: Counter[tuple[str, str]]) -> int:
            return sum(
                found[each, fault]
                for each in ("device", "address")
                if not kind or each == kind
            )

        return f"{number(self.before)}/{number(self.after)}"


def counted(findings: Sequence[Finding]) -> Counter[tuple[str, str]]:
    """Count findings by kind and fault."""
    return Counter((each.kind, each.fault) for each in findings)

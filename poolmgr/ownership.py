"""Who is who: jobs, device names, and what belongs to this pool."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

#: Longest name of a device: a host name's label, by RFC 1123.
MAX_NAME = 63
#: Longest base name, so that "-" and a uuid still fit.
MAX_BASENAME = MAX_NAME - 37

Authority = Literal["owned", "pattern", "any"]
State = Literal["building", "handed over", "withdrawn", "unconfirmed"]

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")
#: Fields of a mark that are texts.
_TEXTS = ("pool", "unique", "handle", "made", "state")
_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


@dataclass(frozen=True)
class Job:
    """One delivery of one job.

    :ivar unique: the client's name for the job, the same in every delivery;
        empty when the client gave none
    :ivar handle: the job server's name for it; empty outside of Gearman
    :ivar server: the job server, "host:port"; empty outside of Gearman
    """

    unique: str = ""
    handle: str = ""
    server: str = ""

    @classmethod
    def by_hand(cls) -> "Job":
        """A job that no job server sent."""
        return cls(unique=str(uuid.uuid4()))


@dataclass(frozen=True)
class Mark:
    """What poolmgr writes on everything it makes, in the making itself.

    :ivar pool: the pool it belongs to
    :ivar unique: the unique of the job it was made for
    :ivar handle: the handle of that job's delivery
    :ivar made: when, ISO 8601 in UTC
    :ivar state: "building" until just before its answer is sent, then
        "handed over"; "withdrawn" when the answer was not sent after all,
        "unconfirmed" when nobody knows whether it arrived. What another
        version has written may be none of these; a client may have it.
    :ivar taken: how many later deliveries of the job have taken it over
    """

    pool: str
    unique: str
    handle: str
    made: str
    state: str = "building"
    taken: int = 0

    @classmethod
    def read(cls, fields: Mapping[str, object]) -> "Mark | None":
        """A mark as it was found; another version may have written it.

        :returns: None if pool or state is missing: then it is no mark
        """
        texts = [fields.get(name) for name in _TEXTS]
        pool, unique, handle, made, state = (
            text if isinstance(text, str) else "" for text in texts
        )
        taken = str(fields.get("taken", ""))
        number = int(taken) if re.fullmatch("[0-9]{1,9}", taken) else 0
        mark = cls(pool, unique, handle, made, state, number)
        return mark if pool and state else None

    @classmethod
    def for_job(cls, pool: str, job: Job) -> "Mark":
        """The mark of what is about to be made for a job."""
        return cls(pool, job.unique, job.handle, time_now())

    def handed_over(self) -> "Mark":
        """The same, once a client is about to have the resource."""
        return replace(self, state="handed over")

    def withdrawn(self) -> "Mark":
        """The same, once it is certain that its answer was not sent."""
        return replace(self, state="withdrawn")

    def unconfirmed(self) -> "Mark":
        """The same, once the connection broke with its answer on the way."""
        return replace(self, state="unconfirmed")

    def taken_over_by(self, job: Job) -> "Mark":
        """The same, for a later delivery of the job."""
        return replace(
            self, state="building", handle=job.handle, taken=self.taken + 1
        )

    @property
    def is_left(self) -> bool:
        """Whether no client can have the resource."""
        return self.state in ("building", "withdrawn")

    def is_of(self, pool: str, job: Job) -> bool:
        """Whether an earlier delivery of this job left it unanswered.

        Clients may use a unique again once its job was answered, so what
        was handed over is only this job's if the job server still calls the
        job by the same handle: then the answer never arrived.
        """
        if not job.unique or (self.pool, self.unique) != (pool, job.unique):
            return False
        same_delivery = bool(job.handle) and self.handle == job.handle
        return same_delivery or self.is_left or self.state == "unconfirmed"

    def is_still(self, other: "Mark | None") -> bool:
        """Whether a mark that was read is this one, unchanged.

        Not told by what clouds may have no room for: unique and handle.
        """
        return other is not None and (
            (self.pool, self.made, self.state, self.taken)
            == (other.pool, other.made, other.state, other.taken)
        )

    def written_over(
        self, present: "Mark | None", before: "Mark | None"
    ) -> "Mark":
        """What has to be there after this mark was written.

        Several workers may write at once, so only what differs from the mark
        that the writer has seen is changed.  Who finds that an answer was
        not delivered says so of what it has handed over itself: that changes
        nothing if a later delivery has taken it over meanwhile.

        :param present: the mark that is there
        :param before: the one that the writer has seen there
        """
        if present is None or before is None:
            return self
        late = self.state in ("withdrawn", "unconfirmed")
        if late and present.taken != self.taken:
            return present
        old = vars(before)
        changes = {k: v for k, v in vars(self).items() if v != old[k]}
        return replace(present, **changes)


def time_now() -> str:
    """Now, as marks have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def age_of(since: str | None, now: datetime) -> int | None:
    """Return the whole seconds since a time; 0 when our clock is behind.

    :param since: a time, ISO 8601; UTC if it does not say
    :returns: None for what is no time
    """
    try:
        at = datetime.fromisoformat(since or "")
    except (TypeError, ValueError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0, int((now - at).total_seconds()))


@dataclass(frozen=True)
class Ownership:
    """What this pool may touch.

    :ivar pool: the pool's name, as its marks have it
    :ivar basename: the pool's base name, already cleaned
    :ivar authority: "owned": what bears our mark; "pattern": also what is
        unmarked and named ``<basename>-<uuid>``, as devices of the original
        are; "any": everything
    """

    pool: str
    basename: str
    authority: Authority = "pattern"

    def of_device(self, name: str, mark: Mark | None) -> bool:
        """Whether a device of that name and mark is ours."""
        if self.authority == "any":
            return True
        if mark is not None:
            return mark.pool == self.pool
        pattern = f"{re.escape(self.basename)}-{_UUID}"
        looks_ours = re.fullmatch(pattern, name) is not None
        return self.authority == "pattern" and looks_ours

    def of_ip(self, mark: Mark | None, attached: bool, ours: bool) -> bool:
        """Whether a floating IP is ours.

        :param mark: its mark
        :param attached: whether it is attached to anything
        :param ours: whether it is attached to a device of ours
        """
        if self.authority == "any" or ours:
            return True
        if mark is not None:
            return mark.pool == self.pool
        return self.authority == "pattern" and not attached


def clean_basename(basename: str) -> str:
    """A base name as device names carry it: "_" becomes "-".

    :raises ValueError: when names made from it would not be host names
    """
    cleaned = basename.replace("_", "-")
    if len(cleaned) > MAX_BASENAME or not _NAME.fullmatch(cleaned):
        raise ValueError(
            f"must be at most {MAX_BASENAME} letters, digits, '-' and '.', "
            f"with a letter or digit at both ends, not {basename!r}"
        )
    return cleaned


def new_name(basename: str) -> str:
    """A new device's name.

    :param basename: as :func:`clean_basename` returned it
    """
    return f"{basename}-{uuid.uuid4()}"


def is_device_name(text: str) -> bool:
    """Whether the text can be a device's name.

    Strict, because cloud libraries put names into paths unquoted.
    """
    return _NAME.fullmatch(text) is not None

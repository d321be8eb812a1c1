"""Jobs, marks, device names, and which resources belong to a pool."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

#: Longest name of a device: a label of a host name has at most 63
#: characters (RFC 1123).
MAX_NAME = 63
#: Longest base name; "-" and a uuid follow it.
MAX_BASENAME = MAX_NAME - 37

Authority = Literal["owned", "pattern", "any"]
State = Literal["building", "handed over", "withdrawn", "unconfirmed"]

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")
#: The text fields of a mark.
_TEXTS = ("pool", "unique", "handle", "made", "state")
_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


@dataclass(frozen=True)
class Job:
    """A delivery of a job.

    :ivar unique: the client's name for the job, the same in each delivery;
        empty if the client gave none
    :ivar handle: the job server's name for it; empty without Gearman
    :ivar server: the job server, as "host:port"; empty without Gearman
    """

    unique: str = ""
    handle: str = ""
    server: str = ""

    @classmethod
    def by_hand(cls) -> "Job":
        """Return a job that does not come from a job server."""
        return cls(unique=str(uuid.uuid4()))


@dataclass(frozen=True)
class Mark:
    """The mark that poolmgr writes on each resource in the creating call.

    :ivar pool: the pool of the resource
    :ivar unique: the unique of the job that created it
    :ivar handle: the handle of the job's delivery
    :ivar made: the time of its creation, ISO 8601 in UTC
    :ivar state: "building" until just before its answer is sent, then
        "handed over"; "withdrawn" if the answer was not sent after all,
        "unconfirmed" if it is not known whether the answer arrived. Another
        version may write other states; a client may have those resources.
    :ivar taken: the number of later deliveries that took the resource over
    """

    pool: str
    unique: str
    handle: str
    made: str
    state: str = "building"
    taken: int = 0

    @classmethod
    def read(cls, fields: Mapping[str, object]) -> "Mark | None":
        """Read a mark, perhaps of another version, from its fields.

        :returns: None if pool or state is missing: then it is no mark
        """
        pool, unique, handle, made, state = [
            text if isinstance(text := fields.get(name), str) else ""
            for name in _TEXTS
        ]
        # Anybody may have edited it, and int() raises for thousands of digits.
        taken = str(fields.get("taken", ""))
        number = int(taken) if re.fullmatch("[0-9]{1,9}", taken) else 0
        mark = cls(pool, unique, handle, made, state, number)
        return mark if pool and state else None

    @classmethod
    def for_job(cls, pool: str, job: Job) -> "Mark":
        """Return the mark for a resource that a job is about to create."""
        return cls(pool, job.unique, job.handle, time_now())

    def handed_over(self) -> "Mark":
        """Return the mark for a resource whose answer is about to be sent."""
        return replace(self, state="handed over")

    def withdrawn(self) -> "Mark":
        """Return the mark for a resource whose answer was not sent."""
        return replace(self, state="withdrawn")

    def unconfirmed(self) -> "Mark":
        """Return the mark for a resource whose answer may be lost."""
        return replace(self, state="unconfirmed")

    def taken_over_by(self, job: Job) -> "Mark":
        """Return the mark for a later delivery of the job."""
        return replace(
            self, state="building", handle=job.handle, taken=self.taken + 1
        )

    @property
    def is_left(self) -> bool:
        """Whether no client can have the resource."""
        return self.state in ("building", "withdrawn")

    def is_of(self, pool: str, job: Job) -> bool:
        """Return whether an earlier delivery of a job left the resource.

        Clients may reuse a unique after its job was answered. A resource in
        the state "handed over" therefore only belongs to the job if the job
        has the same handle: then the answer never arrived.
        """
        if not job.unique or (self.pool, self.unique) != (pool, job.unique):
            return False
        # Without Gearman all handles are empty.
        same_delivery = bool(job.handle) and self.handle == job.handle
        return same_delivery or self.is_left or self.state == "unconfirmed"

    def is_still(self, other: "Mark | None") -> bool:
        """Return whether a mark that was read is this one, unchanged.

        Unique and handle are not compared: some clouds have no room for them.
        """
        return other is not None and (
            (self.pool, self.made, self.state, self.taken)
            == (other.pool, other.made, other.state, other.taken)
        )

    def written_over(
        self, present: "Mark | None", before: "Mark | None"
    ) -> "Mark":
        """Return the mark that results from writing this one.

        Several workers may write at once, so only the fields that differ from
        the mark that the writer read are changed.  "Withdrawn" and
        "unconfirmed" have no effect if a later delivery has taken the
        resource over in the meantime.

        :param present: the present mark of the resource
        :param before: the mark that the writer read
        """
        if present is None or before is None:
            return self
        late = self.state in ("withdrawn", "unconfirmed")
        if late and present.taken != self.taken:
            return present
        old = vars(before)
        changes = {k: v for k, v in vars(self).items() if v != old[k]}
        if self.taken != before.taken:
            # The present state may be about the answer of the delivery before.
            changes["state"] = self.state
        return replace(present, **changes)


def time_now() -> str:
    """Return the current time in the format of marks."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def age_of(since: str | None, now: datetime) -> int | None:
    """Return the whole seconds since a time; 0 if it is in the future.

    :param since: an ISO 8601 time, UTC by default
    :returns: None if it is not a time
    """
    try:
        at = datetime.fromisoformat(since or "")
    except (TypeError, ValueError):
        return None
    # A third-party driver may leave the time zone out.
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0, int((now - at).total_seconds()))


@dataclass(frozen=True)
class Ownership:
    """Decides which resources this pool may change and delete.

    :ivar pool: the pool's name in marks
    :ivar basename: the pool's base name, from :func:`clean_basename`
    :ivar authority: "owned": resources with the pool's mark; "pattern": also
        unmarked ones named ``<basename>-<uuid>``, as the original Pool
        Manager named them; "any": all resources
    """

    pool: str
    basename: str
    authority: Authority = "pattern"

    def of_device(self, name: str, mark: Mark | None) -> bool:
        """Return whether a device with this name and mark is ours."""
        if self.authority == "any":
            return True
        if mark is not None:
            return mark.pool == self.pool
        pattern = f"{re.escape(self.basename)}-{_UUID}"
        looks_ours = re.fullmatch(pattern, name) is not None
        return self.authority == "pattern" and looks_ours

    def of_ip(self, mark: Mark | None, attached: bool, ours: bool) -> bool:
        """Return whether a floating IP is ours.

        :param mark: its mark
        :param attached: whether it is attached
        :param ours: whether it is attached to a device of ours
        """
        if self.authority == "any" or ours:
            return True
        if mark is not None:
            return mark.pool == self.pool
        # Without a mark nothing else tells that somebody uses it.
        return self.authority == "pattern" and not attached


def clean_basename(basename: str) -> str:
    """Return a base name as used in device names: "_" becomes "-".

    :raises ValueError: names made from it would not be host names
    """
    cleaned = basename.replace("_", "-")
    if len(cleaned) > MAX_BASENAME or not _NAME.fullmatch(cleaned):
        raise ValueError(
            f"must be at most {MAX_BASENAME} letters, digits, '-' and '.', "
            f"with a letter or digit at both ends, not {basename!r}"
        )
    return cleaned


def new_name(basename: str) -> str:
    """Return a name for a new device.

    :param basename: from :func:`clean_basename`
    """
    return f"{basename}-{uuid.uuid4()}"


def is_device_name(text: str) -> bool:
    """Return whether the text can be a device's name.

    The check is strict because cloud libraries put names into URLs unquoted.
    """
    return _NAME.fullmatch(text) is not None

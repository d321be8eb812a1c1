"""Finds what nobody owns, says why, and removes it when told to.

A worker that dies with its job server leaves devices that no job will ever
take over.  What is one of these is decided by rules that can be read in the
reasons given; each of them is there to spare a thing that may have an owner.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args

from poolmgr.drivers.base import Device, Driver, FloatingIP
from poolmgr.errors import PoolmgrError, Stopped
from poolmgr.ownership import Mark, State
from poolmgr.reaper.inventory import DeviceItem, Inventory, IpItem
from poolmgr.settings import PoolSettings, ReaperSettings
from poolmgr.text import format_duration, one_line
from poolmgr.waiting import Deadline, Stop

LOG = logging.getLogger(__name__)

#: Seconds that looking, and removing one thing, may take.
_TIME = 120.0
#: Things of the pool from which on half of them missing is suspicious.
_FEW = 4
_DEVICE, _IP = "device", "floating IP"

Verdict = Literal["kept", "unowned", "removed", "failed"]


class KnowsJobs(Protocol):
    """Knows which jobs are in flight."""

    def reasons(self, marks: Collection[Mark]) -> dict[Mark, str]:
        """Why the jobs of some of these marks may be in flight."""


@dataclass(frozen=True)
class Case:
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
        return _DEVICE if isinstance(self.thing, Device) else _IP

    @property
    def name(self) -> str:
        """What people call it: a device's name, an address."""
        if isinstance(self.thing, Device):
            return self.thing.name
        return self.thing.address

    def __str__(self) -> str:
        return f"{self.kind} {one_line(str(self.name))}"


class Vanished(PoolmgrError):
    """So much is missing in the cloud's list that it is not believed.

    :ivar what: the kind of things
    :ivar now: how many there are
    :ivar before: how many there were
    """

    code = "vanished"
    retryable = True

    def __init__(self, what: str, now: int, before: int) -> None:
        self.what, self.now, self.before = what, now, before
        super().__init__(
            f"the cloud lists {now} {what} of this pool, and there were "
            f"{before}; nothing is removed before this was seen twice"
        )


class Reaper:
    """Looks for what nobody owns; not for several threads at once.

    Only what bears this pool's mark is ever looked at.

    :param driver: the cloud
    :param pool: the pool's settings
    :param settings: how old a thing has to be, and how many are removed
    :param jobs: knows which jobs are in flight
    :param job_time: seconds that a job may take at most
    :param sightings: how many looks have to find a thing unowned: two, or
        one if nothing will be removed
    """

    def __init__(
        self,
        driver: Driver,
        pool: PoolSettings,
        settings: ReaperSettings,
        jobs: KnowsJobs,
        job_time: float,
        sightings: Literal[1, 2] = 2,
    ) -> None:
        self._driver = driver
        self._job_time = 0.0
        self.adopt(pool, settings, job_time)
        self._jobs = jobs
        self._twice = sightings == 2
        self._seen: dict[str, Mark] = {}
        self._there: dict[str, int] = {}

    def adopt(
        self, pool: PoolSettings, settings: ReaperSettings, job_time: float
    ) -> None:
        """Use other settings from now on.

        Jobs that began under those before may still run, so the time that a
        job may take never becomes shorter.

        :param job_time: as of the class
        """
        self._job_time = max(self._job_time, job_time)
        self._pool = pool
        self._limit = settings.limit
        self._old = max(settings.older_than, self._job_time)

    @property
    def to_look_again(self) -> bool:
        """Whether the last look has found what has to be seen once more."""
        return bool(self._seen)

    def look(self, stop: Stop | None = None) -> list[Case]:
        """Look once; nothing is changed.

        :returns: all that is not plainly somebody's, the oldest first
        :raises Vanished: half of the pool has disappeared since the last look
        :raises CloudError: the cloud does not tell
        :raises Stopped: the signal was given
        """
        inventory = Inventory(
            self._driver, self._pool.ownership, Deadline(_TIME, stop)
        )
        devices, ips = inventory.everything()
        ours = [d for d in devices if self._is_ours(d.mark)]
        our_ips = [i for i in ips if self._is_ours(i.mark)]
        self._require_plausible({_DEVICE: len(ours), _IP: len(our_ips)})
        there = {item.device.id for item in devices}
        cases = [case for d in ours if (case := _device_case(d))]
        cases += [case for i in our_ips if (case := _ip_case(i, there))]
        cases = [self._judged(case) for case in cases]
        cases = self._without_jobs(cases)
        return self._seen_twice(cases)

    def remove(
        self, cases: Sequence[Case], stop: Stop | None = None
    ) -> list[Case]:
        """Remove those of the cases that are unowned, up to the limit.

        Each is looked at once more right before.

        :returns: the cases, with what became of each
        :raises Stopped: the signal was given
        """
        done: list[Case] = []
        removed = 0
        for case in cases:
            if case.verdict != "unowned":
                done.append(case)
            elif removed >= self._limit:
                reason = f"left to the next look: {self._limit} are the most"
                done.append(replace(case, verdict="kept", reason=reason))
            else:
                done.append(self._remove(case, Deadline(_TIME, stop)))
                if done[-1].verdict == "removed":
                    removed += 1
                    # It is not one of those that disappeared.
                    self._there[case.kind] -= 1
        return done

    # -- the rules ----------------------------------------------------------

    def _is_ours(self, mark: Mark | None) -> bool:
        return mark is not None and mark.pool == self._pool.pool

    def _require_plausible(self, now: dict[str, int]) -> None:
        before, self._there = self._there, now
        for kind, number in now.items():
            was = before.get(kind, 0)
            if was >= _FEW and number < was / 2:
                # What was seen before this counts for nothing.
                self._seen = {}
                raise Vanished(f"{kind}s", number, was)

    def _judged(self, case: Case) -> Case:
        """What a case is by itself."""
        if case.verdict == "kept":
            return case
        if case.age is None:
            return replace(case, verdict="kept", reason="its age is unknown")
        if case.age <= self._old:
            least = format_duration(int(self._old))
            return replace(
                case, verdict="kept", reason=f"not older than {least} yet"
            )
        return case

    def _without_jobs(self, cases: list[Case]) -> list[Case]:
        marks = [case.mark for case in cases if case.verdict == "unowned"]
        busy = self._jobs.reasons(marks) if marks else {}
        return [
            replace(case, verdict="kept", reason=busy[case.mark])
            if case.verdict == "unowned" and case.mark in busy
            else case
            for case in cases
        ]

    def _seen_twice(self, cases: list[Case]) -> list[Case]:
        seen, self._seen = self._seen, {}
        judged = []
        for case in cases:
            if case.verdict == "unowned" and self._twice:
                self._seen[case.thing.id] = case.mark
                if seen.get(case.thing.id) != case.mark:
                    reason = f"{case.reason}; to be seen once more"
                    case = replace(case, verdict="kept", reason=reason)
            judged.append(case)
        return judged

    # -- removing -----------------------------------------------------------

    def _remove(self, case: Case, deadline: Deadline) -> Case:
        try:
            now = self._again(case, deadline)
            if now is None:
                reason = "it is gone, or was changed, in the last moment"
                return replace(case, verdict="kept", reason=reason)
            busy = self._jobs.reasons([case.mark])
            if case.mark in busy:
                return replace(case, verdict="kept", reason=busy[case.mark])
            LOG.warning("removing %s: %s", case, one_line(case.reason))
            if isinstance(now, Device):
                self._driver.delete_device(now, deadline)
            else:
                self._driver.delete_ip(now, deadline)
        except Stopped:
            raise
        except PoolmgrError as error:
            reason = f"{case.reason}; cannot remove it: {error}"
            return replace(case, verdict="failed", reason=reason)
        return replace(case, verdict="removed")

    def _again(
        self, case: Case, deadline: Deadline
    ) -> Device | FloatingIP | None:
        """The thing as it is now, if nobody has changed it meanwhile."""
        if isinstance(case.thing, Device):
            found = self._driver.find_devices(case.thing.name, deadline)
            same = [d for d in found if d.id == case.thing.id]
            now: Device | FloatingIP | None = same[0] if same else None
        else:
            now = self._ip_again(case.thing, deadline)
        return now if now is not None and now.mark == case.mark else None

    def _ip_again(
        self, ip: FloatingIP, deadline: Deadline
    ) -> FloatingIP | None:
        now = self._driver.find_ip(ip.address, deadline)
        if now is None or (now.id, now.device_id) != (ip.id, ip.device_id):
            return None
        if now.goes_with is not None:
            devices = self._driver.list_devices(deadline)
            if now.goes_with in {device.id for device in devices}:
                return None
            # Lists lack what is in a part of the cloud that is down.
            its = replace(now, device_id=now.goes_with)
            if self._driver.device_of_ip(its, deadline) is not None:
                return None
        return now


def _device_case(item: DeviceItem) -> Case | None:
    mark = item.mark
    assert mark is not None  # noqa: S101 - it is ours
    return _by_its_state(
        Case(item.device, mark, item.age, "unowned", _made_for(mark))
    )


def _ip_case(item: IpItem, devices: Collection[str]) -> Case | None:
    mark, ip = item.mark, item.ip
    assert mark is not None  # noqa: S101 - it is ours
    case = Case(ip, mark, item.age, "unowned", _made_for(mark))
    if ip.goes_with is not None:
        if ip.goes_with in devices or ip.device_id is not None:
            return None
        reason = f"its device {ip.goes_with} is gone"
        return replace(case, reason=reason)
    if mark.is_left and ip.device_id is not None:
        where = item.attached_to or ""
        reason = f"it is attached to {where}"
        return replace(case, verdict="kept", reason=reason)
    return _by_its_state(case)


def _by_its_state(case: Case) -> Case | None:
    """What a mark's state makes of a case; None if it is somebody's."""
    if case.mark.state == "unconfirmed":
        reason = (
            "nobody knows whether its answer arrived: if no client has it, "
            "delete it by hand"
        )
        return replace(case, verdict="kept", reason=reason)
    if case.mark.state not in get_args(State):
        reason = "this version of poolmgr does not know its state"
        return replace(case, verdict="kept", reason=reason)
    return case if case.mark.is_left else None


def _made_for(mark: Mark) -> str:
    job = mark.unique or mark.handle or "without a name"
    what = {
        "building": "never answered",
        "withdrawn": "whose answer could not be sent",
    }.get(mark.state, "")
    return f"made for job {job}, {what}, that no worker and job server has"

"""Who owns what at the end."""

from collections import Counter
from dataclasses import dataclass, field

from poolmgr.drivers.nova import NovaCloud, NovaSettings
from poolmgr.identity import Mark
from poolmgr.inflight import InFlight
from poolmgr.reaper import Reaper
from poolmgr.settings import PoolSettings, ReaperSettings
from poolmgr.waiting import Deadline
from tests.chaos.jobs import Clients
from tests.gearman_workers import PATIENCE


@dataclass
class Audit:
    """What was found.

    :ivar problems: what must not be, in words
    :ivar left: what nobody owned before the reaper
    :ivar in_doubt: answers that may not have arrived
    """

    problems: list[str] = field(default_factory=list)
    left: int = 0
    in_doubt: int = 0


def audit(
    clients: Clients, settings: NovaSettings, in_flight: InFlight, sure: bool
) -> Audit:
    """Look who owns what, and reap, when all jobs are answered.

    :param sure: whether no answer can have been lost: the job server lives
    """
    found = Audit()
    driver = NovaCloud(settings)
    try:
        _reap(driver, in_flight, found)
        deadline = Deadline(PATIENCE)
        devices = {
            d.name: d.mark for d in driver.list_devices(deadline) if d.mark
        }
        ips = {i.address: i for i in driver.list_ips(deadline) if i.mark}
        marks = {address: ip.mark for address, ip in ips.items()}
        for action, key, there in (
            ("BUILD_DEVICE", "name", devices),
            ("BUILD_IP", "ip", marks),
        ):
            _compare(clients, action, key, there, sure, found)
        names = {d.id: d.name for d in driver.list_devices(deadline)}
        for job in clients.passed("ASSIGN_IP"):
            ip = ips.get(job.request["ip"])
            if (
                ip is None
                or names.get(ip.device_id or "") != (job.request["name"])
            ):
                found.problems.append(f"not in effect: {job}")
    finally:
        driver.close()
    for job in clients.jobs:
        if job.answer is None and sure:
            found.problems.append(f"never answered: {job}")
    return found


def _compare(
    clients: Clients,
    action: str,
    key: str,
    there: "dict[str, Mark | None] | dict[str, Mark]",
    sure: bool,
    found: Audit,
) -> None:
    answered = Counter(
        job.answer[key] for job in clients.passed(action) if job.answer
    )
    for name, times in answered.items():
        if times > 1:
            found.problems.append(f"{name} was answered {times} times")
        if name not in there:
            found.problems.append(f"{name} was answered and is not there")
    for name, mark in there.items():
        if name in answered:
            continue
        if mark is not None and mark.state == "unconfirmed" and not sure:
            found.in_doubt += 1
        else:
            found.problems.append(f"{name} is nobody's: {mark}")


def _reap(driver: NovaCloud, in_flight: InFlight, found: Audit) -> None:
    # Whatever is there is old enough: all jobs have been answered.
    reaper = Reaper(
        driver,
        PoolSettings(),
        ReaperSettings(older_than=0.0, limit=10000),
        in_flight,
        job_time=-1.0,
    )
    reaper.look()
    cases = reaper.remove(reaper.look())
    found.left = sum(case.verdict == "removed" for case in cases)
    found.problems += [
        f"{case}: {case.verdict}: {case.reason}"
        for case in cases
        if case.verdict != "removed" and case.mark.state != "unconfirmed"
    ]

"""What nobody owns is found, and nothing else."""

import asyncio
import json
import signal
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from poolmgr import AsyncPoolManager
from poolmgr.cloud import open_cloud
from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.errors import CloudRefused, CloudUnavailable
from poolmgr.events import Observer, RunningJob
from poolmgr.gearman.client import Client
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.ownership import Job, Mark
from poolmgr.reaper.loop import ReaperLoop
from poolmgr.reaper.reaper import InFlight
from poolmgr.settings import PoolSettings, ReaperSettings
from poolmgr.settings.gearman import GearmanSettings
from poolmgr.worker.queries import JobServerQueries
from tests.jobservers import JobServerProcess, free_port, gearmand
from tests.polling import until
from tests.processes import Process, poolmgr, worker
from tests.reaping import BlockingReaper, verdicts
from tests.terminals import terminal

FUNCTION = "libra_pool_mgm"
HOURS_AGO = (datetime.now(UTC) - timedelta(hours=2)).isoformat("T", "seconds")
#: Seconds that a verb of the driver may take.
SOON = 20.0
LEFT = Mark("libra", "unique-1", "H:host:1", HOURS_AGO)


Reapers = Callable[..., BlockingReaper]


@pytest.fixture
def reaper() -> Iterator[Reapers]:
    """Makes reapers of clouds."""
    with ExitStack() as stack:

        def make(driver: FakeCloud, **changes: Any) -> BlockingReaper:
            cloud = stack.enter_context(open_cloud(driver))
            return BlockingReaper(cloud, **changes)

        yield make


def age(path: Path) -> None:
    """Have all devices be two hours older."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE device SET created = created - 7200")


def old_device(
    cloud: FakeCloud, name: str, mark: Mark | None, age: float = 7200.0
) -> Device:
    """A device that was made so many seconds ago, two hours ago if nothing
    else is said."""
    then = time.time() - age
    with patch("poolmgr.drivers.fake.cloud.time") as clock:
        clock.time.return_value = then
        return cloud.create_device(name, mark, SOON)


# -- the rules --------------------------------------------------------------


@pytest.mark.parametrize(
    ("mark", "verdict"),
    [
        (LEFT, "unowned"),
        (LEFT.withdrawn(), "unowned"),
        (LEFT.taken_over_by(Job("unique-1", "H:host:2")), "unowned"),
        (replace(LEFT, unique=""), "unowned"),
        (LEFT.unconfirmed(), "kept"),
        (LEFT.handed_over(), None),
        (replace(LEFT, pool="other"), None),
        (None, None),
    ],
)
def test_what_is_left_by_its_mark_is_unowned(
    cloud: FakeCloud, mark: Mark | None, verdict: str | None, reaper: Reapers
) -> None:
    # Under the authority to touch everything, too.
    pool = PoolSettings(authority="any")
    old_device(cloud, "libra-a", mark)
    ip = cloud.create_ip(mark, SOON)

    found = verdicts(reaper(cloud, pool=pool).find())

    expected = {"libra-a": verdict, ip.address: verdict} if verdict else {}
    assert found == expected


def test_a_device_that_failed_is_unowned_too(reaper: Reapers) -> None:
    with closing(FakeCloud(FakeSettings(boot_failure_rate=1.0))) as cloud:
        old_device(cloud, "libra-a", LEFT)

        assert verdicts(reaper(cloud).find()) == {"libra-a": "unowned"}


def test_what_is_young_may_be_in_the_making(
    cloud: FakeCloud, reaper: Reapers
) -> None:
    cloud.create_device("libra-a", LEFT, SOON)
    old_device(cloud, "libra-b", replace(LEFT, unique="unique-2"))

    (older, younger) = reaper(cloud).find()

    assert (older.item.name, older.verdict) == ("libra-b", "unowned")
    assert (younger.item.name, younger.verdict) == ("libra-a", "kept")
    assert younger.reason == "not older than 1m yet"


def test_no_job_is_cut_short_by_a_setting(
    cloud: FakeCloud, reaper: Reapers
) -> None:
    old_device(cloud, "libra-a", LEFT)

    (case,) = reaper(cloud, old=9000.0).find()

    assert (case.verdict, case.reason) == ("kept", "not older than 2h 30m yet")


def test_an_address_of_unknown_age_is_kept(
    cloud: FakeCloud, reaper: Reapers
) -> None:
    cloud.create_ip(replace(LEFT, made="once"), SOON)

    (case,) = reaper(cloud).find()

    assert (case.verdict, case.reason) == ("kept", "its age is unknown")


def test_an_address_that_something_has_is_kept(
    cloud: FakeCloud, reaper: Reapers
) -> None:
    device = cloud.create_device("libra-a", LEFT.handed_over(), SOON)
    (device,) = cloud.find_devices([device.name], SOON)
    cloud.attach_ip(cloud.create_ip(LEFT, SOON), device, SOON)

    (case,) = reaper(cloud).find()

    assert case.verdict == "kept"
    assert case.reason == "it is attached to libra-a"


def test_two_looks_have_to_find_the_same(
    cloud: FakeCloud, reaper: Reapers
) -> None:
    device = old_device(cloud, "libra-a", LEFT)
    twice = reaper(cloud, twice=True)

    assert verdicts(twice.find()) == {"libra-a": "kept"}
    assert twice.reaper.to_confirm
    # Its job was delivered again in between.
    taken_over = LEFT.taken_over_by(Job("unique-1", "H:host:2"))
    cloud.mark_device(device, taken_over, SOON)
    assert verdicts(twice.find()) == {"libra-a": "kept"}
    assert verdicts(twice.find()) == {"libra-a": "unowned"}


def test_half_of_a_pool_does_not_disappear(
    cloud: FakeCloud, reaper: Reapers
) -> None:
    ips = [cloud.create_ip(LEFT, SOON) for _each in range(6)]
    watching = reaper(cloud, twice=True)
    watching.find()
    for ip in ips[:4]:
        cloud.delete_ip(ip, SOON)

    with pytest.raises(
        CloudUnavailable, match="lists 2 floating IPs, 6 in the last run"
    ):
        watching.find()

    # Seen again it is believed; but what was seen before does not count.
    left = {ip.address for ip in ips[4:]}
    assert verdicts(watching.find()) == dict.fromkeys(left, "kept")
    assert verdicts(watching.find()) == dict.fromkeys(left, "unowned")


# -- jobs in flight ---------------------------------------------------------


def in_flight(*servers: Address, running: str = "") -> InFlight:
    here = RunningJob(Job(running), "BUILD_DEVICE", 1.0, 2.0, 1)
    options = ConnectionOptions(connect_timeout=1.0)
    return InFlight(lambda: [here] if running else [], servers, options)


def test_what_runs_here_is_kept(cloud: FakeCloud, reaper: Reapers) -> None:
    old_device(cloud, "libra-a", LEFT)

    (case,) = reaper(cloud, jobs=in_flight(running="unique-1")).find()
    (other,) = reaper(cloud, jobs=in_flight(running="unique-2")).find()

    assert (case.verdict, case.reason) == ("kept", "its job runs here")
    assert other.verdict == "unowned"


@pytest.mark.parametrize("unique", ["unique-1", ""])
def test_what_a_job_server_has_a_job_for_is_kept(
    cloud: FakeCloud,
    job_server: JobServerProcess,
    unique: str,
    reaper: Reapers,
) -> None:
    address = job_server.address

    async def submit() -> str:
        async with Client([address]) as client:
            job = await client.submit(
                FUNCTION, b"{}", unique=unique, background=True
            )
            return job.handle

    handle = asyncio.run(submit())
    old_device(cloud, "libra-a", replace(LEFT, unique=unique, handle=handle))
    other = Mark("libra", "unique-2", "H:nowhere:9", HOURS_AGO)
    old_device(cloud, "libra-b", other)

    found = reaper(cloud, jobs=in_flight(address)).find()

    assert verdicts(found) == {"libra-a": "kept", "libra-b": "unowned"}
    assert found[0].reason == f"job server {address} has its job"


def test_a_job_server_that_cannot_be_asked_may_have_any_job(
    cloud: FakeCloud, job_server: JobServerProcess, reaper: Reapers
) -> None:
    old_device(cloud, "libra-a", LEFT)
    dead = Address("127.0.0.1", free_port())

    (case,) = reaper(cloud, jobs=in_flight(job_server.address, dead)).find()

    assert case.verdict == "kept"
    assert case.reason == (
        f"job server {dead} cannot be asked: Connection refused"
    )


# -- removing ---------------------------------------------------------------


def test_what_is_unowned_is_removed_and_the_rest_stays(
    cloud: FakeCloud, reaper: Reapers
) -> None:
    old_device(cloud, "libra-left", LEFT)
    old_device(cloud, "libra-owned", LEFT.handed_over())
    old_device(cloud, "libra-foreign", None)
    cloud.create_ip(LEFT.withdrawn(), SOON)
    owned = cloud.create_ip(LEFT.handed_over(), SOON)

    reaping = reaper(cloud)
    done = reaping.remove(reaping.find())

    assert [case.verdict for case in done] == ["removed", "removed"]
    names = {device.name for device in cloud.list_devices(SOON)}
    assert names == {"libra-owned", "libra-foreign"}
    assert [ip.id for ip in cloud.list_ips(SOON)] == [owned.id]


def test_one_look_removes_no_more_than_the_limit(
    cloud: FakeCloud, reaper: Reapers
) -> None:
    for number in range(5):
        old_device(cloud, f"libra-{number}", LEFT)
    reaping = reaper(cloud, limit=2)

    done = reaping.remove(reaping.find())

    assert len(cloud.list_devices(SOON)) == 3
    assert [case.verdict for case in done].count("removed") == 2
    assert "the limit is 2" in done[-1].reason


def test_what_it_removes_itself_has_not_disappeared(
    cloud: FakeCloud, reaper: Reapers
) -> None:
    for number in range(6):
        old_device(cloud, f"libra-{number}", LEFT)
        cloud.create_ip(LEFT, SOON)
    reaping = reaper(cloud)

    reaping.remove(reaping.find())

    assert reaping.find() == []


class Meddled(FakeCloud):
    """A cloud in which something happens right before a deletion."""

    meddle: Callable[[], object] = staticmethod(lambda: None)

    def find_devices(
        self, names: Collection[str], timeout: float
    ) -> Sequence[Device]:
        self.meddle()
        return super().find_devices(names, timeout)

    def find_ips(
        self, addresses: Collection[str], timeout: float
    ) -> Sequence[FloatingIP]:
        self.meddle()
        return super().find_ips(addresses, timeout)


def test_what_somebody_has_in_the_last_moment_is_kept(reaper: Reapers) -> None:
    with closing(Meddled()) as cloud:
        device = old_device(cloud, "libra-a", LEFT)
        ip = cloud.create_ip(LEFT, SOON)
        given = LEFT.handed_over()

        def hand_over() -> None:
            cloud.meddle = lambda: None
            cloud.mark_device(device, given, SOON)
            cloud.mark_ip(ip, given, SOON)

        cloud.meddle = hand_over
        reaping = reaper(cloud)
        done = reaping.remove(reaping.find())

        assert [case.verdict for case in done] == ["kept", "kept"]
        assert len(cloud.list_devices(SOON)) == 1
        assert len(cloud.list_ips(SOON)) == 1


def test_a_job_that_comes_back_in_the_last_moment_keeps_its_device(
    reaper: Reapers,
) -> None:
    with closing(Meddled()) as cloud, gearmand() as server:
        old_device(cloud, "libra-a", LEFT)

        async def submit() -> None:
            async with Client([server.address]) as client:
                await client.submit(
                    FUNCTION, b"{}", unique=LEFT.unique, background=True
                )

        cloud.meddle = lambda: asyncio.run(submit())
        reaping = reaper(cloud, jobs=in_flight(server.address))
        (case,) = reaping.remove(reaping.find())

        assert case.verdict == "kept"
        assert "has its job" in case.reason


def test_what_cannot_be_removed_is_told(reaper: Reapers) -> None:
    class Stubborn(FakeCloud):
        def delete_device(self, device: Device, timeout: float) -> bool:
            raise CloudRefused("the disk is stuck")

    with closing(Stubborn()) as cloud:
        old_device(cloud, "libra-a", LEFT)
        reaping = reaper(cloud)

        (case,) = reaping.remove(reaping.find())

    assert case.verdict == "failed"
    assert case.reason.endswith("cannot remove it: the disk is stuck")


# -- the command ------------------------------------------------------------


@pytest.fixture
def state(tmp_path: Path) -> tuple[Path, list[str]]:
    """The file of a cloud with a device and an address that are left, and
    the command line for it."""
    path = tmp_path / "cloud.db"
    with closing(FakeCloud(FakeSettings(state=str(path)))) as cloud:
        cloud.create_device("libra-left", LEFT, SOON)
        cloud.create_device("libra-own", LEFT.handed_over(), SOON)
        cloud.create_ip(LEFT, SOON)
    age(path)
    config = tmp_path / "poolmgr.conf"
    config.write_text(f"[fake]\nstate = {path}\n")
    return path, ["--driver", "fake", "--config-file", str(config)]


def names(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as db:
        return {name for (name,) in db.execute("SELECT name FROM device")}


def test_a_dry_run_says_what_would_go_and_why(
    state: tuple[Path, list[str]],
) -> None:
    path, options = state
    with gearmand() as server:
        options += ["--gearman-server", str(server.address)]

        done = poolmgr(*options, "reap", "--dry-run", "-f", "json")

    assert done.returncode == 0, done.stderr
    device, ip = json.loads(done.stdout)
    assert (device["Kind"], device["Name"]) == ("device", "libra-left")
    assert (device["Verdict"], device["Job"]) == ("unowned", "unique-1")
    assert device["Reason"] == (
        "job unique-1 was never answered, and no worker or job server has it"
    )
    assert device["Age"] >= 7200
    assert (ip["Kind"], ip["Verdict"]) == ("floating IP", "unowned")
    assert names(path) == {"libra-left", "libra-own"}


def test_reap_removes_what_two_looks_have_found(
    state: tuple[Path, list[str]],
) -> None:
    path, options = state
    with gearmand() as server:
        options += ["--gearman-server", str(server.address)]
        one = poolmgr(*options, "reap", "--pause", "0", "--limit", "1")
        rest = poolmgr(*options, "reap", "--pause", "0", "-f", "json")
        none = poolmgr(*options, "reap")

    assert one.returncode == rest.returncode == none.returncode == 0
    assert "removed" in one.stdout
    assert [row["Verdict"] for row in json.loads(rest.stdout)] == ["removed"]
    assert (none.stdout, none.stderr) == (
        "",
        "poolmgr: there are no orphans\n",
    )
    assert names(path) == {"libra-own"}


def test_reap_can_do_without_job_servers(
    state: tuple[Path, list[str]],
) -> None:
    path, options = state
    options += ["--gearman-server", f"127.0.0.1:{free_port()}"]

    asking = poolmgr(*options, "reap", "--dry-run", "-f", "json")
    young = poolmgr(
        *(*options, "reap", "--without-job-servers", "--dry-run"),
        *("--older-than", "3h", "-f", "json"),
    )
    done = poolmgr(*options, "reap", "--without-job-servers", "--pause", "0")

    assert {row["Verdict"] for row in json.loads(asking.stdout)} == {"kept"}
    assert {row["Verdict"] for row in json.loads(young.stdout)} == {"kept"}
    assert done.returncode == 0
    assert names(path) == {"libra-own"}


@pytest.mark.parametrize(
    ("typed", "code", "left"),
    [
        ("y\r", 0, {"libra-own"}),
        ("\r", 1, {"libra-left", "libra-own"}),
        ("no\r", 1, {"libra-left", "libra-own"}),
    ],
)
def test_on_a_terminal_it_asks_before_it_deletes(
    state: tuple[Path, list[str]], typed: str, code: int, left: set[str]
) -> None:
    path, options = state
    options += ["reap", "--without-job-servers", "--pause", "0"]
    with terminal(*options, columns=160) as shown:
        shown.wait_for(lambda: "Delete these (2)?" in shown.text)
        assert "device libra-left: job unique-1" in shown.text
        assert names(path) == {"libra-left", "libra-own"}

        shown.type(typed)

        assert shown.exit_code() == code
        assert ("nothing was deleted" in shown.text) == bool(code)
    assert names(path) == left


def test_it_does_not_ask_who_says_yes(state: tuple[Path, list[str]]) -> None:
    path, options = state
    options += ["reap", "--without-job-servers", "--pause", "0", "--yes"]
    with terminal(*options) as shown:
        assert shown.exit_code() == 0
    assert names(path) == {"libra-own"}


@pytest.mark.parametrize("limit", ["0", "-1", "x"])
def test_a_limit_is_a_number(limit: str) -> None:
    done = poolmgr("reap", "--limit", limit)

    assert done.returncode == 2
    assert "--limit" in done.stderr


# -- in the worker ----------------------------------------------------------


@contextmanager
def reaping_worker(
    server: JobServerProcess, folder: Path, mode: str, more: str = ""
) -> Iterator[Process]:
    config = (
        f"[fake]\nstate = {folder / 'cloud.db'}\n{more}\n"
        f"[reaper]\nmode = {mode}\ninterval = 0.2\n"
    )
    with worker([str(server.address)], config, folder) as process:
        process.wait_for("registered")
        yield process


def test_a_worker_removes_what_workers_have_left(tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"

    async def submit(server: JobServerProcess) -> None:
        async with Client([server.address]) as client:
            await client.submit(FUNCTION, b'{"action": "BUILD_DEVICE"}')
            await asyncio.to_thread(until, lambda: path.exists())
            await asyncio.to_thread(until, lambda: names(path))

    with gearmand() as server:
        slow = "boot_time = 3600"
        with reaping_worker(server, tmp_path, "off", slow) as process:
            asyncio.run(submit(server))
            server.kill()
            process.signal(signal.SIGKILL)
            process.exit_code()
        age(path)
        server.start()
        with reaping_worker(server, tmp_path, "delete") as process:
            process.wait_for("removed: device libra-")

    assert names(path) == set()


@pytest.mark.parametrize("mode", ["off", "report"])
def test_a_worker_that_is_not_told_to_removes_nothing(
    state: tuple[Path, list[str]], tmp_path: Path, mode: str
) -> None:
    path, _options = state
    with gearmand() as server:
        with reaping_worker(server, tmp_path, mode) as process:
            if mode == "report":
                process.wait_for("orphan: device libra-left: job ")
                process.wait_for("orphan: floating IP 198.18.0.1: ")
            process.signal(signal.SIGTERM)
            assert process.exit_code() == 0

    found = [line for line in process.lines if "libra-left" in line]
    assert len(found) == (1 if mode == "report" else 0)
    assert names(path) == {"libra-left", "libra-own"}


def test_a_build_of_another_worker_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"

    async def build(server: JobServerProcess) -> dict[str, str]:
        async with Client([server.address]) as client:
            job = await client.submit(FUNCTION, b'{"action": "BUILD_DEVICE"}')
            await asyncio.to_thread(until, lambda: names(path))
            # As if it had taken hours, by a clock that is wrong, say.
            age(path)
            found = json.loads(await job.result(30.0))
        assert isinstance(found, dict)
        return found

    other = tmp_path / "other"
    other.mkdir()
    with gearmand() as server, gearmand() as unused:
        # The reaper's own worker has other job servers, too.
        config = (
            f"[fake]\nstate = {path}\n[worker]\nfunction = other\n"
            "[reaper]\nmode = delete\ninterval = 0.1\n"
        )
        servers = [str(unused.address), str(server.address)]
        with worker(servers, config, other) as reaping:
            reaping.wait_for("registered")
            slow = "boot_time = 3"
            with reaping_worker(server, tmp_path, "off", slow):
                answer = asyncio.run(build(server))

    assert answer["response"] == "PASS"
    assert names(path) == {answer["name"]}


def test_the_reaper_is_told_to_remove_while_the_worker_runs(
    state: tuple[Path, list[str]], tmp_path: Path
) -> None:
    path, _options = state
    with gearmand() as server:
        with reaping_worker(server, tmp_path, "off") as process:
            config = tmp_path / "worker.conf"
            text = config.read_text()
            config.write_text(text.replace("mode = off", "mode = delete"))
            process.signal(signal.SIGHUP)
            process.wait_for("[reaper] mode: 'off' -> 'delete'")
            process.wait_for("removed: device libra-left")

    assert "libra-left" not in names(path)


class Looked(Observer):
    """Keeps why the reaper keeps things."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def reaper_looked(self, findings: Sequence[Any] | None) -> None:
        self.reasons += [each.reason for each in findings or ()]


def test_the_time_that_a_job_may_take_never_becomes_shorter(
    cloud: FakeCloud,
) -> None:
    old_device(cloud, "libra-a", LEFT)
    observer, soon = Looked(), PoolSettings(long_timeout=60.0)
    nobody = GearmanSettings(servers=(f"127.0.0.1:{free_port()}",))

    async def scenario() -> None:
        slow = PoolSettings(long_timeout=10000.0)
        async with AsyncPoolManager(cloud, slow, observer=observer) as manager:
            reaping = ReaperLoop(manager, ReaperSettings(), nobody)
            manager.adopt(soon)
            reaping.adopt(ReaperSettings())
            await reaping.run_once()
            await ReaperLoop(manager, ReaperSettings(), nobody).run_once()

    asyncio.run(scenario())
    # A job that began under the settings before may still run.
    before, after = observer.reasons
    assert before.startswith("not older than 2h 4")
    assert after.startswith("job server ")


def test_longer_jobs_make_the_reaper_wait_longer(tmp_path: Path) -> None:
    settings = FakeSettings(state=str(tmp_path / "cloud.db"))
    with gearmand() as server, closing(FakeCloud(settings)) as cloud:
        with reaping_worker(server, tmp_path, "delete") as process:
            config = tmp_path / "worker.conf"
            text = config.read_text() + "[poolmgr]\nlong_timeout = 80000\n"
            config.write_text(text)
            process.signal(signal.SIGHUP)
            process.wait_for("long_timeout: 600.0 -> 80000.0")
            # A job may have made this one two hours ago, and still run.
            young = old_device(cloud, "libra-young", LEFT)
            days_ago = replace(LEFT, made="2020-01-01T00:00:00+00:00")
            old_device(cloud, "libra-old", days_ago, age=time.time())

            process.wait_for("removed: device libra-old")

        assert [d.id for d in cloud.list_devices(SOON)] == [young.id]


@pytest.mark.parametrize("server", ["", "no port", "127.0.0.1:{}"])
def test_a_job_server_that_cannot_be_asked_tells_of_no_earlier_delivery(
    server: str,
) -> None:
    job = Job("unique", "H:host:1", server.format(free_port()))

    queries = JobServerQueries(FUNCTION, ConnectionOptions())
    assert not asyncio.run(queries.delivered_before(job))

"""Tests of the reaper: which resources it deletes and which it keeps."""

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
from tests.clouds import fake_devices
from tests.jobservers import JobServerProcess, free_port, gearmand
from tests.polling import until
from tests.processes import Process, poolmgr, worker
from tests.reaping import BlockingReaper, verdicts
from tests.terminals import terminal

FUNCTION = "libra_pool_mgm"
HOURS_AGO = (datetime.now(UTC) - timedelta(hours=2)).isoformat("T", "seconds")
#: The timeout of a driver's calls, in seconds.
TIMEOUT = 20.0
#: The mark of a build that was never answered.
OLD_MARK = Mark("libra", "unique-1", "H:host:1", HOURS_AGO)


MakeReaper = Callable[..., BlockingReaper]


@pytest.fixture
def make_reaper() -> Iterator[MakeReaper]:
    """Return a function that makes a reaper for a cloud."""
    with ExitStack() as stack:

        def make(driver: FakeCloud, **changes: Any) -> BlockingReaper:
            cloud = stack.enter_context(open_cloud(driver))
            return BlockingReaper(cloud, **changes)

        yield make


def make_older(path: Path) -> None:
    """Make all devices two hours older."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE device SET created = created - 7200")


def create_old_device(
    cloud: FakeCloud, name: str, mark: Mark | None, age: float = 7200.0
) -> Device:
    """Create a device that looks as old as given, in seconds."""
    then = time.time() - age
    with patch("poolmgr.drivers.fake.cloud.time") as clock:
        clock.time.return_value = then
        return cloud.create_device(name, mark, TIMEOUT)


# -- verdicts ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("mark", "verdict"),
    [
        (OLD_MARK, "unowned"),
        (OLD_MARK.withdrawn(), "unowned"),
        (OLD_MARK.taken_over_by(Job("unique-1", "H:host:2")), "unowned"),
        (replace(OLD_MARK, unique=""), "unowned"),
        (OLD_MARK.unconfirmed(), "kept"),
        (OLD_MARK.handed_over(), None),
        (replace(OLD_MARK, pool="other"), None),
        (None, None),
    ],
)
def test_the_mark_decides_whether_a_resource_is_an_orphan(
    cloud: FakeCloud,
    mark: Mark | None,
    verdict: str | None,
    make_reaper: MakeReaper,
) -> None:
    # The reaper follows the marks even where jobs may use any resource.
    pool = PoolSettings(authority="any")
    create_old_device(cloud, "libra-a", mark)
    ip = cloud.create_ip(mark, TIMEOUT)

    found = verdicts(make_reaper(cloud, pool=pool).find())

    expected = {"libra-a": verdict, ip.address: verdict} if verdict else {}
    assert found == expected


def test_a_failed_device_is_an_orphan(make_reaper: MakeReaper) -> None:
    with closing(FakeCloud(FakeSettings(boot_failure_rate=1.0))) as cloud:
        create_old_device(cloud, "libra-a", OLD_MARK)

        assert verdicts(make_reaper(cloud).find()) == {"libra-a": "unowned"}


def test_a_young_device_is_kept(
    cloud: FakeCloud, make_reaper: MakeReaper
) -> None:
    cloud.create_device("libra-a", OLD_MARK, TIMEOUT)
    create_old_device(cloud, "libra-b", replace(OLD_MARK, unique="unique-2"))

    (older, younger) = make_reaper(cloud).find()

    assert (older.item.name, older.verdict) == ("libra-b", "unowned")
    assert (younger.item.name, younger.verdict) == ("libra-a", "kept")
    assert younger.reason == "not older than 1m yet"


def test_a_device_younger_than_the_longest_job_is_kept(
    cloud: FakeCloud, make_reaper: MakeReaper
) -> None:
    create_old_device(cloud, "libra-a", OLD_MARK)

    (finding,) = make_reaper(cloud, old=9000.0).find()

    assert (finding.verdict, finding.reason) == (
        "kept",
        "not older than 2h 30m yet",
    )


def test_a_floating_ip_of_unknown_age_is_kept(
    cloud: FakeCloud, make_reaper: MakeReaper
) -> None:
    cloud.create_ip(replace(OLD_MARK, made="once"), TIMEOUT)

    (finding,) = make_reaper(cloud).find()

    assert (finding.verdict, finding.reason) == ("kept", "its age is unknown")


def test_an_attached_floating_ip_is_kept(
    cloud: FakeCloud, make_reaper: MakeReaper
) -> None:
    device = cloud.create_device("libra-a", OLD_MARK.handed_over(), TIMEOUT)
    (device,) = cloud.find_devices([device.name], TIMEOUT)
    cloud.attach_ip(cloud.create_ip(OLD_MARK, TIMEOUT), device, TIMEOUT)

    (finding,) = make_reaper(cloud).find()

    assert finding.verdict == "kept"
    assert finding.reason == "it is attached to libra-a"


def test_an_orphan_must_be_found_unchanged_in_two_searches(
    cloud: FakeCloud, make_reaper: MakeReaper
) -> None:
    device = create_old_device(cloud, "libra-a", OLD_MARK)
    reaping = make_reaper(cloud, twice=True)

    assert verdicts(reaping.find()) == {"libra-a": "kept"}
    assert reaping.reaper.to_confirm
    # The job was redelivered between the searches.
    taken_over = OLD_MARK.taken_over_by(Job("unique-1", "H:host:2"))
    cloud.mark_device(device, taken_over, TIMEOUT)
    assert verdicts(reaping.find()) == {"libra-a": "kept"}
    assert verdicts(reaping.find()) == {"libra-a": "unowned"}


def test_a_list_that_lost_half_of_the_pool_stops_the_search(
    cloud: FakeCloud, make_reaper: MakeReaper
) -> None:
    ips = [cloud.create_ip(OLD_MARK, TIMEOUT) for _each in range(6)]
    reaping = make_reaper(cloud, twice=True)
    reaping.find()
    for ip in ips[:4]:
        cloud.delete_ip(ip, TIMEOUT)

    with pytest.raises(
        CloudUnavailable, match="lists 2 floating IPs, 6 in the last run"
    ):
        reaping.find()

    # The second such list is accepted, but confirmation starts again.
    left = {ip.address for ip in ips[4:]}
    assert verdicts(reaping.find()) == dict.fromkeys(left, "kept")
    assert verdicts(reaping.find()) == dict.fromkeys(left, "unowned")


# -- jobs in flight ---------------------------------------------------------


def in_flight(*servers: Address, running: str = "") -> InFlight:
    """Return the jobs in flight.

    :param servers: job servers to ask
    :param running: the unique of the job that runs in this process
    """
    job = RunningJob(Job(running), "BUILD_DEVICE", 1.0, 2.0, 1)
    options = ConnectionOptions(connect_timeout=1.0)
    return InFlight(lambda: [job] if running else [], servers, options)


def test_a_device_of_a_job_running_in_this_process_is_kept(
    cloud: FakeCloud, make_reaper: MakeReaper
) -> None:
    create_old_device(cloud, "libra-a", OLD_MARK)

    (finding,) = make_reaper(cloud, jobs=in_flight(running="unique-1")).find()
    (other,) = make_reaper(cloud, jobs=in_flight(running="unique-2")).find()

    assert (finding.verdict, finding.reason) == ("kept", "its job runs here")
    assert other.verdict == "unowned"


@pytest.mark.parametrize("unique", ["unique-1", ""])
def test_a_device_whose_job_is_at_a_job_server_is_kept(
    cloud: FakeCloud,
    job_server: JobServerProcess,
    unique: str,
    make_reaper: MakeReaper,
) -> None:
    address = job_server.address

    async def submit() -> str:
        async with Client([address]) as client:
            job = await client.submit(
                FUNCTION, b"{}", unique=unique, background=True
            )
            return job.handle

    handle = asyncio.run(submit())
    create_old_device(
        cloud, "libra-a", replace(OLD_MARK, unique=unique, handle=handle)
    )
    other = Mark("libra", "unique-2", "H:nowhere:9", HOURS_AGO)
    create_old_device(cloud, "libra-b", other)

    found = make_reaper(cloud, jobs=in_flight(address)).find()

    assert verdicts(found) == {"libra-a": "kept", "libra-b": "unowned"}
    assert found[0].reason == f"job server {address} has its job"


def test_devices_are_kept_while_a_job_server_does_not_answer(
    cloud: FakeCloud, job_server: JobServerProcess, make_reaper: MakeReaper
) -> None:
    create_old_device(cloud, "libra-a", OLD_MARK)
    dead = Address("127.0.0.1", free_port())

    (finding,) = make_reaper(
        cloud, jobs=in_flight(job_server.address, dead)
    ).find()

    assert finding.verdict == "kept"
    assert finding.reason == (
        f"job server {dead} cannot be asked: Connection refused"
    )


# -- deletion ---------------------------------------------------------------


def test_only_orphans_are_deleted(
    cloud: FakeCloud, make_reaper: MakeReaper
) -> None:
    create_old_device(cloud, "libra-left", OLD_MARK)
    create_old_device(cloud, "libra-owned", OLD_MARK.handed_over())
    create_old_device(cloud, "libra-foreign", None)
    cloud.create_ip(OLD_MARK.withdrawn(), TIMEOUT)
    owned = cloud.create_ip(OLD_MARK.handed_over(), TIMEOUT)

    reaping = make_reaper(cloud)
    done = reaping.remove(reaping.find())

    assert [finding.verdict for finding in done] == ["removed", "removed"]
    names = {device.name for device in cloud.list_devices(TIMEOUT)}
    assert names == {"libra-owned", "libra-foreign"}
    assert [ip.id for ip in cloud.list_ips(TIMEOUT)] == [owned.id]


def test_one_search_deletes_at_most_the_limit(
    cloud: FakeCloud, make_reaper: MakeReaper
) -> None:
    for number in range(5):
        create_old_device(cloud, f"libra-{number}", OLD_MARK)
    reaping = make_reaper(cloud, limit=2)

    done = reaping.remove(reaping.find())

    assert len(cloud.list_devices(TIMEOUT)) == 3
    assert [finding.verdict for finding in done].count("removed") == 2
    assert "the limit is 2" in done[-1].reason


def test_own_deletions_do_not_count_as_lost_from_the_list(
    cloud: FakeCloud, make_reaper: MakeReaper
) -> None:
    for number in range(6):
        create_old_device(cloud, f"libra-{number}", OLD_MARK)
        cloud.create_ip(OLD_MARK, TIMEOUT)
    reaping = make_reaper(cloud)

    reaping.remove(reaping.find())

    assert reaping.find() == []


class MeddlingCloud(FakeCloud):
    """A cloud that calls a hook before a device or IP is read again."""

    before_find: Callable[[], object] = staticmethod(lambda: None)

    def find_devices(
        self, names: Collection[str], timeout: float
    ) -> Sequence[Device]:
        self.before_find()
        return super().find_devices(names, timeout)

    def find_ips(
        self, addresses: Collection[str], timeout: float
    ) -> Sequence[FloatingIP]:
        self.before_find()
        return super().find_ips(addresses, timeout)


def test_resources_handed_over_right_before_their_deletion_are_kept(
    make_reaper: MakeReaper,
) -> None:
    with closing(MeddlingCloud()) as cloud:
        device = create_old_device(cloud, "libra-a", OLD_MARK)
        ip = cloud.create_ip(OLD_MARK, TIMEOUT)
        given = OLD_MARK.handed_over()

        def hand_over() -> None:
            cloud.before_find = lambda: None
            cloud.mark_device(device, given, TIMEOUT)
            cloud.mark_ip(ip, given, TIMEOUT)

        cloud.before_find = hand_over
        reaping = make_reaper(cloud)
        done = reaping.remove(reaping.find())

        assert [finding.verdict for finding in done] == ["kept", "kept"]
        assert len(cloud.list_devices(TIMEOUT)) == 1
        assert len(cloud.list_ips(TIMEOUT)) == 1


def test_a_device_whose_job_returns_right_before_the_deletion_is_kept(
    make_reaper: MakeReaper,
) -> None:
    with closing(MeddlingCloud()) as cloud, gearmand() as server:
        create_old_device(cloud, "libra-a", OLD_MARK)

        async def submit() -> None:
            async with Client([server.address]) as client:
                await client.submit(
                    FUNCTION, b"{}", unique=OLD_MARK.unique, background=True
                )

        cloud.before_find = lambda: asyncio.run(submit())
        reaping = make_reaper(cloud, jobs=in_flight(server.address))
        (finding,) = reaping.remove(reaping.find())

        assert finding.verdict == "kept"
        assert "has its job" in finding.reason


def test_a_failed_deletion_is_reported(make_reaper: MakeReaper) -> None:
    class UndeletableCloud(FakeCloud):
        def delete_device(self, device: Device, timeout: float) -> bool:
            raise CloudRefused("the disk is stuck")

    with closing(UndeletableCloud()) as cloud:
        create_old_device(cloud, "libra-a", OLD_MARK)
        reaping = make_reaper(cloud)

        (finding,) = reaping.remove(reaping.find())

    assert finding.verdict == "failed"
    assert finding.reason.endswith("cannot remove it: the disk is stuck")


# -- the command ------------------------------------------------------------


@pytest.fixture
def state(tmp_path: Path) -> tuple[Path, list[str]]:
    """Return the file of a cloud with two orphans, and a command's options."""
    path = tmp_path / "cloud.db"
    with closing(FakeCloud(FakeSettings(state=str(path)))) as cloud:
        cloud.create_device("libra-left", OLD_MARK, TIMEOUT)
        cloud.create_device("libra-own", OLD_MARK.handed_over(), TIMEOUT)
        cloud.create_ip(OLD_MARK, TIMEOUT)
    make_older(path)
    config = tmp_path / "poolmgr.conf"
    config.write_text(f"[fake]\nstate = {path}\n")
    return path, ["--driver", "fake", "--config-file", str(config)]


def test_a_dry_run_lists_orphans_with_reasons(
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
    assert set(fake_devices(path)) == {"libra-left", "libra-own"}


def test_reap_deletes_orphans_found_in_two_searches(
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
    assert set(fake_devices(path)) == {"libra-own"}


def test_reap_works_without_job_servers_on_request(
    state: tuple[Path, list[str]],
) -> None:
    path, options = state
    options += ["--gearman-server", f"127.0.0.1:{free_port()}"]

    with_servers = poolmgr(*options, "reap", "--dry-run", "-f", "json")
    recent = poolmgr(
        *(*options, "reap", "--without-job-servers", "--dry-run"),
        *("--older-than", "3h", "-f", "json"),
    )
    done = poolmgr(*options, "reap", "--without-job-servers", "--pause", "0")

    assert {row["Verdict"] for row in json.loads(with_servers.stdout)} == {
        "kept"
    }
    assert {row["Verdict"] for row in json.loads(recent.stdout)} == {"kept"}
    assert done.returncode == 0
    assert set(fake_devices(path)) == {"libra-own"}


@pytest.mark.parametrize(
    ("typed", "code", "left"),
    [
        ("y\r", 0, {"libra-own"}),
        ("\r", 1, {"libra-left", "libra-own"}),
        ("no\r", 1, {"libra-left", "libra-own"}),
    ],
)
def test_reap_asks_for_confirmation_on_a_terminal(
    state: tuple[Path, list[str]], typed: str, code: int, left: set[str]
) -> None:
    path, options = state
    options += ["reap", "--without-job-servers", "--pause", "0"]
    with terminal(*options, columns=160) as screen:
        screen.wait_for(lambda: "Delete these (2)?" in screen.text)
        assert "device libra-left: job unique-1" in screen.text
        assert set(fake_devices(path)) == {"libra-left", "libra-own"}

        screen.type(typed)

        assert screen.exit_code() == code
        assert ("nothing was deleted" in screen.text) == bool(code)
    assert set(fake_devices(path)) == left


def test_reap_does_not_ask_with_yes(state: tuple[Path, list[str]]) -> None:
    path, options = state
    options += ["reap", "--without-job-servers", "--pause", "0", "--yes"]
    with terminal(*options) as screen:
        assert screen.exit_code() == 0
    assert set(fake_devices(path)) == {"libra-own"}


@pytest.mark.parametrize("limit", ["0", "-1", "x"])
def test_an_invalid_limit_is_refused(limit: str) -> None:
    done = poolmgr("reap", "--limit", limit)

    assert done.returncode == 2
    assert "--limit" in done.stderr


# -- in the worker ----------------------------------------------------------


@contextmanager
def reaping_worker(
    server: JobServerProcess, folder: Path, mode: str, more: str = ""
) -> Iterator[Process]:
    """Run a worker with a reaper.

    :param mode: the reaper's mode
    :param more: text for the group [fake]
    """
    config = (
        f"[fake]\nstate = {folder / 'cloud.db'}\n{more}\n"
        f"[reaper]\nmode = {mode}\ninterval = 0.2\n"
    )
    with worker([str(server.address)], config, folder) as process:
        process.wait_for("registered")
        yield process


def test_a_worker_deletes_the_orphans_of_a_killed_worker(
    tmp_path: Path,
) -> None:
    path = tmp_path / "cloud.db"

    async def submit(server: JobServerProcess) -> None:
        async with Client([server.address]) as client:
            await client.submit(FUNCTION, b'{"action": "BUILD_DEVICE"}')
            await asyncio.to_thread(until, lambda: fake_devices(path))

    with gearmand() as server:
        slow_boot = "boot_time = 3600"
        with reaping_worker(server, tmp_path, "off", slow_boot) as process:
            asyncio.run(submit(server))
            server.kill()
            process.signal(signal.SIGKILL)
            process.exit_code()
        make_older(path)
        server.start()
        with reaping_worker(server, tmp_path, "delete") as process:
            process.wait_for("removed: device libra-")

    assert set(fake_devices(path)) == set()


@pytest.mark.parametrize("mode", ["off", "report"])
def test_a_worker_deletes_nothing_unless_the_mode_is_delete(
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
    assert set(fake_devices(path)) == {"libra-left", "libra-own"}


def test_a_running_build_of_another_worker_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"

    async def build(server: JobServerProcess) -> dict[str, str]:
        async with Client([server.address]) as client:
            job = await client.submit(FUNCTION, b'{"action": "BUILD_DEVICE"}')
            await asyncio.to_thread(until, lambda: fake_devices(path))
            # The device looks old, as it would with a wrong clock.
            make_older(path)
            found = json.loads(await job.result(30.0))
        assert isinstance(found, dict)
        return found

    other = tmp_path / "other"
    other.mkdir()
    with gearmand() as server, gearmand() as unused:
        # The reaping worker also has a job server without the job.
        config = (
            f"[fake]\nstate = {path}\n[worker]\nfunction = other\n"
            "[reaper]\nmode = delete\ninterval = 0.1\n"
        )
        servers = [str(unused.address), str(server.address)]
        with worker(servers, config, other) as reaping:
            reaping.wait_for("registered")
            slow_boot = "boot_time = 3"
            with reaping_worker(server, tmp_path, "off", slow_boot):
                answer = asyncio.run(build(server))

    assert answer["response"] == "PASS"
    assert set(fake_devices(path)) == {answer["name"]}


def test_a_reload_changes_the_reapers_mode(
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

    assert "libra-left" not in fake_devices(path)


class RecordingObserver(Observer):
    """An observer that records the reasons of the reaper's findings."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def reaper_looked(self, findings: Sequence[Any] | None) -> None:
        self.reasons += [each.reason for each in findings or ()]


def test_a_shorter_job_timeout_does_not_shorten_the_reapers_wait(
    cloud: FakeCloud,
) -> None:
    create_old_device(cloud, "libra-a", OLD_MARK)
    observer, shorter = RecordingObserver(), PoolSettings(long_timeout=60.0)
    gearman_settings = GearmanSettings(servers=(f"127.0.0.1:{free_port()}",))

    async def scenario() -> None:
        longer = PoolSettings(long_timeout=10000.0)
        async with AsyncPoolManager(
            cloud, longer, observer=observer
        ) as manager:
            reaping = ReaperLoop(manager, ReaperSettings(), gearman_settings)
            manager.adopt(shorter)
            reaping.adopt(ReaperSettings())
            await reaping.run_once()
            await ReaperLoop(
                manager, ReaperSettings(), gearman_settings
            ).run_once()

    asyncio.run(scenario())
    # A job that began under the earlier settings may still run.
    before, after = observer.reasons
    assert before.startswith("not older than 2h 4")
    assert after.startswith("job server ")


def test_a_longer_job_timeout_lengthens_the_reapers_wait(
    tmp_path: Path,
) -> None:
    settings = FakeSettings(state=str(tmp_path / "cloud.db"))
    with gearmand() as server, closing(FakeCloud(settings)) as cloud:
        with reaping_worker(server, tmp_path, "delete") as process:
            config = tmp_path / "worker.conf"
            text = config.read_text() + "[poolmgr]\nlong_timeout = 80000\n"
            config.write_text(text)
            process.signal(signal.SIGHUP)
            process.wait_for("long_timeout: 600.0 -> 80000.0")
            # With the new timeout, the job that created the first device two
            # hours ago may still run.
            recent = create_old_device(cloud, "libra-young", OLD_MARK)
            days_ago = replace(OLD_MARK, made="2020-01-01T00:00:00+00:00")
            create_old_device(cloud, "libra-old", days_ago, age=time.time())

            process.wait_for("removed: device libra-old")

        assert [d.id for d in cloud.list_devices(TIMEOUT)] == [recent.id]


@pytest.mark.parametrize("server", ["", "no port", "127.0.0.1:{}"])
def test_an_unreachable_job_server_reports_no_earlier_delivery(
    server: str,
) -> None:
    job = Job("unique", "H:host:1", server.format(free_port()))

    queries = JobServerQueries(FUNCTION, ConnectionOptions())
    assert not asyncio.run(queries.delivered_before(job))

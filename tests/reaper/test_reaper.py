"""Tests of the reaper: which resources it deletes and which it keeps."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import pytest

from poolmgr.cloud import open_cloud
from poolmgr.drivers.base import Device, FloatingIP
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.errors import CloudRefused, CloudUnavailable
from poolmgr.events import RunningJob
from poolmgr.gearman.client import Client
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.ownership import Job, Mark
from poolmgr.reaper.reaper import InFlight
from poolmgr.settings import PoolSettings
from tests.batches import FUNCTION
from tests.jobservers import JobServerProcess, free_port, gearmand
from tests.reaping import (
    HOURS_AGO,
    OLD_MARK,
    TIMEOUT,
    BlockingReaper,
    create_old_device,
    verdicts,
)

MakeReaper = Callable[..., BlockingReaper]


@pytest.fixture
def make_reaper() -> Iterator[MakeReaper]:
    """Return a function that makes a reaper for a cloud."""
    with ExitStack() as stack:

        def make(driver: FakeCloud, **changes: Any) -> BlockingReaper:
            cloud = stack.enter_context(open_cloud(driver))
            return BlockingReaper(cloud, **changes)

        yield make


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


def test_a_device_younger_than_the_longest_job_is_kept(
    cloud: FakeCloud, make_reaper: MakeReaper
) -> None:
    cloud.create_device("libra-a", OLD_MARK, TIMEOUT)
    create_old_device(cloud, "libra-b", replace(OLD_MARK, unique="unique-2"))

    (older, younger) = make_reaper(cloud).find()
    (kept, _younger) = make_reaper(cloud, old=9000.0).find()

    assert (older.item.name, older.verdict) == ("libra-b", "unowned")
    assert (younger.item.name, younger.verdict) == ("libra-a", "kept")
    assert younger.reason == "not older than 1m yet"
    assert (kept.item.name, kept.verdict) == ("libra-b", "kept")
    assert kept.reason == "not older than 2h 30m yet"


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


def submit(server: Address, unique: str) -> str:
    """Submit a background job and return its handle."""

    async def scenario() -> str:
        async with Client([server]) as client:
            job = await client.submit(
                FUNCTION, b"{}", unique=unique, background=True
            )
            return job.handle

    return asyncio.run(scenario())


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
    handle = submit(address, unique)
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
        cloud.before_find = lambda: submit(server.address, OLD_MARK.unique)
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

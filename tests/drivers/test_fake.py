"""Tests of the fake cloud."""

import subprocess
import sys
from pathlib import Path

import pytest

from poolmgr.cloud import open_cloud
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.errors import (
    Changed,
    CloudRefused,
    CloudUnavailable,
    ConfigError,
    DeviceFailed,
    QuotaExceeded,
)
from poolmgr.ownership import Mark

MARK = Mark("pool", "unique", "handle", "2026-01-01T00:00:00+00:00")
TIMEOUT = 10.0


def test_two_fake_clouds_share_a_state_file(
    tmp_path: Path,
) -> None:
    settings = FakeSettings(state=str(tmp_path / "state.db"))
    first, second = FakeCloud(settings), FakeCloud(settings)

    device = first.create_device("libra-1", MARK, TIMEOUT)

    assert second.find_devices(["libra-1"], TIMEOUT) == [device]
    assert second.delete_device(device, TIMEOUT)
    assert first.list_devices(TIMEOUT) == []
    first.close()
    second.close()


def test_a_floating_ip_has_the_creation_time_of_its_mark(
    cloud: FakeCloud,
) -> None:
    marked = cloud.create_ip(MARK, TIMEOUT)
    plain = cloud.create_ip(None, TIMEOUT)

    assert (marked.created, plain.created) == (MARK.made, None)
    assert list(cloud.list_ips(TIMEOUT)) == [marked, plain]


def test_processes_share_a_state_file(
    tmp_path: Path,
) -> None:
    state = str(tmp_path / "state.db")
    program = (
        "from poolmgr.drivers.fake import FakeCloud, FakeSettings\n"
        f"cloud = FakeCloud(FakeSettings(state={state!r}))\n"
        "for n in range(50): cloud.create_ip(None, 60.0)\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program]) for _n in range(3)
    ]
    assert [process.wait(300.0) for process in running] == [0, 0, 0]

    cloud = FakeCloud(FakeSettings(state=state))
    assert len({ip.address for ip in cloud.list_ips(TIMEOUT)}) == 150
    cloud.close()


def test_processes_create_one_state_file_concurrently(
    tmp_path: Path,
) -> None:
    program = """
import multiprocessing, sys
from poolmgr.drivers.fake import FakeCloud, FakeSettings

def use(state, barrier):
    barrier.wait()
    FakeCloud(FakeSettings(state=state)).list_devices(30.0)

processes = multiprocessing.get_context("fork")
for number in range(40):
    args = f"{sys.argv[1]}/{number}.db", processes.Barrier(6)
    started = [processes.Process(target=use, args=args) for _n in range(6)]
    for each in started:
        each.start()
    for each in started:
        each.join()
        assert each.exitcode == 0
"""
    command = [sys.executable, "-c", program, str(tmp_path)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=300)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("is_folder", [False, True])
def test_an_unusable_state_file_is_reported_in_one_line(
    tmp_path: Path, is_folder: bool
) -> None:
    path = tmp_path / "state.db"
    if is_folder:
        path.mkdir()
    else:
        path.write_text("not a database")

    with pytest.raises(ConfigError, match=r"\[fake\] state: .*") as caught:
        FakeCloud(FakeSettings(state=str(path)))

    assert "\n" not in str(caught.value)


def test_a_device_is_building_during_its_boot_time() -> None:
    with open_cloud(FakeCloud(FakeSettings(boot_time=0.2))) as cloud:
        device = cloud.create_device("libra-1", MARK)
        assert (device.status, device.address) == ("building", None)

        ready = cloud.wait_ready(device)

    assert (ready.status, ready.address) == ("active", "10.0.0.1")


def test_boots_and_calls_fail_at_their_failure_rates() -> None:
    with open_cloud(FakeCloud(FakeSettings(boot_failure_rate=1.0))) as cloud:
        device = cloud.create_device("libra-1", MARK)
        with pytest.raises(DeviceFailed, match="let it fail"):
            cloud.wait_ready(device)

    down = FakeCloud(FakeSettings(call_failure_rate=1.0))
    with pytest.raises(CloudUnavailable):
        down.create_ip(MARK, TIMEOUT)
    down.close()


def test_a_slow_call_ends_at_its_timeout() -> None:
    slow = FakeCloud(FakeSettings(call_time=60.0))

    with pytest.raises(CloudUnavailable, match=r"no answer within 0\.05 s"):
        slow.list_ips(0.05)
    slow.close()


def test_quotas_and_ip_range_limit_the_resources() -> None:
    small = FakeCloud(
        FakeSettings(ip_range="192.0.2.0/30", device_quota=1, ip_quota=9)
    )
    addresses = [small.create_ip(MARK, TIMEOUT).address for _n in range(2)]

    assert addresses == ["192.0.2.1", "192.0.2.2"]
    with pytest.raises(QuotaExceeded, match=r"192\.0\.2\.0/30"):
        small.create_ip(MARK, TIMEOUT)
    small.create_device("a", MARK, TIMEOUT)
    with pytest.raises(QuotaExceeded, match="1 devices"):
        small.create_device("b", MARK, TIMEOUT)
    small.close()


def test_a_released_floating_ip_is_allocated_again() -> None:
    small = FakeCloud(FakeSettings(ip_range="192.0.2.0/30"))
    first = small.create_ip(MARK, TIMEOUT)
    small.create_ip(MARK, TIMEOUT)
    small.delete_ip(first, TIMEOUT)

    assert small.create_ip(MARK, TIMEOUT).address == first.address
    small.close()


def test_a_second_floating_ip_of_a_device_is_refused(cloud: FakeCloud) -> None:
    device = cloud.create_device("a", MARK, TIMEOUT)
    cloud.attach_ip(cloud.create_ip(MARK, TIMEOUT), device, TIMEOUT)

    with pytest.raises(CloudRefused, match="has another floating IP"):
        cloud.attach_ip(cloud.create_ip(MARK, TIMEOUT), device, TIMEOUT)


def test_changes_of_deleted_resources_are_refused(cloud: FakeCloud) -> None:
    device = cloud.create_device("a", MARK, TIMEOUT)
    ip = cloud.create_ip(MARK, TIMEOUT)
    for exists in (True, False):
        assert cloud.delete_device(device, TIMEOUT) is exists
        assert cloud.delete_ip(ip, TIMEOUT) is exists

    with pytest.raises(CloudRefused, match="gone"):
        cloud.mark_device(device, MARK, TIMEOUT)
    with pytest.raises(Changed):
        cloud.mark_ip(ip, MARK, TIMEOUT)
    with pytest.raises(CloudRefused, match="not active"):
        cloud.attach_ip(ip, device, TIMEOUT)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"boot_time": -1.0}, "boot_time must be at least 0"),
        ({"boot_failure_rate": 1.5}, "must be at most 1"),
        ({"ip_range": "nonsense"}, "ip_range Expected 4 octets"),
        ({"closed_port": 0}, "closed_port must be at least 1"),
    ],
)
def test_settings_out_of_bounds_are_refused(
    settings: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        FakeSettings(**settings)  # type: ignore[arg-type]


def test_a_closed_cloud_refuses_calls() -> None:
    cloud = FakeCloud()
    cloud.close()

    with pytest.raises(CloudRefused, match="closed"):
        cloud.list_devices(60.0)

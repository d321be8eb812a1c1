"""Tests of the reaper in a worker."""

import asyncio
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from poolmgr import AsyncPoolManager
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.events import Observer
from poolmgr.reaper.loop import ReaperLoop
from poolmgr.settings import PoolSettings, ReaperSettings
from poolmgr.settings.gearman import GearmanSettings
from tests.batches import BUILD, batch
from tests.clouds import fake_devices
from tests.jobservers import JobServerProcess, free_port, gearmand
from tests.polling import until
from tests.processes import Process, worker
from tests.reaping import OLD_MARK, TIMEOUT, create_old_device, make_older


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
    with gearmand() as server:
        slow_boot = "boot_time = 3600"
        with reaping_worker(server, tmp_path, "off", slow_boot) as process:
            with batch(server.address, [BUILD]):
                until(lambda: fake_devices(path))
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
    state: Path, tmp_path: Path, mode: str
) -> None:
    with gearmand() as server:
        with reaping_worker(server, tmp_path, mode) as process:
            if mode == "report":
                process.wait_for("orphan: device libra-left: job ")
                process.wait_for("orphan: floating IP 198.18.0.1: ")
            process.signal(signal.SIGTERM)
            assert process.exit_code() == 0

    found = [line for line in process.lines if "libra-left" in line]
    assert len(found) == (1 if mode == "report" else 0)
    assert set(fake_devices(state)) == {"libra-left", "libra-own"}


def test_a_running_build_of_another_worker_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"
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
                with batch(server.address, [BUILD]) as build:
                    until(lambda: fake_devices(path))
                    # The device looks old, as it would with a wrong clock.
                    make_older(path)
                    (answer,) = build.passes()

    assert set(fake_devices(path)) == {answer["name"]}


def test_a_reload_changes_the_reapers_mode(
    state: Path, tmp_path: Path
) -> None:
    with gearmand() as server:
        with reaping_worker(server, tmp_path, "off") as process:
            config = tmp_path / "worker.conf"
            text = config.read_text()
            config.write_text(text.replace("mode = off", "mode = delete"))
            process.signal(signal.SIGHUP)
            process.wait_for("[reaper] mode: 'off' -> 'delete'")
            process.wait_for("removed: device libra-left")

    assert "libra-left" not in fake_devices(state)


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

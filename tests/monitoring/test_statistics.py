"""Tests of the worker's statistics and of observers."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from poolmgr import AsyncPoolManager, Job, PoolManager
from poolmgr.drivers.fake import FakeCloud
from poolmgr.events import CloudCall, EndedJob, Observer
from poolmgr.monitoring.statistics import MINUTES, Statistics
from poolmgr.reaper.loop import ReaperLoop
from poolmgr.settings import ReaperSettings
from poolmgr.settings.gearman import GearmanSettings


class Clock:
    """A monotonic clock that the test sets."""

    now = 100_000.0

    def __call__(self) -> float:
        return self.now


def test_long_messages_are_kept_shortened(cloud: FakeCloud) -> None:
    statistics = Statistics()
    with PoolManager(cloud, observer=statistics) as manager:
        for _ in range(100):
            manager.run({"action": "x" * 100_000, "name": "y" * 100_000})

    retained = [*statistics.recent, *statistics.failures]
    assert len(retained) <= 50
    assert sum(len(str(each)) for each in retained) < 100_000


def test_recent_jobs_are_the_newest_and_failures_are_kept_apart(
    cloud: FakeCloud,
) -> None:
    statistics = Statistics()
    with PoolManager(cloud, observer=statistics) as manager:
        manager.run({"action": "DELETE_DEVICE", "name": "gone"}, Job("u"))
        for _ in range(100):
            manager.run({"action": "BUILD_IP"})

    (failure,) = statistics.failures
    assert (failure.action, failure.about) == ("DELETE_DEVICE", "gone")
    assert failure.code == "not_found"
    assert statistics.recent[0].about == "198.18.0.100"
    assert statistics.recent[1].about == "198.18.0.99"
    assert failure not in statistics.recent


def test_calls_older_than_an_hour_are_dropped() -> None:
    clock = Clock()
    statistics = Statistics(clock)
    statistics.cloud_called(CloudCall("compute", "GET", 200, 9.0))
    clock.now += 60
    for status, seconds in ((200, 0.2), (503, 0.4), (None, 0.3)):
        statistics.cloud_called(CloudCall("compute", "GET", status, seconds))
    clock.now += 59 * 60

    hour = statistics.last_hour
    assert len(hour) == MINUTES
    first, *others = hour
    assert (first.calls, first.failed, first.longest) == (3, 2, 0.4)
    assert first.total == pytest.approx(0.9)
    assert not any(minute.calls for minute in others)
    clock.now += 60
    assert not any(minute.calls for minute in statistics.last_hour)


class FailingObserver(Observer):
    """An observer that raises on every event."""

    def job_ended(self, ended: EndedJob) -> None:
        raise ValueError("broken")

    def cloud_called(self, call: CloudCall) -> None:
        raise ValueError("broken")

    def reaper_looked(self, found: Sequence[Any] | None) -> None:
        raise ValueError("broken")


def test_a_failing_observer_does_not_affect_jobs(
    cloud: FakeCloud, caplog: pytest.LogCaptureFixture
) -> None:
    with PoolManager(cloud, observer=FailingObserver()) as manager:
        answers = [
            manager.run({"action": action})["response"]
            for action in ("BUILD_IP", "no-such")
        ]

    assert answers == ["PASS", "FAIL"]
    assert caplog.text.count("in job_ended\n") == 2


def test_a_failing_observer_does_not_affect_the_reaper(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def look(manager: AsyncPoolManager) -> None:
        reaper = ReaperLoop(manager, ReaperSettings(), GearmanSettings())
        async with manager:
            await reaper.run_once()

    asyncio.run(look(AsyncPoolManager("fake", observer=FailingObserver())))

    assert "a callback failed" in caplog.text


class RecordingObserver(Observer):
    """An observer that records ended jobs."""

    def __init__(self) -> None:
        self.ended: list[EndedJob] = []

    def job_ended(self, ended: EndedJob) -> None:
        self.ended.append(ended)


def test_an_observer_receives_each_ended_job_once() -> None:
    observer = RecordingObserver()
    cloud = FakeCloud(FakeCloud.Settings(boot_time=0.3))
    job = Job("u", "H:1", "127.0.0.1:4730")
    with PoolManager(cloud, observer=observer) as manager:
        first = manager.submit({"action": "build_device"}, job)
        second = manager.submit({"action": "build_device"}, job)
        outcome = first.future.result()
        assert second.future.result() is outcome
        manager.run({"action": "no-such"})
    cloud.close()

    built, unknown = observer.ended
    assert built.outcome is outcome
    assert (built.job, built.action) == (job, "BUILD_DEVICE")
    assert built.requested_action == "build_device"
    assert built.seconds >= 0.3
    assert built.request == {"action": "build_device"}
    assert (unknown.action, unknown.requested_action) == ("", "no-such")
    assert unknown.outcome.error is not None

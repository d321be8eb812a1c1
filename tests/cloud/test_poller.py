"""Tests of the polls of devices that jobs wait for."""

import asyncio
import gc
import logging
from collections.abc import Collection
from dataclasses import replace

import pytest

from poolmgr.drivers.base import Device, Poll
from poolmgr.errors import CloudUnavailable, DeviceFailed
from poolmgr.tracing import RequestContext, bound, current
from tests.cloud.scripted import MARK, ScriptedDriver, cloud_of


class PagingDriver(ScriptedDriver):
    """Polls ten devices per request; returns booting ones as ids."""

    def __init__(self) -> None:
        super().__init__()
        self.boot_time = 3600.0
        self.polls: list[float] = []

    def poll(self, devices: Collection[Device], timeout: float) -> Poll:
        """Return the current state of these devices."""
        self.polls.append(asyncio.get_running_loop().time())
        visible = {d.id: d for d in self._visible()}
        return Poll(
            [visible[d.id] for d in devices if visible[d.id].ready],
            {d.id for d in devices if not visible[d.id].ready},
            len(devices) // 10 + 1,
        )


async def start_builds(
    driver: ScriptedDriver, number: int
) -> "list[asyncio.Task[Device]]":
    """Create devices and return the tasks that wait for their boots."""
    cloud = cloud_of(driver)
    created = [await cloud.create_device(f"d{n}", MARK) for n in range(number)]
    tasks = [asyncio.create_task(cloud.wait_ready(each)) for each in created]
    await asyncio.sleep(0)
    return tasks


async def test_many_waits_share_one_poll_an_interval() -> None:
    driver = ScriptedDriver()
    driver.boot_time = 60.0

    ready = await asyncio.gather(*await start_builds(driver, 100))

    assert all(device.ready for device in ready)
    assert driver.calls.count("poll") <= 70


@pytest.mark.parametrize(
    ("waiting", "pause"), [(9, 1.0), (19, 2.0), (35, 4.0), (500, 10.0)]
)
async def test_polls_that_take_more_requests_are_less_frequent(
    waiting: int, pause: float
) -> None:
    """The requests per minute do not grow with the waiting builds."""
    driver = PagingDriver()
    tasks = await start_builds(driver, waiting)

    await asyncio.sleep(600.0)

    assert driver.polls[-1] - driver.polls[-2] == pytest.approx(pause)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_polls_of_unchanged_devices_leave_no_garbage() -> None:
    """Collecting it would block the loop while thousands of builds run."""
    driver = PagingDriver()
    tasks = await start_builds(driver, 1000)
    await asyncio.sleep(600.0)
    gc.collect()
    before = len(gc.get_objects())

    await asyncio.sleep(60.0)

    assert len(gc.get_objects()) - before < 100
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_polls_of_a_slow_cloud_take_half_of_the_time() -> None:
    driver = ScriptedDriver()
    driver.boot_time = 100.0
    driver.seconds["poll"] = 5.0

    await asyncio.gather(*await start_builds(driver, 3))

    assert driver.calls.count("poll") <= 12


async def test_a_cancelled_wait_does_not_end_the_others() -> None:
    driver = ScriptedDriver()
    driver.boot_time = 60.0
    tasks = await start_builds(driver, 3)
    await asyncio.sleep(30.0)
    tasks[0].cancel()

    await asyncio.gather(*tasks[1:])
    calls = len(driver.calls)

    # Without waiting builds there are no polls.
    await asyncio.sleep(60.0)
    assert len(driver.calls) == calls


async def test_a_poll_does_not_wait_for_builds_that_fill_their_slots() -> None:
    driver = ScriptedDriver(calls_at_once=4)
    cloud = cloud_of(driver)
    driver.boot_time = 3600.0
    created = await cloud.create_device("d", MARK)
    driver.seconds["create_device"] = 20.0
    builds = [
        asyncio.create_task(cloud.create_device(f"d{n}", MARK))
        for n in range(9)
    ]

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(10.0):
            await cloud.wait_ready(created)

    assert driver.calls.count("create_device") == 4
    assert driver.calls.count("poll") >= 5
    await asyncio.gather(*builds)


async def test_a_failed_poll_is_repeated() -> None:
    driver = ScriptedDriver()
    driver.boot_time = 5.0
    driver.before["poll"] = [CloudUnavailable("down"), RuntimeError("defect")]

    (ready,) = await asyncio.gather(*await start_builds(driver, 1))

    assert ready.ready


async def test_a_failed_poll_is_not_logged_as_part_of_a_job(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is for all jobs, and not for the one that waited first."""
    driver = ScriptedDriver()
    driver.boot_time = 5.0
    driver.before["poll"] = [RuntimeError("defect")]
    contexts: dict[str, RequestContext | None] = {}

    def note_context(record: logging.LogRecord) -> bool:
        contexts[record.getMessage()] = current()
        return True

    caplog.set_level(logging.INFO, "poolmgr")
    caplog.handler.addFilter(note_context)
    with bound(RequestContext()):
        await asyncio.gather(*await start_builds(driver, 1))

    (failed,) = [text for text in contexts if "cannot poll" in text]
    assert contexts[failed] is None


async def test_a_device_missing_from_lists_is_read_by_its_id() -> None:
    class EmptyPolls(ScriptedDriver):
        def poll(self, devices: Collection[Device], timeout: float) -> Poll:
            return Poll([])

    driver = EmptyPolls()
    driver.boot_time = 100.0

    ready = await asyncio.gather(*await start_builds(driver, 25))

    assert all(device.ready for device in ready)


async def test_a_device_that_disappears_has_failed() -> None:
    driver = ScriptedDriver()
    driver.boot_time = 3600.0
    (task,) = await start_builds(driver, 1)
    driver.devices.clear()

    with pytest.raises(DeviceFailed, match="it disappeared"):
        await task
    assert 10.0 <= asyncio.get_running_loop().time() < 13.0


async def test_the_driver_explains_why_a_device_failed() -> None:
    class ExplainingDriver(ScriptedDriver):
        def explain_failure(self, device: Device, timeout: float) -> str:
            return f"{device.name}: no valid host"

    driver = ExplainingDriver()
    (task,) = await start_builds(driver, 1)
    driver.devices["1"] = replace(driver.devices["1"], status="failed")

    with pytest.raises(DeviceFailed, match="d0: no valid host"):
        await task


async def test_finish_device_is_repeated_until_the_device_is_ready() -> None:
    class FinishingDriver(ScriptedDriver):
        def finish_device(self, device: Device, timeout: float) -> Device:
            self.calls.append("finish_device")
            if self.calls.count("finish_device") < 4:
                return replace(device, address=None)
            return replace(device, address="192.0.2.7")

    driver = FinishingDriver()
    driver.before["finish_device"] = [CloudUnavailable("down")]

    (ready,) = await asyncio.gather(*await start_builds(driver, 1))

    assert ready.address == "192.0.2.7"
    assert driver.calls.count("finish_device") == 4


async def test_closing_ends_every_wait() -> None:
    driver = ScriptedDriver()
    driver.boot_time = 3600.0
    cloud = cloud_of(driver)
    created = await cloud.create_device("d", MARK)
    waiting = asyncio.create_task(cloud.wait_ready(created))
    await asyncio.sleep(1.0)
    assert cloud.poller.waiting == 1
    assert 0.0 < cloud.poller.age < 1.0

    cloud.close()

    with pytest.raises(Exception, match="closed"):
        await waiting
    with pytest.raises(Exception, match="closed"):
        await cloud.list_devices()

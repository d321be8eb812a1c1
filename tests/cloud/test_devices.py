"""Tests of the creation and deletion of devices."""

import asyncio
from dataclasses import replace

import pytest

from poolmgr.cloud import Pace
from poolmgr.errors import (
    CloudUnavailable,
    DeviceFailed,
    OutcomeUnknown,
    QuotaExceeded,
)
from poolmgr.ownership import Job
from poolmgr.tracing import RequestContext, bound
from tests.cloud.scripted import MARK, ScriptedDriver, cloud_of


async def cancel_after(task: "asyncio.Task[object]", seconds: float) -> None:
    """Cancel a task after some seconds and wait for its end."""
    await asyncio.sleep(seconds)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_wait_ready_returns_when_the_device_is_ready() -> None:
    driver = ScriptedDriver()
    driver.boot_time = 300.0
    cloud = cloud_of(driver)

    created = await cloud.create_device("libra-1", MARK)
    with bound(RequestContext()) as context:
        waiting = asyncio.create_task(cloud.wait_ready(created))
        await asyncio.sleep(10.0)

    assert context.doing == (
        "waiting for device 'libra-1' to boot (it is building)"
    )
    ready = await waiting
    assert ready.ready
    loop = asyncio.get_running_loop()
    assert 300.0 <= loop.time() < 302.0


async def test_a_device_created_at_the_moment_of_the_cancel_is_deleted() -> (
    None
):
    """It would be an orphan, as the caller does not learn of it."""
    driver = ScriptedDriver()
    driver.seconds["create_device"] = 5.0
    cloud = cloud_of(driver)
    task = asyncio.create_task(cloud.create_device("libra-1", MARK))

    # The answer has arrived, but the task has not resumed yet.
    asyncio.get_running_loop().call_later(5.0, task.cancel)
    await asyncio.wait([task])

    assert task.cancelled()
    assert driver.devices == {}


@pytest.mark.parametrize("seconds", [1.0, 4.9])
async def test_a_device_created_after_the_cancel_is_deleted(
    seconds: float,
) -> None:
    driver = ScriptedDriver()
    driver.seconds["create_device"] = 5.0
    cloud = cloud_of(driver)
    task = asyncio.create_task(cloud.create_device("libra-1", MARK))

    await cancel_after(task, seconds)

    assert driver.devices == {}


async def test_a_late_device_of_an_abandoned_job_is_kept() -> None:
    """Another worker may have taken over the job and the device."""
    driver = ScriptedDriver()
    driver.seconds["create_device"] = 5.0
    cloud = cloud_of(driver)
    with bound(RequestContext()) as context:
        task = asyncio.create_task(cloud.create_device("libra-1", MARK))
        await asyncio.sleep(1.0)
        context.abandoned = True
        await cancel_after(task, 1.0)

    assert [d.mark for d in driver.devices.values()] == [MARK]


async def test_a_second_cancel_does_not_wait_for_the_clean_up() -> None:
    driver = ScriptedDriver()
    driver.seconds["create_device"] = 5.0
    cloud = cloud_of(driver)
    task = asyncio.create_task(cloud.create_device("libra-1", MARK))
    await asyncio.sleep(1.0)
    task.cancel()
    await asyncio.sleep(1.0)

    await cancel_after(task, 0.0)

    assert asyncio.get_running_loop().time() < 3.0
    await asyncio.sleep(5.0)
    await cloud.calls.settle()
    assert driver.devices == {}


async def test_a_clean_up_continues_after_a_second_cancel() -> None:
    driver = ScriptedDriver()
    driver.seconds["create_device"] = 5.0
    driver.before["delete_device"] = [CloudUnavailable("down")] * 3
    cloud = cloud_of(driver)
    task = asyncio.create_task(cloud.create_device("libra-1", MARK))
    await asyncio.sleep(1.0)
    task.cancel()
    await asyncio.sleep(4.1)
    assert "delete_device" in driver.calls

    await cancel_after(task, 0.0)

    assert asyncio.get_running_loop().time() == pytest.approx(5.1)
    await cloud.calls.settle()
    assert driver.devices == {}


async def test_a_clean_up_has_a_time_limit() -> None:
    driver = ScriptedDriver()
    driver.seconds["create_device"] = 5.0
    driver.before["delete_device"] = [CloudUnavailable("down")] * 1000
    cloud = cloud_of(driver, pace=Pace(clean_up=20.0))
    task = asyncio.create_task(cloud.create_device("libra-1", MARK))

    await cancel_after(task, 1.0)

    assert asyncio.get_running_loop().time() < 26.0


async def test_a_late_device_that_another_worker_has_taken_over_is_kept() -> (
    None
):
    driver = ScriptedDriver()
    driver.after["create_device"] = [OutcomeUnknown("lost")]
    driver.hidden = {"1"}
    cloud = cloud_of(driver)
    created = await cloud.create_device("libra-1", MARK)
    assert created.id == "2"
    taken = MARK.taken_over_by(Job("job", "H:there:1"))
    driver.devices["1"] = replace(driver.devices["1"], mark=taken)
    driver.hidden.clear()

    await cloud.calls.settle()

    assert set(driver.devices) == {"1", "2"}


@pytest.mark.parametrize(("lost", "requests"), [("request", 2), ("answer", 1)])
async def test_a_lost_request_or_answer_of_a_creation_leaves_one_device(
    lost: str, requests: int
) -> None:
    driver = ScriptedDriver()
    errors = driver.before if lost == "request" else driver.after
    errors["create_device"] = [OutcomeUnknown("lost")]

    created = await cloud_of(driver).create_device("libra-1", MARK)

    assert list(driver.devices) == [created.id]
    assert driver.calls.count("create_device") == requests


async def test_a_creation_is_requested_three_times_at_most() -> None:
    driver = ScriptedDriver()
    driver.before["create_device"] = [OutcomeUnknown("lost")] * 9

    with pytest.raises(OutcomeUnknown, match="lost"):
        await cloud_of(driver).create_device("libra-1", MARK)

    assert driver.calls.count("create_device") == 3


async def test_a_duplicate_of_a_new_device_is_deleted() -> None:
    driver = ScriptedDriver()
    driver.after["create_device"] = [OutcomeUnknown("lost")]
    driver.seconds["create_device"] = 1.0
    driver.hidden = {"1"}  # the cloud may not show a new device yet
    cloud = cloud_of(driver)
    creating = asyncio.create_task(cloud.create_device("libra-1", MARK))
    while driver.calls.count("create_device") < 2:
        await asyncio.sleep(0.01)
    driver.hidden.clear()

    created = await creating

    await cloud.calls.settle()
    assert list(driver.devices) == [created.id]


async def test_a_duplicate_that_is_created_later_is_deleted() -> None:
    driver = ScriptedDriver()
    driver.seconds["create_device"] = 200.0
    driver.hidden = {"1"}
    cloud = cloud_of(driver)
    creating = asyncio.create_task(cloud.create_device("libra-1", MARK))
    await asyncio.sleep(1.0)
    driver.seconds["create_device"] = 1.0

    created = await creating

    assert list(driver.devices) == ["1", created.id]
    driver.hidden.clear()
    await asyncio.sleep(200.0)
    await cloud.calls.settle()
    assert list(driver.devices) == [created.id]


async def test_a_device_created_by_a_hung_call_is_deleted() -> None:
    driver = ScriptedDriver()
    driver.seconds["create_device"] = 200.0
    driver.hidden = {"1", "2", "3"}
    cloud = cloud_of(driver)

    with pytest.raises(OutcomeUnknown, match="no answer within 30 s"):
        await cloud.create_device("libra-1", MARK)
    driver.hidden.clear()
    await asyncio.sleep(200.0)
    await cloud.calls.settle()

    assert driver.devices == {}


async def test_a_creation_without_effect_is_repeated_without_a_search() -> (
    None
):
    driver = ScriptedDriver()
    driver.before["create_device"] = [CloudUnavailable("down")] * 3

    created = await cloud_of(driver).create_device("libra-1", MARK)

    assert list(driver.devices) == [created.id]
    assert driver.calls.count("create_device") == 4
    assert "find_devices" not in driver.calls


async def test_a_build_waiting_for_quota_continues_after_a_deletion() -> None:
    driver = ScriptedDriver()
    driver.before["create_device"] = [QuotaExceeded("full")]
    cloud = cloud_of(driver)
    other = driver.add_device(mark=MARK.handed_over())

    with pytest.raises(QuotaExceeded):
        await cloud.create_device("libra-1", MARK)
    waiting = asyncio.create_task(
        cloud.create_device("libra-2", MARK, max_wait=600.0)
    )
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await cloud.delete_device(other)

    created = await waiting
    assert created.name == "libra-2"
    assert asyncio.get_running_loop().time() < 2.0


async def test_failed_boots_open_a_circuit() -> None:
    driver = ScriptedDriver()
    cloud = cloud_of(driver)
    for _boot in range(5):
        created = await cloud.create_device("libra-1", MARK)
        del driver.devices[created.id]
        with pytest.raises(DeviceFailed, match="it disappeared"):
            await cloud.wait_ready(created)

    assert cloud.circuits.boots.open
    with pytest.raises(CloudUnavailable, match="because the last ones failed"):
        await cloud.create_device("libra-1", MARK)
    created = await cloud.create_device("libra-1", MARK, max_wait=600.0)
    await cloud.wait_ready(created)
    assert not cloud.circuits.boots.open


async def test_deleting_a_device_twice_succeeds() -> None:
    driver = ScriptedDriver()
    cloud = cloud_of(driver)
    device = driver.add_device()

    await cloud.delete_device(device)
    await cloud.delete_device(device)

    assert driver.devices == {}


async def test_a_lost_deletion_is_repeated() -> None:
    driver = ScriptedDriver()
    cloud = cloud_of(driver)
    device = driver.add_device()
    deleting = asyncio.create_task(cloud.delete_device(device))
    await asyncio.sleep(0.01)
    driver.devices[device.id] = device

    await deleting

    assert driver.calls.count("delete_device") == 2
    assert 15.0 <= asyncio.get_running_loop().time() < 20.0


async def test_deleting_a_device_that_stays_visible_fails() -> None:
    driver = ScriptedDriver()
    cloud = cloud_of(driver)
    device = driver.add_device()
    driver.delete_device = lambda *_: False  # type: ignore[method-assign]

    with pytest.raises(CloudUnavailable, match="but still shows it"):
        await cloud.delete_device(device)


async def test_an_unknown_device_counts_as_deleted_after_a_delay() -> None:
    """A new device may not be visible everywhere yet."""
    driver = ScriptedDriver()
    device = driver.add_device()
    del driver.devices[device.id]

    await cloud_of(driver).delete_device(device)

    assert asyncio.get_running_loop().time() > 10.0


async def test_an_error_of_the_cloud_is_noted_for_every_waiting_build() -> (
    None
):
    driver = ScriptedDriver()
    driver.before["create_device"] = [CloudUnavailable("down")] * 10**6
    cloud = cloud_of(driver)
    contexts = [RequestContext() for _build in range(200)]

    async def build(context: RequestContext) -> None:
        with bound(context):
            async with asyncio.timeout(60.0):
                await cloud.create_device("libra-1", MARK)

    await asyncio.gather(*map(build, contexts), return_exceptions=True)

    assert {str(context.trouble) for context in contexts} == {"down"}
    assert len(driver.calls) < 100

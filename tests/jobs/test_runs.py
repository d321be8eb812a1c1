"""Tests of deadlines, deliveries, cancels and stops, on virtual time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from poolmgr import Job, PoolSettings
from poolmgr.actions.base import Action, Context, NoFields
from poolmgr.errors import Changed, CloudRefused, CloudUnavailable
from poolmgr.events import Outcome
from poolmgr.jobs.manager import AsyncPoolManager
from poolmgr.jobs.run import Delivery
from poolmgr.ownership import Mark
from tests.cloud.scripted import ScriptedDriver, cloud_of

BUILD = {"action": "BUILD_DEVICE"}
JOB = Job("unique", "H:host:1", "127.0.0.1:4730")
REDELIVERED = replace(JOB, handle="H:host:2")


@pytest.fixture
def driver() -> ScriptedDriver:
    """Return a driver whose devices boot in five minutes."""
    driver = ScriptedDriver()
    driver.boot_time = 300.0
    return driver


def make_manager(
    driver: ScriptedDriver, action: type[Action[Any]] | None = None
) -> AsyncPoolManager:
    """Return a manager of the driver's cloud.

    :param action: an additional action, ACT
    """
    settings = PoolSettings(explain_failures=True)
    given = {"ACT": action} if action else None
    return AsyncPoolManager(cloud_of(driver), settings, given)


def now() -> float:
    """Return the seconds since the test began."""
    return asyncio.get_running_loop().time()


def states(driver: ScriptedDriver) -> list[str]:
    """Return the states in the devices' marks."""
    return [d.mark.state for d in driver.devices.values() if d.mark]


async def code(delivery: Delivery) -> str:
    """Return the code of a job's outcome."""
    return (await delivery.future).code


# -- deadlines --------------------------------------------------------------


async def test_a_build_at_its_deadline_deletes_its_device_and_says_why(
    driver: ScriptedDriver,
) -> None:
    driver.boot_time = 10_000.0
    manager = make_manager(driver)

    outcome = await manager.submit(BUILD, JOB).future

    assert outcome.code == "deadline"
    assert "to boot (it is building): not done within 600 s" in outcome.reason
    assert driver.devices == {}
    assert 600.0 <= now() < 610.0


async def test_the_answer_at_the_deadline_has_the_last_error(
    driver: ScriptedDriver,
) -> None:
    down = [CloudUnavailable("503 of nova") for _call in range(10_000)]
    driver.before["devices_of_jobs"].extend(down)
    manager = make_manager(driver)

    outcome = await manager.submit(BUILD, JOB).future

    assert outcome.code == "cloud_unavailable"
    assert "503 of nova" in outcome.reason


async def test_jobs_waiting_at_an_open_circuit_answer_with_its_error(
    driver: ScriptedDriver,
) -> None:
    down = [CloudUnavailable("503 of nova") for _call in range(10_000)]
    driver.before["create_ip"].extend(down)
    manager = make_manager(driver)

    jobs = [manager.submit({"action": "BUILD_IP"}) for _job in range(40)]
    outcomes = [await job.future for job in jobs]

    assert {outcome.code for outcome in outcomes} == {"cloud_unavailable"}
    assert all("503 of nova" in outcome.reason for outcome in outcomes)


async def outcome_of(
    driver: ScriptedDriver, work: Callable[[Context], Awaitable[None]]
) -> Outcome:
    """Return the outcome of an action that does some work."""

    class Act(Action[NoFields]):
        """Do the work."""

        takes = NoFields

        async def run(
            self, request: NoFields, context: Context
        ) -> Mapping[str, str]:
            await work(context)
            return {}

    return await make_manager(driver, Act).submit({"action": "ACT"}).future


async def test_a_timeout_error_of_an_action_is_not_its_deadline(
    driver: ScriptedDriver,
) -> None:
    async def time_out(context: Context) -> None:
        async with context.limit(60.0):
            raise TimeoutError("of a library")

    outcome = await outcome_of(driver, time_out)

    assert outcome.code == "plugin_failed"
    assert "TimeoutError: of a library" in outcome.reason


async def test_a_cancelled_error_of_an_action_is_no_cancel_of_its_job(
    driver: ScriptedDriver,
) -> None:
    async def await_a_cancelled_task(context: Context) -> None:
        task = asyncio.create_task(asyncio.sleep(60.0))
        task.cancel()
        await task

    outcome = await outcome_of(driver, await_a_cancelled_task)

    assert outcome.code == "plugin_failed"
    assert "action Act: CancelledError" in outcome.reason


class Stubborn(Action[NoFields]):
    """Ignore cancels for an hour.

    :cvar undone: the made resource and the time left, when it was undone
    """

    takes = NoFields
    answers = ("made",)
    timeout = 10.0
    cleanup_time = 5.0
    undone: tuple[Any, ...] = ()

    async def run(
        self, request: NoFields, context: Context
    ) -> Mapping[str, int]:
        end = now() + 3600.0
        while now() < end:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(end - now())
        return {"made": 7}

    async def undo(self, answer: Mapping[str, Any], context: Context) -> None:
        Stubborn.undone += (answer["made"], context.remaining())


@pytest.fixture
def stubborn() -> Iterator[type[Stubborn]]:
    """Yield the action, and reset it afterwards."""
    yield Stubborn
    Stubborn.undone = ()


async def test_a_hanging_action_is_answered_at_its_deadline_and_undone_later(
    driver: ScriptedDriver, stubborn: type[Stubborn]
) -> None:
    manager = make_manager(driver, stubborn)

    outcome = await manager.submit({"action": "ACT"}).future
    assert outcome.code == "deadline"
    assert 15.0 <= now() < 16.0

    assert (await manager.run({"action": "BUILD_IP"}))["response"] == "PASS"
    await asyncio.sleep(3600.0)
    assert stubborn.undone == (7, 60.0)


async def test_closing_a_manager_does_not_wait_for_a_hanging_action(
    driver: ScriptedDriver, stubborn: type[Stubborn]
) -> None:
    manager = make_manager(driver, stubborn)
    delivery = manager.submit({"action": "ACT"})
    await asyncio.sleep(1.0)

    await manager.close()

    assert await code(delivery) == "stopped"
    assert now() < 10.0


# -- deliveries -------------------------------------------------------------


async def test_a_redelivered_job_joins_its_running_build(
    driver: ScriptedDriver,
) -> None:
    manager = make_manager(driver)
    lost = manager.submit(BUILD, JOB)
    await asyncio.sleep(100.0)
    lost.connection_lost()

    again = await manager.submit(BUILD, REDELIVERED).future

    assert again.answer["response"] == "PASS"
    assert driver.calls.count("create_device") == 1
    assert states(driver) == ["handed over"]
    assert now() < 310.0


async def test_a_delivery_that_stops_waiting_does_not_cancel_the_other(
    driver: ScriptedDriver,
) -> None:
    manager = make_manager(driver)
    first, other = (
        manager.submit(BUILD, JOB),
        manager.submit(BUILD, REDELIVERED),
    )

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(100.0):
            await first.future

    assert (await other.future).answer["response"] == "PASS"
    assert len(driver.devices) == 1


async def test_an_abandoned_build_keeps_its_device_at_the_deadline(
    driver: ScriptedDriver,
) -> None:
    driver.boot_time = 10_000.0
    manager = make_manager(driver)
    delivery = manager.submit(BUILD, JOB)
    await asyncio.sleep(100.0)

    delivery.connection_lost()

    assert await code(delivery) == "deadline"
    assert states(driver) == ["building"]


@pytest.mark.parametrize("lost", [True, False])
async def test_a_stop_before_the_answer_withdraws_or_deletes_the_device(
    driver: ScriptedDriver, lost: bool
) -> None:
    # The process stops while the mark is written, before the answer.
    driver.boot_time = 0.0
    driver.seconds["mark_device"] = 5.0
    manager = make_manager(driver)
    delivery = manager.submit(BUILD, JOB)
    while "mark_device" not in driver.calls:
        await asyncio.sleep(0.1)
    if lost:
        delivery.connection_lost()

    manager.stop()

    assert await code(delivery) == "stopped"
    # A lost connection means a redelivery, which takes the device over.
    assert states(driver) == (["withdrawn"] if lost else [])


async def test_a_device_already_handed_over_is_answered_despite_a_stop(
    driver: ScriptedDriver,
) -> None:
    driver.boot_time = 0.0
    for name in ("libra-1", "libra-2"):
        driver.add_device(name, mark=Mark.for_job("libra", JOB))
    driver.seconds["delete_device"] = 10.0
    manager = make_manager(driver)
    delivery = manager.submit(BUILD, REDELIVERED)
    while "delete_device" not in driver.calls:
        await asyncio.sleep(0.1)

    manager.stop()

    outcome = await delivery.future
    assert outcome.answer["response"] == "PASS"
    assert "handed over" in states(driver)


async def test_an_abandoned_job_withdraws_no_address_of_another_delivery(
    driver: ScriptedDriver,
) -> None:
    left = Mark.for_job("libra", JOB)
    ip = driver.add_ip(mark=left)
    driver.before["mark_ip"] = [Changed("another delivery was first")]
    driver.seconds["mark_ip"] = 5.0
    manager = make_manager(driver)
    delivery = manager.submit({"action": "BUILD_IP"}, JOB)
    await asyncio.sleep(1.0)
    driver.ips[ip.id] = replace(ip, mark=left.unconfirmed())
    delivery.connection_lost()
    assert (await delivery.future).answer["response"] == "PASS"

    answered = left.taken_over_by(JOB).handed_over()
    driver.ips[ip.id] = replace(ip, mark=answered)
    delivery.undelivered(sent=False)
    await manager.close()

    assert driver.ips[ip.id].mark == answered


# -- cancels ----------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.0, 0.001, 2.0, 100.0])
async def test_a_cancelled_build_leaves_no_device(
    driver: ScriptedDriver, seconds: float
) -> None:
    driver.seconds["create_device"] = 5.0
    manager = make_manager(driver)
    delivery = manager.submit(BUILD, JOB)
    await asyncio.sleep(seconds)

    assert delivery.cancel()

    assert await code(delivery) == "cancelled"
    await manager.close()
    assert driver.devices == {}
    assert not delivery.cancel()
    assert now() < 120.0


async def test_cancelling_the_caller_cancels_its_job(
    driver: ScriptedDriver,
) -> None:
    manager = make_manager(driver)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(100.0):
            await manager.run(BUILD)

    assert now() == 100.0
    await asyncio.sleep(10.0)
    assert driver.devices == {}
    assert manager.running() == []


async def test_one_of_two_deliveries_can_be_cancelled(
    driver: ScriptedDriver,
) -> None:
    manager = make_manager(driver)
    first, other = (
        manager.submit(BUILD, JOB),
        manager.submit(BUILD, REDELIVERED),
    )
    await asyncio.sleep(100.0)

    assert first.cancel()

    assert await code(first) == "cancelled"
    assert now() == 100.0
    assert (await other.future).answer["response"] == "PASS"


async def test_a_cancelled_job_starts_again_when_redelivered(
    driver: ScriptedDriver,
) -> None:
    manager = make_manager(driver)
    cancelled = manager.submit(BUILD, JOB)
    await asyncio.sleep(100.0)
    cancelled.cancel()

    again = await manager.submit(BUILD, JOB).future

    assert again.answer["response"] == "PASS"
    (device,) = driver.devices.values()
    assert device.name == again.answer["name"]


async def test_a_pass_of_a_cancelled_action_is_undone(
    driver: ScriptedDriver, stubborn: type[Stubborn]
) -> None:
    class Slow(stubborn):  # type: ignore[misc, valid-type]
        """Take up to ten hours for the clean-up."""

        cleanup_time = 36_000.0

    manager = make_manager(driver, Slow)
    delivery = manager.submit({"action": "ACT"})
    await asyncio.sleep(1.0)

    delivery.cancel()

    assert await code(delivery) == "cancelled"
    await manager.close()
    assert stubborn.undone[0] == 7


# -- stops and failures -----------------------------------------------------


async def test_a_stop_right_after_submit_is_answered_without_calls(
    driver: ScriptedDriver,
) -> None:
    manager = make_manager(driver)
    delivery = manager.submit(BUILD, JOB)

    manager.stop()

    assert await code(delivery) == "stopped"
    assert driver.calls == []


async def test_a_stop_does_not_interrupt_the_clean_up_of_a_cancelled_build(
    driver: ScriptedDriver,
) -> None:
    driver.seconds["delete_device"] = 5.0
    manager = make_manager(driver)
    delivery = manager.submit(BUILD, JOB)
    await asyncio.sleep(100.0)
    delivery.cancel()
    await asyncio.sleep(1.0)

    manager.stop()

    assert await code(delivery) == "cancelled"
    assert driver.devices == {}


async def test_the_answer_names_a_device_that_could_not_be_deleted(
    driver: ScriptedDriver,
) -> None:
    driver.boot_time = 10_000.0
    driver.before["delete_device"].append(CloudRefused("it stays"))
    manager = make_manager(driver)

    outcome: Outcome = await manager.submit(BUILD, JOB).future

    (left,) = driver.devices.values()
    assert outcome.code == "device_not_deleted"
    assert outcome.answer["name"] == left.name
    assert "not done within 600 s; device" in outcome.reason


async def test_the_answer_names_a_late_device_that_could_not_be_deleted(
    driver: ScriptedDriver,
) -> None:
    driver.seconds["create_device"] = 5.0
    driver.before["delete_device"] += [CloudRefused("it stays")] * 2
    manager = make_manager(driver)
    delivery = manager.submit(BUILD, JOB)
    await asyncio.sleep(1.0)

    manager.stop()

    outcome: Outcome = await delivery.future
    (left,) = driver.devices.values()
    assert outcome.code == "device_not_deleted"
    assert outcome.answer["name"] == left.name


async def test_a_refused_deletion_of_a_late_device_is_repeated(
    driver: ScriptedDriver,
) -> None:
    driver.seconds["create_device"] = 5.0
    driver.before["delete_device"].append(CloudRefused("it stays"))
    manager = make_manager(driver)
    delivery = manager.submit(BUILD, JOB)
    await asyncio.sleep(1.0)

    manager.stop()

    outcome: Outcome = await delivery.future
    assert outcome.code == "stopped"
    assert driver.devices == {}


async def test_a_thousand_waiting_builds_share_their_polls(
    driver: ScriptedDriver,
) -> None:
    manager = make_manager(driver)

    deliveries = [manager.submit(BUILD) for _job in range(1000)]
    outcomes = [await job.future for job in deliveries]

    assert {outcome.answer["response"] for outcome in outcomes} == {"PASS"}
    assert len({outcome.answer["name"] for outcome in outcomes}) == 1000
    assert driver.calls.count("poll") < 400


async def test_the_answer_names_an_undeletable_device_of_a_slow_cloud(
    driver: ScriptedDriver,
) -> None:
    driver.boot_time = 10_000.0
    driver.seconds["get_device"] = 1.5
    # Accepted, but without effect.
    driver.delete_device = lambda device, timeout: True  # type: ignore[method-assign]
    manager = make_manager(driver)

    outcome: Outcome = await manager.submit(BUILD, JOB).future

    (left,) = driver.devices.values()
    assert outcome.code == "device_not_deleted"
    assert outcome.answer["name"] == left.name


async def test_builds_do_not_wait_for_a_network_that_they_do_not_need(
    driver: ScriptedDriver,
) -> None:
    manager = make_manager(driver)
    device, ip = driver.add_device(), driver.add_ip()
    down = [CloudUnavailable("503 of neutron") for _call in range(10_000)]
    driver.before["attach_ip"] += down
    driver.before["find_ips"] += down
    attaching = [
        asyncio.create_task(manager.cloud.attach_ip(ip, device))
        for _job in range(20)
    ]
    await asyncio.sleep(10.0)

    await manager.submit(BUILD, JOB).future

    assert now() < 320.0
    assert driver.calls.count("attach_ip") < 400
    for task in attaching:
        task.cancel()

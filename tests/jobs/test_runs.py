"""How jobs end: at their deadline, by a stop, or cancelled; virtual time."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from poolmgr import Job, PoolSettings
from poolmgr.actions.base import Action, Context, NoFields
from poolmgr.errors import CloudRefused, CloudUnavailable
from poolmgr.events import Outcome
from poolmgr.jobs.manager import AsyncPoolManager
from poolmgr.jobs.run import Delivery
from poolmgr.ownership import Mark
from tests.cloud.scripted import ScriptedDriver, cloud_of

BUILD = {"action": "BUILD_DEVICE"}
JOB = Job("unique", "H:host:1", "127.0.0.1:4730")
AGAIN = replace(JOB, handle="H:host:2")
LEFT = Mark.for_job("libra", JOB)


@pytest.fixture
def driver() -> ScriptedDriver:
    driver = ScriptedDriver()
    driver.boot_time = 300.0
    return driver


def managing(
    driver: ScriptedDriver, action: type[Action[Any]] | None = None
) -> AsyncPoolManager:
    """A manager of the cloud with one more action, ACT."""
    settings = PoolSettings(explain_failures=True)
    given = {"ACT": action} if action else None
    return AsyncPoolManager(cloud_of(driver), settings, given)


def now() -> float:
    """Seconds since the test began."""
    return asyncio.get_running_loop().time()


def states(driver: ScriptedDriver) -> list[str]:
    """What the marks of the devices say."""
    return [each.mark.state for each in driver.devices.values() if each.mark]


async def code(delivery: Delivery) -> str:
    return (await delivery.future).code


# -- the deadline -----------------------------------------------------------


async def test_the_deadline_says_what_was_waited_for_and_leaves_nothing(
    driver: ScriptedDriver,
) -> None:
    driver.boot_time = 10_000.0
    manager = managing(driver)

    outcome = await manager.submit(BUILD, JOB).future

    assert outcome.code == "deadline"
    assert "to boot (it is building): not done within 600 s" in outcome.reason
    assert driver.devices == {}
    assert 600.0 <= now() < 610.0


async def test_the_deadline_says_what_went_wrong_last(
    driver: ScriptedDriver,
) -> None:
    down = [CloudUnavailable("503 of nova") for _each in range(10_000)]
    driver.before["devices_of_jobs"].extend(down)
    manager = managing(driver)

    outcome = await manager.submit(BUILD, JOB).future

    assert outcome.code == "cloud_unavailable"
    assert "503 of nova" in outcome.reason


async def test_who_waits_at_an_open_circuit_is_told_what_is_wrong(
    driver: ScriptedDriver,
) -> None:
    down = [CloudUnavailable("503 of nova") for _each in range(10_000)]
    driver.before["create_ip"].extend(down)
    manager = managing(driver)

    jobs = [manager.submit({"action": "BUILD_IP"}) for _each in range(40)]
    outcomes = [await each.future for each in jobs]

    assert {outcome.code for outcome in outcomes} == {"cloud_unavailable"}
    assert all("503 of nova" in outcome.reason for outcome in outcomes)


async def test_a_time_out_of_an_actions_own_is_not_its_deadline(
    driver: ScriptedDriver,
) -> None:
    class Act(Action[NoFields]):
        """Time out by itself."""

        takes = NoFields

        async def run(
            self, request: NoFields, context: Context
        ) -> Mapping[str, str]:
            async with context.limit(60.0):
                raise TimeoutError("of a library")

    outcome = await managing(driver, Act).submit({"action": "ACT"}).future

    assert outcome.code == "plugin_failed"
    assert "TimeoutError: of a library" in outcome.reason


class Stubborn(Action[NoFields]):
    """Do not heed a cancel for an hour."""

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
    yield Stubborn
    Stubborn.undone = ()


async def test_an_action_that_does_not_end_is_answered_for_and_undone(
    driver: ScriptedDriver, stubborn: type[Stubborn]
) -> None:
    manager = managing(driver, stubborn)

    outcome = await manager.submit({"action": "ACT"}).future
    assert outcome.code == "deadline"
    assert 15.0 <= now() < 16.0

    assert (await manager.run({"action": "BUILD_IP"}))["response"] == "PASS"
    await asyncio.sleep(3600.0)
    assert stubborn.undone == (7, 60.0)


async def test_an_action_that_does_not_end_does_not_keep_a_manager_open(
    driver: ScriptedDriver, stubborn: type[Stubborn]
) -> None:
    manager = managing(driver, stubborn)
    delivery = manager.submit({"action": "ACT"})
    await asyncio.sleep(1.0)

    await manager.close()

    assert await code(delivery) == "stopped"
    assert now() < 10.0


# -- deliveries -------------------------------------------------------------


async def test_a_redelivered_job_awaits_the_run_that_is_there(
    driver: ScriptedDriver,
) -> None:
    manager = managing(driver)
    lost = manager.submit(BUILD, JOB)
    await asyncio.sleep(100.0)
    lost.connection_lost()

    again = await manager.submit(BUILD, AGAIN).future

    assert again.answer["response"] == "PASS"
    assert driver.calls.count("create_device") == 1
    assert states(driver) == ["handed over"]
    assert now() < 310.0


async def test_who_ends_to_wait_takes_the_answer_from_nobody_else(
    driver: ScriptedDriver,
) -> None:
    manager = managing(driver)
    first, other = manager.submit(BUILD, JOB), manager.submit(BUILD, AGAIN)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(100.0):
            await first.future

    assert (await other.future).answer["response"] == "PASS"
    assert len(driver.devices) == 1


async def test_a_job_that_nobody_waits_for_leaves_its_device(
    driver: ScriptedDriver,
) -> None:
    driver.boot_time = 10_000.0
    manager = managing(driver)
    delivery = manager.submit(BUILD, JOB)
    await asyncio.sleep(100.0)

    delivery.connection_lost()

    assert await code(delivery) == "deadline"
    assert states(driver) == ["building"]


@pytest.mark.parametrize("lost", [True, False])
async def test_what_was_handed_over_and_is_not_answered_says_so(
    driver: ScriptedDriver, lost: bool
) -> None:
    # The process stops while the mark is written: nobody has the device.
    driver.boot_time = 0.0
    driver.seconds["mark_device"] = 5.0
    manager = managing(driver)
    delivery = manager.submit(BUILD, JOB)
    while "mark_device" not in driver.calls:
        await asyncio.sleep(0.1)
    if lost:
        delivery.connection_lost()

    manager.stop()

    assert await code(delivery) == "stopped"
    # Another worker may take it over; or else it is deleted.
    assert states(driver) == (["withdrawn"] if lost else [])


async def test_a_device_that_is_handed_over_is_answered_though_all_stops(
    driver: ScriptedDriver,
) -> None:
    driver.boot_time = 0.0
    for name in ("libra-1", "libra-2"):
        driver.add_device(name, mark=LEFT)
    driver.seconds["delete_device"] = 10.0
    manager = managing(driver)
    delivery = manager.submit(BUILD, AGAIN)
    while "delete_device" not in driver.calls:
        await asyncio.sleep(0.1)

    manager.stop()

    outcome = await delivery.future
    assert outcome.answer["response"] == "PASS"
    assert "handed over" in states(driver)


# -- cancelled by the caller ------------------------------------------------


@pytest.mark.parametrize("seconds", [0.0, 0.001, 2.0, 100.0])
async def test_a_build_that_is_cancelled_leaves_nothing(
    driver: ScriptedDriver, seconds: float
) -> None:
    driver.seconds["create_device"] = 5.0
    manager = managing(driver)
    delivery = manager.submit(BUILD, JOB)
    await asyncio.sleep(seconds)

    assert delivery.cancel()

    assert await code(delivery) == "cancelled"
    await manager.close()
    assert driver.devices == {}
    assert not delivery.cancel()
    assert now() < 120.0


async def test_a_caller_that_is_cancelled_cancels_its_job(
    driver: ScriptedDriver,
) -> None:
    manager = managing(driver)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(100.0):
            await manager.run(BUILD)

    assert now() == 100.0
    await asyncio.sleep(10.0)
    assert driver.devices == {}
    assert manager.running() == []


async def test_of_two_deliveries_one_can_be_cancelled(
    driver: ScriptedDriver,
) -> None:
    manager = managing(driver)
    first, other = manager.submit(BUILD, JOB), manager.submit(BUILD, AGAIN)
    await asyncio.sleep(100.0)

    assert first.cancel()

    assert await code(first) == "cancelled"
    assert now() == 100.0
    assert (await other.future).answer["response"] == "PASS"


async def test_a_job_begins_anew_after_it_was_cancelled(
    driver: ScriptedDriver,
) -> None:
    manager = managing(driver)
    cancelled = manager.submit(BUILD, JOB)
    await asyncio.sleep(100.0)
    cancelled.cancel()

    again = await manager.submit(BUILD, JOB).future

    assert again.answer["response"] == "PASS"
    (device,) = driver.devices.values()
    assert device.name == again.answer["name"]


async def test_what_passes_though_it_was_cancelled_is_undone(
    driver: ScriptedDriver, stubborn: type[Stubborn]
) -> None:
    class Slow(stubborn):  # type: ignore[misc, valid-type]
        """Clear up for ten hours."""

        cleanup_time = 36_000.0

    manager = managing(driver, Slow)
    delivery = manager.submit({"action": "ACT"})
    await asyncio.sleep(1.0)

    delivery.cancel()

    assert await code(delivery) == "cancelled"
    await manager.close()
    assert stubborn.undone[0] == 7


# -- a stop -----------------------------------------------------------------


async def test_a_stop_in_the_turn_of_the_submit_is_answered(
    driver: ScriptedDriver,
) -> None:
    manager = managing(driver)
    delivery = manager.submit(BUILD, JOB)

    manager.stop()

    assert await code(delivery) == "stopped"
    assert driver.calls == []


async def test_a_second_cancel_does_not_break_off_the_clean_up(
    driver: ScriptedDriver,
) -> None:
    driver.seconds["delete_device"] = 5.0
    manager = managing(driver)
    delivery = manager.submit(BUILD, JOB)
    await asyncio.sleep(100.0)
    delivery.cancel()
    await asyncio.sleep(1.0)

    manager.stop()

    assert await code(delivery) == "cancelled"
    assert driver.devices == {}


async def test_a_failed_device_that_stays_is_handed_back(
    driver: ScriptedDriver,
) -> None:
    driver.boot_time = 10_000.0
    driver.before["delete_device"].append(CloudRefused("it stays"))
    manager = managing(driver)

    outcome: Outcome = await manager.submit(BUILD, JOB).future

    (left,) = driver.devices.values()
    assert outcome.code == "device_not_deleted"
    assert outcome.answer["name"] == left.name
    assert "not done within 600 s; device" in outcome.reason


async def test_a_device_that_came_too_late_is_deleted_at_the_second_try(
    driver: ScriptedDriver,
) -> None:
    driver.seconds["create_device"] = 5.0
    driver.before["delete_device"].append(CloudRefused("it stays"))
    manager = managing(driver)
    delivery = manager.submit(BUILD, JOB)
    await asyncio.sleep(1.0)

    manager.stop()

    outcome: Outcome = await delivery.future
    assert outcome.code == "stopped"
    assert driver.devices == {}


async def test_a_thousand_builds_wait_at_once(driver: ScriptedDriver) -> None:
    manager = managing(driver)

    deliveries = [manager.submit(BUILD) for _each in range(1000)]
    outcomes = [await each.future for each in deliveries]

    assert {each.answer["response"] for each in outcomes} == {"PASS"}
    assert len({each.answer["name"] for each in outcomes}) == 1000
    assert driver.calls.count("poll") < 400

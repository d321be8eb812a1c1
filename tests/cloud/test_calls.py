"""Tests of calls of a driver: slots, timeouts, retries, circuit breakers."""

import asyncio
import math
from typing import Any

import pytest

from poolmgr.errors import (
    AuthenticationFailed,
    Busy,
    CloudError,
    CloudRefused,
    CloudUnavailable,
    PluginFailed,
    QuotaExceeded,
)
from poolmgr.events import CloudCall, Observer
from poolmgr.tracing import RequestContext, bound
from tests.cloud.scripted import MARK, ScriptedDriver, cloud_of


class CallRecorder(Observer):
    """Records the requests to the cloud."""

    def __init__(self) -> None:
        self.calls: list[CloudCall] = []

    def cloud_called(self, call: CloudCall) -> None:
        """Record a request."""
        self.calls.append(call)


async def test_hung_calls_in_all_slots_do_not_block_other_calls() -> None:
    driver = ScriptedDriver(calls_at_once=2)
    driver.seconds["get_device"] = math.inf
    cloud = cloud_of(driver)
    hung = [asyncio.create_task(cloud.get_device("1")) for _call in range(2)]
    await asyncio.sleep(0)

    async with asyncio.timeout(40.0):
        assert await cloud.list_devices() == []

    for task in hung:
        task.cancel()
    await asyncio.wait(hung)
    await asyncio.sleep(1000.0)
    assert cloud.calls.overdue > 900.0


async def test_calls_are_not_overdue_while_others_return() -> None:
    """A driver that loses single calls works."""
    driver = ScriptedDriver(calls_at_once=2)
    driver.seconds["get_device"] = math.inf
    cloud = cloud_of(driver)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1000.0):
            await cloud.get_device("1")
    assert cloud.calls.overdue > 900.0

    await cloud.list_devices()

    assert cloud.calls.overdue == 0.0


async def test_a_hung_call_frees_its_slot_after_its_caller_was_cancelled() -> (
    None
):
    """A slot belongs to the call, not to its caller."""
    driver = ScriptedDriver(calls_at_once=1)
    driver.seconds["get_device"] = math.inf
    cloud = cloud_of(driver)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await cloud.get_device("1")

    async with asyncio.timeout(40.0):
        assert await cloud.list_devices() == []


async def test_urgent_calls_get_a_slot_before_others() -> None:
    driver = ScriptedDriver(calls_at_once=4)
    driver.seconds["list_devices"] = driver.seconds["list_ips"] = 1.0
    cloud = cloud_of(driver)
    builds = [asyncio.create_task(cloud.list_devices()) for _n in range(9)]
    await asyncio.sleep(0.5)
    # A quarter of the slots is reserved for short jobs.
    assert len(driver.calls) == 3

    with bound(RequestContext(urgent=True)):
        await asyncio.gather(*[cloud.list_ips() for _n in range(2)])

    # One runs immediately, the other before the six waiting builds.
    assert asyncio.get_running_loop().time() == 2.0
    await asyncio.gather(*builds)


async def test_a_call_cancelled_while_it_waits_takes_no_slot() -> None:
    driver = ScriptedDriver(calls_at_once=1)
    driver.seconds["list_devices"] = 1.0
    cloud = cloud_of(driver)
    tasks = [asyncio.create_task(cloud.list_devices()) for _n in range(3)]
    await asyncio.sleep(0.5)

    tasks[1].cancel()

    await tasks[2]
    assert driver.calls == ["list_devices"] * 2


async def test_a_failed_call_is_retried_and_its_error_noted() -> None:
    driver = ScriptedDriver()
    driver.before["list_devices"] = [CloudUnavailable("down")] * 3
    cloud = cloud_of(driver)
    with bound(RequestContext()) as context:
        asking = asyncio.create_task(cloud.list_devices())
        await asyncio.sleep(0.2)
        assert str(context.trouble) == "down"
        await asking

    assert context.trouble is None
    assert driver.calls == ["list_devices"] * 4


async def test_the_error_of_a_hung_verb_is_noted() -> None:
    driver = ScriptedDriver()
    driver.seconds["list_devices"] = math.inf
    cloud = cloud_of(driver)
    with bound(RequestContext()) as context:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(600.0):
                await cloud.list_devices()

    assert str(context.trouble) == (
        "driver ScriptedDriver: list_devices: no answer within 30 s"
    )


@pytest.mark.parametrize(
    "pause", [7.0, float("inf"), float("nan"), -1, "soon", None, 10**400]
)
async def test_a_retry_waits_for_retry_after(
    pause: Any,
) -> None:
    driver = ScriptedDriver()
    driver.before["list_devices"] = [Busy("too many", pause)]
    cloud = cloud_of(driver)

    await cloud.list_devices()

    expected = {7.0: 7.0, float("inf"): 3600.0, 10**400: 3600.0}
    assert asyncio.get_running_loop().time() == pytest.approx(
        expected.get(pause, 0.2), abs=0.1
    )


async def test_a_cloud_that_is_down_gets_few_calls() -> None:
    driver = ScriptedDriver()
    driver.before["list_devices"] = [CloudUnavailable("down")] * 10**6
    cloud = cloud_of(driver)
    asking = [asyncio.create_task(cloud.list_devices()) for _n in range(100)]

    await asyncio.sleep(60.0)

    assert cloud.circuits.calls["reading compute"].open
    assert cloud.circuits.no_capacity
    first = len(driver.calls)
    await asyncio.sleep(60.0)
    assert len(driver.calls) - first <= 120
    # Calls to the other service are not delayed.
    assert await cloud.list_ips() == []
    driver.before.clear()
    await asyncio.gather(*asking)
    assert not cloud.circuits.no_capacity


@pytest.mark.parametrize("error", [CloudRefused("no"), Busy("not now")])
async def test_refusals_and_busy_do_not_open_a_circuit(
    error: CloudError,
) -> None:
    driver = ScriptedDriver()
    driver.before["mark_device"] = [error] * 20
    cloud = cloud_of(driver)
    device = driver.add_device()
    for _call in range(20):
        try:
            async with asyncio.timeout(0.05):
                await cloud.mark_device(device, MARK)
        except (CloudRefused, TimeoutError):
            pass

    assert not cloud.circuits.calls["changing compute"].open


async def test_a_refused_login_is_not_repeated_at_once() -> None:
    """Clouds lock an account after a few refused logins."""
    driver = ScriptedDriver()
    driver.before["list_devices"] = [AuthenticationFailed("bad password")] * 9
    cloud = cloud_of(driver)

    for _call in range(20):
        with pytest.raises(AuthenticationFailed, match="bad password"):
            await cloud.list_devices()
    with pytest.raises(AuthenticationFailed, match="bad password"):
        await cloud.list_ips()

    assert driver.calls == ["list_devices"]
    driver.before.clear()
    cloud.circuits.login.hint()
    assert await cloud.list_ips() == []
    assert await cloud.list_devices() == []


async def test_a_timeout_error_of_the_driver_is_a_plugin_error() -> None:
    driver = ScriptedDriver()
    driver.before["list_devices"] = [TimeoutError("mine")]

    with pytest.raises(PluginFailed, match="list_devices: TimeoutError: mine"):
        async with asyncio.timeout(600.0):
            await cloud_of(driver).list_devices()


async def test_a_cancel_waits_for_a_changing_verb() -> None:
    """The caller's next change must not overtake it."""
    driver = ScriptedDriver()
    driver.seconds["mark_device"] = 5.0
    cloud = cloud_of(driver)
    device = driver.add_device()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await cloud.mark_device(device, MARK)

    assert asyncio.get_running_loop().time() == 5.0


async def test_each_verb_counts_as_a_request_unless_the_driver_reports() -> (
    None
):
    recorder, driver = CallRecorder(), ScriptedDriver()
    driver.before["list_ips"] = [CloudUnavailable("down")]
    driver.before["mark_device"] = [CloudRefused("no")]
    cloud = cloud_of(driver, observer=recorder)
    await cloud.list_ips()
    with pytest.raises(CloudRefused):
        await cloud.mark_device(driver.add_device(), MARK)

    assert [(c.service, c.method, c.status) for c in recorder.calls] == [
        ("network", "list_ips", None),
        ("network", "list_ips", 200),
        ("compute", "mark_device", 400),
    ]
    recorder.calls.clear()
    reported = CloudCall("compute", "GET", 200, 0.1)
    driver.report_call(reported)
    await cloud.list_ips()
    assert recorder.calls == [reported]


async def test_a_check_without_an_answer_returns_a_finding() -> None:
    driver = ScriptedDriver()
    driver.check = lambda _timeout: driver.list_devices(1.0)  # type: ignore[assignment, method-assign, return-value]
    driver.before["list_devices"] = [CloudUnavailable("down")] * 1000

    (finding,) = await cloud_of(driver).check(timeout=30.0)

    assert finding.problem == "down"
    assert asyncio.get_running_loop().time() == 30.0


async def test_no_call_begins_after_its_circuit_has_opened() -> None:
    driver = ScriptedDriver(calls_at_once=4)
    driver.seconds["create_device"] = 1.0
    driver.before["create_device"] = [QuotaExceeded("full")] * 100
    cloud = cloud_of(driver)

    await asyncio.gather(
        *[cloud.create_device(f"d{n}", MARK) for n in range(50)],
        return_exceptions=True,
    )

    # Three calls were running in three slots.
    assert len(driver.calls) == 3

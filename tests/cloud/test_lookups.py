"""Tests of look-ups that several callers share."""

import asyncio

import pytest

from poolmgr.errors import CloudRefused, CloudUnavailable
from poolmgr.tracing import RequestContext, bound, current
from tests.cloud.scripted import ScriptedDriver, cloud_of


class RecordingDriver(ScriptedDriver):
    """Records the names and the context of each look-up."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[set[str]] = []
        self.contexts: list[RequestContext | None] = []

    def find_devices(self, names, timeout):  # type: ignore[no-untyped-def]
        """List the devices with these names."""
        self.names.append(set(names))
        self.contexts.append(current())
        return super().find_devices(names, timeout)


async def test_callers_during_a_look_up_share_the_next_one() -> None:
    driver = RecordingDriver()
    driver.seconds["find_devices"] = 1.0
    cloud = cloud_of(driver)
    devices = [driver.add_device() for _n in range(30)]
    first = asyncio.create_task(cloud.find_devices("first"))
    await asyncio.sleep(0.5)

    found = await asyncio.gather(
        *[cloud.find_devices(device.name) for device in devices]
    )

    assert await first == []
    assert found == [[device] for device in devices]
    assert driver.names == [{"first"}, {device.name for device in devices}]
    assert asyncio.get_running_loop().time() == 2.0


async def test_a_result_is_never_older_than_the_call() -> None:
    driver = RecordingDriver()
    driver.seconds["find_devices"] = 1.0
    cloud = cloud_of(driver)
    first = asyncio.create_task(cloud.find_devices("a"))
    await asyncio.sleep(0.5)
    device = driver.add_device("a")

    assert await cloud.find_devices("a") == [device]
    assert await first == []


async def test_a_cancelled_caller_does_not_cancel_a_shared_look_up() -> None:
    driver = RecordingDriver()
    driver.seconds["find_devices"] = 1.0
    cloud = cloud_of(driver)
    device = driver.add_device("a")
    asking = [asyncio.create_task(cloud.find_devices("a")) for _n in range(3)]
    await asyncio.sleep(0.5)

    asking[0].cancel()

    assert await asking[1] == await asking[2] == [device]
    assert asking[0].cancelled()


async def test_a_look_up_without_callers_is_not_retried() -> None:
    driver = RecordingDriver()
    driver.before["find_devices"] = [CloudUnavailable("down")] * 1000
    cloud = cloud_of(driver)
    asking = [asyncio.create_task(cloud.find_devices("a")) for _n in range(3)]
    await asyncio.sleep(5.0)

    for task in asking:
        task.cancel()

    await asyncio.sleep(60.0)
    lookups = len(driver.names)
    await asyncio.sleep(600.0)
    assert len(driver.names) == lookups


async def test_a_caller_cancelled_before_its_look_up_delays_no_other() -> None:
    cloud = cloud_of(RecordingDriver())
    asking = asyncio.create_task(cloud.find_devices("a"))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])

    assert await cloud.find_devices("b") == []
    assert asyncio.get_running_loop().time() == 0.0


async def test_all_callers_get_the_error() -> None:
    driver = RecordingDriver()
    driver.before["find_devices"] = [CloudRefused("no")]
    cloud = cloud_of(driver)

    answers = await asyncio.gather(
        cloud.find_devices("a"),
        cloud.find_devices("b"),
        return_exceptions=True,
    )

    assert [str(answer) for answer in answers] == ["no", "no"]


async def test_a_hung_look_up_delays_the_next_only_briefly() -> None:
    driver = RecordingDriver()
    driver.seconds["find_devices"] = 20.0
    cloud = cloud_of(driver)
    stuck = asyncio.create_task(cloud.find_devices("stuck"))
    await asyncio.sleep(0.5)
    driver.seconds["find_devices"] = 0.0

    await cloud.find_devices("other")

    assert asyncio.get_running_loop().time() == 2.5
    assert not stuck.done()
    await stuck


async def test_a_look_up_is_as_urgent_as_its_most_urgent_caller() -> None:
    driver = RecordingDriver()
    driver.seconds["find_devices"] = 1.0
    cloud = cloud_of(driver)
    with bound(RequestContext()) as build:
        alone = asyncio.create_task(cloud.find_devices("alone"))
    await asyncio.sleep(0.5)
    with bound(RequestContext()) as joined:
        other = asyncio.create_task(cloud.find_devices("build"))
        await asyncio.sleep(0)
    with bound(RequestContext(urgent=True)):
        await cloud.find_devices("short")
    await asyncio.gather(alone, other)

    first, second = driver.contexts
    assert first is not None
    # The cloud logs the request id.
    assert first.request_id == build.request_id
    assert second is not None
    assert second.urgent
    assert second.request_id == joined.request_id


async def test_a_retried_error_is_noted_for_each_caller() -> None:
    driver = RecordingDriver()
    driver.before["find_devices"] = [CloudUnavailable("refused")] * 1000
    cloud = cloud_of(driver)
    contexts = [RequestContext(), RequestContext()]

    async def ask(context: RequestContext) -> None:
        with bound(context):
            async with asyncio.timeout(10.0):
                await cloud.find_devices("a")

    for error in await asyncio.gather(
        *map(ask, contexts), return_exceptions=True
    ):
        assert isinstance(error, TimeoutError)
    assert [str(c.trouble) for c in contexts] == ["refused", "refused"]


@pytest.mark.parametrize("unique", ["job", "other"])
async def test_resources_are_found_by_the_unique_of_their_job(
    unique: str,
) -> None:
    driver = ScriptedDriver()
    cloud = cloud_of(driver)
    device, ip = driver.add_device(), driver.add_ip()

    found = await cloud.devices_of_job(unique), await cloud.ips_of_job(unique)

    assert found == (([device], [ip]) if unique == "job" else ([], []))

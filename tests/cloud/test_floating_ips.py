"""Tests of changes of floating IPs: repetition and ownership."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from poolmgr.errors import (
    AttachedElsewhere,
    Changed,
    CloudUnavailable,
    NotFound,
    NotOwned,
    OutcomeUnknown,
    PoolmgrError,
)
from poolmgr.ownership import Job, Mark, Ownership
from poolmgr.tracing import RequestContext, bound
from tests.cloud.scripted import MARK, ScriptedDriver, cloud_of

THEIRS = Mark.for_job("theirs", Job("job"))


def owned_by(driver: ScriptedDriver, authority: str = "owned") -> Any:
    """Return a cloud in which we own the resources of "pool"."""
    ownership = Ownership("pool", "libra", authority)  # type: ignore[arg-type]
    return cloud_of(driver, ownership=lambda: ownership)


async def test_attaching_requests_once_and_reads_the_result() -> None:
    driver = ScriptedDriver()
    ip, device = driver.add_ip(), driver.add_device()

    attached = await cloud_of(driver).attach_ip(ip.address, device)

    assert attached.device_id == device.id
    assert driver.calls == ["find_ips", "attach_ip", "find_ips"]


@pytest.mark.parametrize(
    "error", [CloudUnavailable("down"), OutcomeUnknown("lost"), Changed("so")]
)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_change_is_requested_until_it_is_in_effect(
    error: PoolmgrError, when: str
) -> None:
    driver = ScriptedDriver()
    ip, device = driver.add_ip(), driver.add_device()
    getattr(driver, when)["attach_ip"] = [error]

    attached = await cloud_of(driver).attach_ip(ip.address, device)

    assert attached.device_id == device.id


async def test_a_change_lost_by_the_cloud_is_requested_again() -> None:
    driver = ScriptedDriver()
    ip, device = driver.add_ip(), driver.add_device()
    attach = driver.attach_ip
    lost = iter([True, True])
    driver.attach_ip = (  # type: ignore[method-assign]
        lambda *args: None if next(lost, False) else attach(*args)
    )

    attached = await cloud_of(driver).attach_ip(ip, device)

    assert attached.device_id == device.id


async def test_the_error_of_a_change_is_noted() -> None:
    driver = ScriptedDriver()
    ip, device = driver.add_ip(), driver.add_device()
    driver.before["attach_ip"] = [Changed("somebody is faster")] * 1000
    with bound(RequestContext()) as context:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60.0):
                await cloud_of(driver).attach_ip(ip, device)

    assert str(context.trouble) == "somebody is faster"


async def test_a_floating_ip_missing_from_one_list_is_found() -> None:
    driver = ScriptedDriver()
    ip = driver.add_ip()
    find = driver.find_ips
    incomplete = iter([True])
    driver.find_ips = (  # type: ignore[method-assign]
        lambda *args: [] if next(incomplete, False) else find(*args)
    )
    cloud = cloud_of(driver)

    assert await cloud.get_ip(ip.address) == ip
    with pytest.raises(NotFound):
        await cloud.get_ip("192.0.2.200")


async def test_a_floating_ip_of_another_device_is_not_detached() -> None:
    driver = ScriptedDriver()
    mine, other = driver.add_device(), driver.add_device()
    ip = driver.add_ip(device_id=other.id)
    cloud = cloud_of(driver)

    with pytest.raises(AttachedElsewhere):
        await cloud.detach_ip(ip.address, mine)
    assert driver.ips[ip.id].device_id == other.id

    assert (await cloud.detach_ip(ip, other)).device_id is None
    assert (await cloud.detach_ip(ip.address, mine)).device_id is None


async def test_deleting_a_floating_ip_twice_succeeds() -> None:
    driver = ScriptedDriver()
    ip = driver.add_ip()
    cloud = cloud_of(driver)

    await cloud.delete_ip(ip)
    await cloud.delete_ip(ip)

    assert driver.ips == {}


async def test_deleting_a_floating_ip_that_stays_listed_fails() -> None:
    driver = ScriptedDriver()
    ip = driver.add_ip()
    driver.delete_ip = lambda *_: False  # type: ignore[method-assign]

    with pytest.raises(CloudUnavailable, match="but still shows it"):
        await cloud_of(driver).delete_ip(ip)


async def test_a_lost_answer_to_an_allocation_leaves_one_floating_ip() -> None:
    driver = ScriptedDriver()
    driver.after["create_ip"] = [OutcomeUnknown("lost")]

    created = await cloud_of(driver).create_ip(MARK)

    assert list(driver.ips) == [created.id]
    assert driver.calls.count("create_ip") == 1


async def test_a_floating_ip_allocated_after_the_timeout_is_deleted() -> None:
    driver = ScriptedDriver()
    driver.seconds["create_ip"] = 5.0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await cloud_of(driver).create_ip(MARK)

    assert driver.ips == {}


async def test_resources_of_others_are_not_changed() -> None:
    """The cloud checks the ownership, so that no action has to."""
    driver = ScriptedDriver()
    cloud = owned_by(driver)
    device = driver.add_device("theirs", mark=THEIRS)
    ip = driver.add_ip(mark=THEIRS, device_id=device.id)
    ours = driver.add_device()
    foreign: list[Callable[[], Awaitable[object]]] = [
        lambda: cloud.mark_device(device, MARK),
        lambda: cloud.delete_device(device),
        lambda: cloud.our_device("theirs"),
        lambda: cloud.our_ip(ip.address),
        lambda: cloud.mark_ip(ip, MARK),
        lambda: cloud.attach_ip(ip.address, ours),
        lambda: cloud.detach_ip(ip),
        lambda: cloud.detach_ip(ip, device),
        lambda: cloud.delete_ip(ip),
    ]

    for change in foreign:
        with pytest.raises(NotOwned):
            await change()

    changes = {"mark", "delete", "attach", "detach"}
    assert not [c for c in driver.calls if c.split("_")[0] in changes]


async def test_a_floating_ip_on_our_device_may_be_moved() -> None:
    driver = ScriptedDriver()
    cloud = owned_by(driver)
    device = driver.add_device()
    ip = driver.add_ip(mark=None, device_id=device.id)

    assert (await cloud.our_ip(ip.address)) == ip
    assert (await cloud.detach_ip(ip, device)).device_id is None
    with pytest.raises(NotOwned):
        await cloud.attach_ip(ip.address, device)
    assert await owned_by(driver, "pattern").attach_ip(ip.address, device)

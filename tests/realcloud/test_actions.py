"""The actions on a real OpenStack, and how it refuses them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from poolmgr import Job, PoolManager
from poolmgr.jobs.message import Message
from poolmgr.ownership import Mark, new_name
from tests.realcloud.conftest import RealCloud
from tests.realcloud.pools import TIMEOUT, Pool


def passed(manager: PoolManager, action: str, **fields: object) -> Message:
    answer = manager.run({"action": action, **fields})
    assert answer["response"] == "PASS", answer
    return answer


def failed(answer: Message) -> dict[str, Any]:
    assert answer["response"] == "FAIL", answer
    error = answer["error"]
    assert isinstance(error, dict)
    return error


def named(cloud: RealCloud) -> dict[str, Any]:
    return {
        "image": cloud.image,
        "flavor": cloud.flavor,
        "networks": (cloud.network,),
        "security_groups": (cloud.security_group,),
        "key_name": cloud.key,
        "server_group": cloud.server_group,
        "floating_network": cloud.external_network,
    }


def by_id(cloud: RealCloud) -> dict[str, Any]:
    there = cloud.connect()
    own = {"project_id": there.current_project_id}
    (network,) = there.network.networks(name=cloud.network, **own)
    group = there.compute.find_server_group(cloud.server_group)
    image = there.image.find_image(cloud.image)
    flavor = there.compute.find_flavor(cloud.flavor)
    (security,) = there.network.security_groups(
        name=cloud.security_group, **own
    )
    external = there.network.find_network(cloud.external_network)
    assert group
    assert image
    assert flavor
    assert external
    return {
        "image": image.id,
        "flavor": flavor.id,
        "networks": (network.id,),
        "security_groups": (security.id,),
        "server_group": group.id,
        "floating_network": external.id,
    }


@pytest.mark.parametrize("parts", [named, by_id])
def test_every_action_works_with_names_and_ids(
    real_cloud: RealCloud,
    pool: Pool,
    parts: Callable[[RealCloud], dict[str, Any]],
) -> None:
    with pool.manager(**parts(real_cloud)) as manager:
        first = passed(manager, "BUILD_DEVICE")
        second = passed(manager, "BUILD_DEVICE")
        ip = passed(manager, "BUILD_IP")["ip"]
        with pool.openstack() as openstack:
            found = openstack.find_ip(str(ip))
        assert found is not None
        for device in (first, second):  # attaching it, then moving it
            passed(manager, "ASSIGN_IP", ip=ip, name=device["name"])
        elsewhere = manager.run(
            {"action": "REMOVE_IP", "ip": ip, "name": first["name"]}
        )
        assert failed(elsewhere)["code"] == "attached_elsewhere"
        passed(manager, "REMOVE_IP", ip=ip, name=second["name"])
        passed(manager, "DELETE_IP", ip=ip)
        for device in (first, second):
            passed(manager, "DELETE_DEVICE", name=device["name"])

    assert pool.devices() == []
    assert pool.ips() == []


def test_device_floating_ip_gives_each_device_its_own(
    pool: Pool,
) -> None:
    with pool.manager(device_floating_ip=True) as manager:
        device = passed(manager, "BUILD_DEVICE")
        (ip,) = pool.ips()
        assert ip.address == device["addr"]
        passed(manager, "DELETE_DEVICE", name=device["name"])

    assert pool.ips() == []


def test_no_valid_host_fails_at_once_and_leaves_nothing_behind(
    real_cloud: RealCloud, pool: Pool
) -> None:
    with pool.manager(flavor=real_cloud.absurd_flavor) as manager:
        error = failed(manager.run({"action": "BUILD_DEVICE"}))

    assert error["code"] == "device_failed"
    assert "No valid host was found" in error["message"]
    assert pool.devices() == []


def test_a_failed_boot_has_a_reason_and_leaves_nothing_behind(
    pool: Pool,
) -> None:
    metadata = ("testcloud_fail=the disk is on fire",)
    with pool.manager(metadata=metadata) as manager:
        error = failed(manager.run({"action": "BUILD_DEVICE"}))

    assert error["code"] == "device_failed"
    assert "the disk is on fire" in error["message"]
    assert pool.devices() == []


def test_an_exceeded_device_quota_is_not_a_device_failure(pool: Pool) -> None:
    with pool.manager(cloud="testcloud-small") as manager:
        built = [passed(manager, "BUILD_DEVICE") for _twice in range(2)]
        error = failed(manager.run({"action": "BUILD_DEVICE"}))
        assert error["code"] == "quota_exceeded"
        assert error["retryable"] is True
        for device in built:
            passed(manager, "DELETE_DEVICE", name=device["name"])
        again = passed(manager, "BUILD_DEVICE")
        passed(manager, "DELETE_DEVICE", name=again["name"])


def test_an_exceeded_floating_ip_quota_fails(pool: Pool) -> None:
    with pool.manager(cloud="testcloud-small") as manager:
        ip = passed(manager, "BUILD_IP")["ip"]
        error = failed(manager.run({"action": "BUILD_IP"}))
        assert error["code"] == "quota_exceeded"
        passed(manager, "DELETE_IP", ip=ip)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("image", "no-such-image"),
        ("flavor", "no-such-flavor"),
        ("networks", ("no-such-network",)),
        ("key_name", "no-such-key"),
        ("security_groups", ("no-such-group",)),
        ("server_group", "no-such-group"),
        ("availability_zones", ("no-such-zone",)),
    ],
)
def test_settings_unknown_to_the_cloud_are_named(
    pool: Pool, setting: str, value: object
) -> None:
    with pool.manager(**{setting: value}) as manager:
        error = failed(manager.run({"action": "BUILD_DEVICE"}))
        found = manager.cloud.check(TIMEOUT)

    assert error["code"] == "cloud_refused"
    assert f"[nova] {setting}: 'no-such-" in error["message"]
    (wrong,) = [finding for finding in found if finding.problem]
    assert wrong.setting == setting


def test_a_wrong_password_is_reported(
    real_cloud: RealCloud, pool: Pool
) -> None:
    auth = real_cloud.connect().config.get_auth_args()
    with pool.manager(
        cloud=None,
        auth_url=auth["auth_url"],
        username=auth["username"],
        project_name=auth["project_name"],
        password="planted-secret",
    ) as manager:
        error = failed(manager.run({"action": "BUILD_DEVICE"}))

    assert error["code"] == "authentication_failed"
    assert "planted-secret" not in error["message"]


def test_a_token_that_expires_during_a_boot_is_renewed(
    real_cloud: RealCloud, pool: Pool
) -> None:
    real_cloud.set_knob("boot_delay", 25)
    with pool.manager(cloud="testcloud-short") as manager:
        device = passed(manager, "BUILD_DEVICE")

    (there,) = pool.devices()
    assert there.name == device["name"]


def test_twenty_concurrent_builds_make_twenty_devices(pool: Pool) -> None:
    with pool.manager() as manager, ThreadPoolExecutor(20) as threads:
        built = list(
            threads.map(
                lambda _number: passed(manager, "BUILD_DEVICE"), range(20)
            )
        )

    names = {device["name"] for device in built}
    there = pool.devices()
    assert len(names) == 20
    assert {device.name for device in there} == names
    assert len({device["addr"] for device in built}) == 20
    for device in there:
        assert device.mark is not None
        assert device.mark.state == "handed over"


@pytest.mark.parametrize("boots", [True, False])
def test_a_redelivery_takes_over_the_earlier_device(
    real_cloud: RealCloud, pool: Pool, boots: bool
) -> None:
    old, new = Job("a job", "H:a:1"), Job("a job", "H:b:9")
    real_cloud.set_knob("boot_delay", 3 if boots else 0)
    with pool.manager() as manager:
        left = manager.cloud.create_device(
            new_name(pool.name), Mark.for_job(pool.name, old)
        )
        if not boots:
            manager.cloud.wait_ready(left)

        answer = manager.run({"action": "BUILD_DEVICE"}, new)

    assert answer["response"] == "PASS", answer
    (there,) = pool.devices()
    assert there.id == left.id
    assert there.mark is not None
    assert (there.mark.state, there.mark.handle) == ("handed over", "H:b:9")

"""Tests of the actions on a real OpenStack."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from poolmgr import Job, PoolManager
from poolmgr.jobs.message import Message
from poolmgr.ownership import Mark, new_name
from tests.realcloud.conftest import RealCloud
from tests.realcloud.pools import TIMEOUT, Pool


def run_passing(
    manager: PoolManager, action: str, **fields: object
) -> Message:
    answer = manager.run({"action": action, **fields})
    assert answer["response"] == "PASS", answer
    return answer


def error_of(answer: Message) -> dict[str, Any]:
    assert answer["response"] == "FAIL", answer
    error = answer["error"]
    assert isinstance(error, dict)
    return error


def settings_by_name(cloud: RealCloud) -> dict[str, Any]:
    return {
        "image": cloud.image,
        "flavor": cloud.flavor,
        "networks": (cloud.network,),
        "security_groups": (cloud.security_group,),
        "key_name": cloud.key,
        "server_group": cloud.server_group,
        "floating_network": cloud.external_network,
    }


def settings_by_id(cloud: RealCloud) -> dict[str, Any]:
    connection = cloud.connect()
    own = {"project_id": connection.current_project_id}
    (network,) = connection.network.networks(name=cloud.network, **own)
    group = connection.compute.find_server_group(cloud.server_group)
    image = connection.image.find_image(cloud.image)
    flavor = connection.compute.find_flavor(cloud.flavor)
    (security,) = connection.network.security_groups(
        name=cloud.security_group, **own
    )
    external = connection.network.find_network(cloud.external_network)
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


@pytest.mark.parametrize("settings", [settings_by_name, settings_by_id])
def test_every_action_works_with_names_and_ids(
    real_cloud: RealCloud,
    pool: Pool,
    settings: Callable[[RealCloud], dict[str, Any]],
) -> None:
    with pool.manager(**settings(real_cloud)) as manager:
        first = run_passing(manager, "BUILD_DEVICE")
        second = run_passing(manager, "BUILD_DEVICE")
        ip = run_passing(manager, "BUILD_IP")["ip"]
        with pool.openstack() as openstack:
            found = openstack.find_ip(str(ip))
        assert found is not None
        # The second assignment moves the address.
        for device in (first, second):
            run_passing(manager, "ASSIGN_IP", ip=ip, name=device["name"])
        refused = manager.run(
            {"action": "REMOVE_IP", "ip": ip, "name": first["name"]}
        )
        assert error_of(refused)["code"] == "attached_elsewhere"
        run_passing(manager, "REMOVE_IP", ip=ip, name=second["name"])
        run_passing(manager, "DELETE_IP", ip=ip)
        for device in (first, second):
            run_passing(manager, "DELETE_DEVICE", name=device["name"])

    assert pool.devices() == []
    assert pool.ips() == []


def test_device_floating_ip_gives_each_device_a_floating_ip(
    pool: Pool,
) -> None:
    with pool.manager(device_floating_ip=True) as manager:
        device = run_passing(manager, "BUILD_DEVICE")
        (ip,) = pool.ips()
        assert ip.address == device["addr"]
        run_passing(manager, "DELETE_DEVICE", name=device["name"])

    assert pool.ips() == []


def test_a_build_without_a_valid_host_fails_and_leaves_no_device(
    real_cloud: RealCloud, pool: Pool
) -> None:
    with pool.manager(flavor=real_cloud.absurd_flavor) as manager:
        error = error_of(manager.run({"action": "BUILD_DEVICE"}))

    assert error["code"] == "device_failed"
    assert "No valid host was found" in error["message"]
    assert pool.devices() == []


def test_a_failed_boot_is_reported_with_its_reason_and_leaves_no_device(
    pool: Pool,
) -> None:
    metadata = ("testcloud_fail=the disk is on fire",)
    with pool.manager(metadata=metadata) as manager:
        error = error_of(manager.run({"action": "BUILD_DEVICE"}))

    assert error["code"] == "device_failed"
    assert "the disk is on fire" in error["message"]
    assert pool.devices() == []


def test_an_exceeded_device_quota_is_not_a_device_failure(pool: Pool) -> None:
    with pool.manager(cloud="testcloud-small") as manager:
        built = [run_passing(manager, "BUILD_DEVICE") for _twice in range(2)]
        error = error_of(manager.run({"action": "BUILD_DEVICE"}))
        assert error["code"] == "quota_exceeded"
        assert error["retryable"] is True
        for device in built:
            run_passing(manager, "DELETE_DEVICE", name=device["name"])
        again = run_passing(manager, "BUILD_DEVICE")
        run_passing(manager, "DELETE_DEVICE", name=again["name"])


def test_an_exceeded_floating_ip_quota_fails(pool: Pool) -> None:
    with pool.manager(cloud="testcloud-small") as manager:
        ip = run_passing(manager, "BUILD_IP")["ip"]
        error = error_of(manager.run({"action": "BUILD_IP"}))
        assert error["code"] == "quota_exceeded"
        run_passing(manager, "DELETE_IP", ip=ip)


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
def test_the_error_names_a_setting_unknown_to_the_cloud(
    pool: Pool, setting: str, value: object
) -> None:
    with pool.manager(**{setting: value}) as manager:
        error = error_of(manager.run({"action": "BUILD_DEVICE"}))
        findings = manager.cloud.check(TIMEOUT)

    assert error["code"] == "cloud_refused"
    assert f"[nova] {setting}: 'no-such-" in error["message"]
    (problem,) = [finding for finding in findings if finding.problem]
    assert problem.setting == setting


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
        error = error_of(manager.run({"action": "BUILD_DEVICE"}))

    assert error["code"] == "authentication_failed"
    assert "planted-secret" not in error["message"]


def test_a_token_that_expires_during_a_boot_is_renewed(
    real_cloud: RealCloud, pool: Pool
) -> None:
    real_cloud.set_knob("boot_delay", 25)
    with pool.manager(cloud="testcloud-short") as manager:
        device = run_passing(manager, "BUILD_DEVICE")

    (found,) = pool.devices()
    assert found.name == device["name"]


def test_twenty_concurrent_builds_create_twenty_devices(pool: Pool) -> None:
    with pool.manager() as manager, ThreadPoolExecutor(20) as threads:
        built = list(
            threads.map(
                lambda _number: run_passing(manager, "BUILD_DEVICE"), range(20)
            )
        )

    names = {device["name"] for device in built}
    devices = pool.devices()
    assert len(names) == 20
    assert {device.name for device in devices} == names
    assert len({device["addr"] for device in built}) == 20
    for device in devices:
        assert device.mark is not None
        assert device.mark.state == "handed over"


@pytest.mark.parametrize("boots", [True, False])
def test_a_redelivery_takes_over_the_earlier_device(
    real_cloud: RealCloud, pool: Pool, boots: bool
) -> None:
    old, new = Job("a job", "H:a:1"), Job("a job", "H:b:9")
    real_cloud.set_knob("boot_delay", 3 if boots else 0)
    with pool.manager() as manager:
        earlier = manager.cloud.create_device(
            new_name(pool.name), Mark.for_job(pool.name, old)
        )
        if not boots:
            manager.cloud.wait_ready(earlier)

        answer = manager.run({"action": "BUILD_DEVICE"}, new)

    assert answer["response"] == "PASS", answer
    (device,) = pool.devices()
    assert device.id == earlier.id
    assert device.mark is not None
    assert (device.mark.state, device.mark.handle) == ("handed over", "H:b:9")

"""Tests of single settings of the Nova driver."""

import json
from pathlib import Path
from typing import Any

import pytest

from poolmgr import PoolManager
from poolmgr.errors import CloudUnavailable, ConfigError
from poolmgr.settings import PoolSettings
from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.clouds import nova_on, openstack_on, settings_for


def test_the_floating_network_must_be_external() -> None:
    with (
        LoopbackCloud() as cloud,
        openstack_on(cloud, floating_network="private") as openstack,
    ):
        (wrong,) = [f for f in openstack.check() if f.problem]

    assert wrong.setting == "floating_network"
    assert "'private' not found among the external" in str(wrong.problem)


@pytest.mark.parametrize(
    ("setting", "kind"),
    [
        ("image", "active images"),
        ("flavor", "flavors"),
        ("networks", "networks"),
        ("security_groups", "security groups"),
        ("server_group", "server groups"),
    ],
)
def test_a_misspelled_name_is_reported_with_its_kind(
    setting: str, kind: str
) -> None:
    value: Any = ("wrong",) if setting.endswith("s") else "wrong"
    with (
        LoopbackCloud() as cloud,
        openstack_on(cloud, **{setting: value}) as openstack,
    ):
        (wrong,) = [f for f in openstack.check() if f.problem]

    assert str(wrong.problem).endswith(f": 'wrong' not found among the {kind}")


def test_check_shows_the_resources_it_found(tmp_path: Path) -> None:
    data = tmp_path / "user-data"
    data.write_text("#!/bin/sh\n")
    with (
        LoopbackCloud() as cloud,
        openstack_on(
            cloud, networks=(), user_data=str(data), key_name="poolkey"
        ) as openstack,
    ):
        found = {f.setting: f.found for f in openstack.check()}

        assert found["image"] == cloud.ids["tiny"]
        assert found["user_data"] == "10 bytes"
        assert found["key_name"] == "poolkey"


def test_jobs_reuse_the_lookups_of_check() -> None:
    with LoopbackCloud() as cloud, nova_on(cloud) as driver:
        manager = PoolManager(driver)
        manager.cloud.check()
        cloud.forget_calls()

        manager.execute("BUILD_DEVICE")
        manager.execute("BUILD_IP")

        assert not cloud.count("GET", path="/images|/flavors|/networks")


def test_metadata_and_user_data_are_given_to_the_device(
    tmp_path: Path,
) -> None:
    data = tmp_path / "user-data"
    data.write_text("#!/bin/sh\n")
    with (
        LoopbackCloud() as cloud,
        nova_on(
            cloud,
            metadata=("role=lb", "note=a=b"),
            user_data=str(data),
            config_drive=True,
            server_group="apart",
        ) as driver,
    ):
        PoolManager(driver).execute("BUILD_DEVICE")
        (post,) = [c for c in cloud.calls if c.path == "/servers"]

        server = post.body["server"]
        assert server["metadata"]["role"] == "lb"
        assert server["metadata"]["note"] == "a=b"
        assert server["metadata"]["poolmgr_state"] == "building"
        assert server["user_data"] == "IyEvYmluL3NoCg=="
        assert server["config_drive"] is True
        hints = post.body["os:scheduler_hints"]
        assert hints == {"group": cloud.ids["apart"]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metadata": ("role",)}, "KEY=VALUE"),
        ({"metadata": ("poolmgr_pool=x",)}, "none of poolmgr_"),
        ({"metadata": ("a/b=x",)}, "KEY=VALUE"),
        ({"metadata": ("a=" + "x" * 256,)}, "255"),
        ({"address_version": "5"}, "must be one of 4, 6"),
        (
            {"address_type": "floating", "address_version": "6"},
            "floating IPs are IPv4",
        ),
        ({"calls_at_once": 0}, "at least 1"),
    ],
)
def test_invalid_settings_are_refused(
    changes: dict[str, object], words: str
) -> None:
    with LoopbackCloud() as cloud:
        with pytest.raises(ConfigError, match=words):
            settings_for(cloud, **changes)


def test_an_unreachable_service_is_named_in_the_error() -> None:
    with LoopbackCloud() as cloud:
        settings = settings_for(cloud)
    closed = settings.auth_url
    assert closed is not None
    url = closed.removesuffix("/identity/v3")

    with (
        LoopbackCloud() as other,
        openstack_on(other, 1.5, auth_url=closed) as openstack,
    ):
        with pytest.raises(CloudUnavailable) as caught:
            openstack.find_ip("198.18.0.1")

    assert f"cannot reach {url}: Connection refused" in str(caught.value)


def test_calls_keep_to_the_rate_limit() -> None:
    with (
        LoopbackCloud(rate_limit=20.0) as cloud,
        nova_on(cloud, calls_per_second=15.0) as driver,
    ):
        manager = PoolManager(driver, PoolSettings(explain_failures=True))
        jobs = [manager.submit({"action": "BUILD_IP"}) for _ in range(30)]
        answers = [job.future.result().answer for job in jobs]

        assert {a["response"] for a in answers} == {"PASS"}, json.dumps(
            answers
        )
        assert not [c for c in cloud.calls if c.status == 429]


def test_builds_work_without_an_external_network() -> None:
    with (
        LoopbackCloud(external_networks=()) as cloud,
        nova_on(cloud, floating_network=None) as driver,
    ):
        manager = PoolManager(driver, PoolSettings(explain_failures=True))
        found = {f.setting: f for f in manager.cloud.check()}
        manager.execute("BUILD_DEVICE")
        answer = manager.run({"action": "BUILD_IP"})

    assert found["floating_network"].problem is None
    assert "no floating IPs" in found["floating_network"].found
    assert "there are no external networks" in json.dumps(answer)


def test_build_ip_does_not_wait_for_the_lookups_of_a_build() -> None:
    with LoopbackCloud() as cloud, nova_on(cloud) as driver:
        cloud.fault(Fault(service="image", hang=30.0, times=None))
        manager = PoolManager(driver)
        build = manager.submit({"action": "BUILD_DEVICE"})

        manager.execute("BUILD_IP")

        assert not build.future.done()
        manager.stop()

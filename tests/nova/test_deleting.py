"""Tests of DELETE_DEVICE."""

import pytest

from poolmgr.testing.openstack import Fate, Fault
from tests.nova.pools import (
    DETAILS,
    DEVICE_NAME,
    ONE_SERVER,
    Pool,
    Pools,
    error_of,
    fault_id,
)


def test_a_device_is_deleted_when_the_answer_arrives(pools: Pools) -> None:
    pool = pools.new({"delete_time": 0.3})
    device = pool.build()

    answer = pool.passes("DELETE_DEVICE", name=device["name"])

    assert answer == {
        "action": "DELETE_DEVICE",
        "name": device["name"],
        "response": "PASS",
    }
    assert not pool.cloud.servers


@pytest.mark.parametrize(
    "fault",
    [
        Fault(method="DELETE", path=ONE_SERVER, status=409),
        Fault(method="DELETE", path=ONE_SERVER, status=500),
        Fault(method="DELETE", path=ONE_SERVER, status=500, after=True),
        Fault(method="DELETE", path=ONE_SERVER, reset=True),
        Fault(method="DELETE", path=ONE_SERVER, reset=True, after=True),
        Fault(method="DELETE", path=ONE_SERVER, status=429, retry_after=0.3),
        Fault(method="DELETE", path=ONE_SERVER, html=True),
        Fault(method="DELETE", path=ONE_SERVER, hang=9.0),
        # Somebody else deletes the device meanwhile.
        Fault(method="DELETE", path=ONE_SERVER, status=404, after=True),
        Fault(path=DETAILS, status=500),
        Fault(path=DETAILS, reset=True),
        Fault(path=DETAILS, html=True),
    ],
    ids=fault_id,
)
def test_a_failed_deletion_is_retried(pools: Pools, fault: Fault) -> None:
    pool = pools.new(nova={"call_timeout": 0.5})
    device = pool.build()
    pool.fault(fault)

    pool.passes("DELETE_DEVICE", name=device["name"])

    assert not pool.cloud.servers


@pytest.mark.parametrize(
    "fate",
    [Fate(error="Failed to terminate."), Fate(lost=True)],
    ids=["goes to ERROR", "lost"],
)
def test_an_ineffective_deletion_is_repeated(pool: Pool, fate: Fate) -> None:
    device = pool.build()
    pool.fault(Fault(method="DELETE", path=ONE_SERVER, fate=fate))

    pool.passes("DELETE_DEVICE", name=device["name"])

    assert not pool.cloud.servers
    assert pool.cloud.count("DELETE", path=ONE_SERVER) >= 2


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 409},
        {"status": 500},
        {"fate": Fate(error="No.")},
        {"fate": Fate(lost=True)},
    ],
    ids=str,
)
def test_a_deletion_that_never_succeeds_is_a_retryable_fail(
    pools: Pools, fault: dict[str, object]
) -> None:
    pool = pools.new(short_timeout=0.8)
    device = pool.build()
    rule = {"method": "DELETE", "path": ONE_SERVER, "times": None, **fault}
    pool.fault(Fault(**rule))  # type: ignore[arg-type]

    error = error_of(pool.run("DELETE_DEVICE", name=device["name"]))

    assert error["code"] in ("cloud_unavailable", "deadline")
    assert error["retryable"]
    assert pool.only_server()["name"] == device["name"]


def test_a_device_missing_from_one_list_is_not_taken_for_deleted(
    pools: Pools,
) -> None:
    pool = pools.new({"delete_time": 0.5})
    device = pool.build()
    empty_list = Fault(path=DETAILS, status=200, body={"servers": []}, skip=1)
    pool.fault(empty_list)

    pool.passes("DELETE_DEVICE", name=device["name"])

    assert not pool.cloud.servers


def test_a_soft_deleted_device_counts_as_deleted(
    pools: Pools,
) -> None:
    pool = pools.new({"soft_delete": True})
    device = pool.build()

    pool.passes("DELETE_DEVICE", name=device["name"])

    assert pool.only_server()["status"] == "SOFT_DELETED"
    pool.fails("DELETE_DEVICE", "not_found", name=device["name"])


def test_a_booting_device_is_deleted(pools: Pools) -> None:
    pool = pools.new({"boot_time": 0.5})
    pool.create_foreign_server(DEVICE_NAME)

    pool.passes("DELETE_DEVICE", name=DEVICE_NAME)

    assert not pool.cloud.servers


def test_delete_device_of_a_missing_device_fails(pool: Pool) -> None:
    pool.build()

    pool.fails("DELETE_DEVICE", "not_found", name=DEVICE_NAME)

    assert pool.cloud.count("DELETE") == 0


def test_devices_with_the_same_name_are_not_deleted(pool: Pool) -> None:
    pool.create_foreign_server(DEVICE_NAME)
    pool.create_foreign_server(DEVICE_NAME)

    pool.fails("DELETE_DEVICE", "ambiguous", name=DEVICE_NAME)

    assert len(pool.cloud.servers) == 2
    assert pool.cloud.count("DELETE") == 0


@pytest.mark.parametrize(
    "name",
    [
        DEVICE_NAME[:-1],
        DEVICE_NAME[1:],
        DEVICE_NAME.upper(),
        DEVICE_NAME.replace("-", "."),
        f"{DEVICE_NAME}0",
        "l",
    ],
)
def test_only_an_exact_name_is_deleted(pool: Pool, name: str) -> None:
    pool.create_foreign_server(DEVICE_NAME)

    pool.fails("DELETE_DEVICE", "not_found", name=name)

    assert pool.only_server()["name"] == DEVICE_NAME


def test_a_dot_in_a_name_is_not_a_pattern(pools: Pools) -> None:
    pool = pools.new(authority="any")
    pool.create_foreign_server("a.b")
    pool.create_foreign_server("a-b")

    pool.passes("DELETE_DEVICE", name="a.b")

    assert pool.only_server()["name"] == "a-b"


def test_concurrent_deletions_pass(pools: Pools) -> None:
    pool = pools.new({"delete_time": 0.2})
    builds = [pool.submit("BUILD_DEVICE") for _job in range(20)]
    names = [job.future.result().answer["name"] for job in builds]

    jobs = [
        pool.manager.submit({"action": "DELETE_DEVICE", "name": name})
        for name in names
    ]

    for job in jobs:
        assert job.future.result().answer["response"] == "PASS"
    assert not pool.cloud.servers

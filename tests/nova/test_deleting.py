"""DELETE_DEVICE: gone when it says so, and only what was named."""

import pytest

from poolmgr.testing.openstack import Fate, Fault
from tests.nova.pools import (
    DETAILS,
    ONE_SERVER,
    PATTERN,
    Pool,
    Pools,
    error_of,
    id_of,
)


def test_a_device_is_gone_when_the_answer_comes(pools: Pools) -> None:
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
        # It was deleted by somebody else in between.
        Fault(method="DELETE", path=ONE_SERVER, status=404, after=True),
        Fault(path=DETAILS, status=500),
        Fault(path=DETAILS, reset=True),
        Fault(path=DETAILS, html=True),
    ],
    ids=id_of,
)
def test_what_fails_once_is_tried_again(pools: Pools, fault: Fault) -> None:
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
def test_a_device_that_stays_is_deleted_again(pool: Pool, fate: Fate) -> None:
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
def test_a_device_that_stays_for_good_is_a_fail(
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


def test_a_list_with_a_hole_is_no_deletion(pools: Pools) -> None:
    pool = pools.new({"delete_time": 0.5})
    device = pool.build()
    hole = Fault(path=DETAILS, status=200, body={"servers": []}, skip=1)
    pool.fault(hole)

    pool.passes("DELETE_DEVICE", name=device["name"])

    assert not pool.cloud.servers


def test_a_device_that_nova_keeps_for_a_while_counts_as_gone(
    pools: Pools,
) -> None:
    pool = pools.new({"soft_delete": True})
    device = pool.build()

    pool.passes("DELETE_DEVICE", name=device["name"])

    assert pool.only_server()["status"] == "SOFT_DELETED"
    pool.fails("DELETE_DEVICE", "not_found", name=device["name"])


def test_a_device_that_still_boots_is_deleted(pools: Pools) -> None:
    pool = pools.new({"boot_time": 0.5})
    pool.server(PATTERN)

    pool.passes("DELETE_DEVICE", name=PATTERN)

    assert not pool.cloud.servers


def test_a_device_that_is_not_there_is_a_fail(pool: Pool) -> None:
    pool.build()

    pool.fails("DELETE_DEVICE", "not_found", name=PATTERN)

    assert pool.cloud.count("DELETE") == 0


def test_of_two_of_one_name_none_is_touched(pool: Pool) -> None:
    pool.server(PATTERN)
    pool.server(PATTERN)

    pool.fails("DELETE_DEVICE", "ambiguous", name=PATTERN)

    assert len(pool.cloud.servers) == 2
    assert pool.cloud.count("DELETE") == 0


@pytest.mark.parametrize(
    "name",
    [
        PATTERN[:-1],
        PATTERN[1:],
        PATTERN.upper(),
        PATTERN.replace("-", "."),
        f"{PATTERN}0",
        "l",
    ],
)
def test_only_what_is_named_exactly_so_is_deleted(
    pool: Pool, name: str
) -> None:
    pool.server(PATTERN)

    pool.fails("DELETE_DEVICE", "not_found", name=name)

    assert pool.only_server()["name"] == PATTERN


def test_a_name_with_a_dot_is_no_pattern(pools: Pools) -> None:
    pool = pools.new(authority="any")
    pool.server("a.b")
    pool.server("a-b")

    pool.passes("DELETE_DEVICE", name="a.b")

    assert pool.only_server()["name"] == "a-b"


def test_many_are_deleted_at_once(pools: Pools) -> None:
    pool = pools.new({"delete_time": 0.2})
    builds = [pool.submit("BUILD_DEVICE") for _twenty in range(20)]
    names = [job.future.result().answer["name"] for job in builds]

    jobs = [
        pool.manager.submit({"action": "DELETE_DEVICE", "name": name})
        for name in names
    ]

    for job in jobs:
        assert job.future.result().answer["response"] == "PASS"
    assert not pool.cloud.servers

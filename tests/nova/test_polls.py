"""Tests of failed polls while a device boots."""

import pytest

from poolmgr.testing.openstack import Fault
from tests.nova.pools import BAD_GATEWAY, DETAILS, ONE_SERVER, Pools


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "retry_after": 0.2},
        {"status": 500},
        {"status": 502, "body": BAD_GATEWAY},
        {"status": 503},
        {"status": 404},
        {"status": 200, "body": {}},
        {"status": 200, "body": {"servers": None}},
        {"status": 200, "body": "[]"},
        {"status": 204},
        {"reset": True},
        {"html": True},
        {"truncate": True},
        {"hang": 9.0},
        {"drip": 0.05},
    ],
    ids=str,
)
def test_a_failed_poll_is_retried(
    pools: Pools, fault: dict[str, object], times: int
) -> None:
    pool = pools.new({"boot_time": 0.3}, {"call_timeout": 0.3})
    # The first list is not a poll: it looks for an earlier delivery's device.
    rule = Fault(path=DETAILS, skip=1, times=times, **fault)  # type: ignore[arg-type]
    pool.fault(rule)

    answer = pool.build()

    assert pool.only_server()["name"] == answer["name"]
    assert pool.posts() == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 200, "body": {}},
        {"status": 200, "body": {"server": None}},
        {"status": 500},
        {"reset": True},
    ],
    ids=str,
)
def test_a_failed_read_of_a_single_server_is_retried(
    pools: Pools, fault: dict[str, object]
) -> None:
    pool = pools.new({"boot_time": 0.5}, {"call_timeout": 0.3})
    pool.fault(
        Fault(
            path=DETAILS,
            status=200,
            body={"servers": []},
            skip=1,
            times=None,
        ),
        Fault(method="GET", path=ONE_SERVER, **fault),  # type: ignore[arg-type]
    )

    pool.build()

    assert pool.cloud.count("GET", path=ONE_SERVER) >= 1
    assert pool.posts() == 1


def test_polls_obey_retry_after(
    pools: Pools,
) -> None:
    # Longer than a call's timeout, so the poll itself fails.
    pool = pools.new({"boot_time": 0.3}, {"call_timeout": 1.0})
    pause = 1.5
    pool.fault(Fault(path=DETAILS, skip=1, status=429, retry_after=pause))

    pool.build()

    _first, refused, again, *_others = pool.calls("GET", DETAILS)
    assert again.when - refused.when >= pause - 0.2


def test_polls_that_fail_until_the_deadline_are_the_reason(
    pools: Pools,
) -> None:
    pool = pools.new(long_timeout=2.0)
    fault = Fault(path=DETAILS, skip=1, status=500, times=None)
    pool.fault(fault)

    reason = pool.fails("BUILD_DEVICE", "cloud_unavailable")

    assert reason.startswith("Nova answered 500 to GET /servers/detail")
    assert not pool.cloud.servers

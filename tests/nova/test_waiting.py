"""Status reads that fail while a device boots are waited out."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from poolmgr.testing.openstack import Fault
from tests.nova.pools import (
    DETAILS,
    ONE_SERVER,
    Pool,
    Pools,
    error_of,
)
from tests.polling import until

PAGE = "<html><body><h1>502 Bad Gateway</h1></body></html>"


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "retry_after": 0.2},
        {"status": 500},
        {"status": 502, "body": PAGE},
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
def test_a_read_that_fails_is_waited_out(
    pools: Pools, fault: dict[str, object], times: int
) -> None:
    pool = pools.new({"boot_time": 0.3}, {"call_timeout": 0.3})
    # The first list is not the watch's: it looks for an earlier delivery's.
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
        {"status": 403},
        {"reset": True},
    ],
    ids=str,
)
def test_a_single_read_that_fails_is_waited_out_as_well(
    pools: Pools, fault: dict[str, object]
) -> None:
    pool = pools.new({"boot_time": 0.5}, {"call_timeout": 0.3})
    pool.fault(
        Fault(path=DETAILS, status=200, body={"servers": []}, skip=1),
        Fault(method="GET", path=ONE_SERVER, **fault),  # type: ignore[arg-type]
    )

    pool.build()

    assert pool.cloud.count("GET", path=ONE_SERVER) >= 1
    assert pool.posts() == 1


@pytest.mark.parametrize("kind", ["seconds", "date"])
def test_the_watch_leaves_the_cloud_alone_for_as_long_as_it_asks(
    pools: Pools, kind: str
) -> None:
    # Longer than a call may take: then it is the watch that has to wait.
    pool = pools.new({"boot_time": 0.3}, {"call_timeout": 0.4})
    pause = 1.2
    value: float | datetime = pause
    if kind == "date":  # it has whole seconds
        value = datetime.now(UTC) + timedelta(seconds=pause + 1)
    pool.fault(Fault(path=DETAILS, skip=1, status=429, retry_after=value))

    pool.build()

    _first, refused, again, *_others = pool.calls("GET", DETAILS)
    assert again.when - refused.when >= pause - 0.2


def test_reads_that_always_fail_end_at_the_deadline(pools: Pools) -> None:
    pool = pools.new(long_timeout=0.6)
    fault = Fault(path=DETAILS, skip=1, status=500, times=None)
    pool.fault(fault)

    pool.fails("BUILD_DEVICE", "deadline")

    assert not pool.cloud.servers


def test_an_expired_token_in_mid_build_is_renewed(pools: Pools) -> None:
    pool = pools.new({"boot_time": 0.6})
    job = pool.submit("BUILD_DEVICE")
    until(lambda: pool.cloud.servers)

    pool.cloud.expire_tokens()

    assert job.future.result().answer["response"] == "PASS"
    assert pool.cloud.count("POST", "identity") == 2


def test_a_token_that_expires_under_many_builds_is_renewed_once(
    pools: Pools,
) -> None:
    pool = pools.new()
    pool.build()
    pool.cloud.expire_tokens()
    pool.cloud.forget_calls()

    jobs = [pool.submit("BUILD_DEVICE") for _thirty in range(30)]

    for job in jobs:
        assert job.future.result().answer["response"] == "PASS"
    assert pool.cloud.count("POST", "identity") == 1
    assert len(pool.cloud.servers) == 31


def test_many_builds_cost_one_token(pools: Pools) -> None:
    pool = pools.new()

    jobs = [pool.submit("BUILD_DEVICE") for _thirty in range(30)]

    for job in jobs:
        assert job.future.result().answer["response"] == "PASS"
    assert pool.cloud.count("POST", "identity") == 1
    assert pool.posts() == len(pool.cloud.servers) == 30


def test_a_keystone_that_hangs_keeps_nobody_past_the_time(
    pools: Pools,
) -> None:
    pool = pools.new(
        nova={"call_timeout": 0.5}, short_timeout=1.0, long_timeout=1.0
    )
    ip = pool.ip()
    pool.cloud.expire_tokens()
    pool.fault(Fault(service="identity", hang=60.0, times=None))

    begun = time.monotonic()
    jobs = [pool.submit("BUILD_IP") for _ten in range(10)]
    for job in jobs:
        error = error_of(job.future.result().answer)
        assert error["code"] in ("cloud_unavailable", "deadline")
        assert error["retryable"]

    assert time.monotonic() - begun < 6.0
    assert pool.only_ip()["floating_ip_address"] == ip["ip"]


@pytest.mark.parametrize("service", ["identity", "compute", "network"])
def test_a_service_that_hangs_at_the_start_is_no_end(
    pools: Pools, service: str
) -> None:
    pool = pools.new(nova={"call_timeout": 0.3})
    pool.fault(Fault(service=service, hang=60.0, times=2))

    pool.build()

    assert len(pool.cloud.servers) == 1


@pytest.mark.parametrize("service", ["identity", "compute", "network"])
@pytest.mark.parametrize("fault", [{"status": 500}, {"html": True}], ids=str)
def test_a_service_that_is_broken_at_the_start_is_no_end(
    pool: Pool, service: str, fault: dict[str, object]
) -> None:
    pool.fault(Fault(service=service, times=2, **fault))  # type: ignore[arg-type]

    pool.build()

    assert len(pool.cloud.servers) == 1

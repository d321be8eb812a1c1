"""Tests of tokens and of services that hang."""

import threading
import time

import pytest

from poolmgr.testing.openstack import Call, Fault, LoopbackCloud
from tests.nova.pools import SERVERS, Pool, Pools, error_of
from tests.polling import until

#: Seconds that a service hangs, far beyond each deadline.
HANG = 60.0
#: Seconds after which an action with a deadline of one second is late.
LATE = 30.0


def test_a_wrong_password_fails_without_a_second_login(pools: Pools) -> None:
    pool = pools.new(nova={"password": "not-the-password"})

    for action in ("BUILD_DEVICE", "BUILD_IP"):
        pool.fails(action, "authentication_failed")

    assert pool.cloud.count("POST", "identity") == 1


def test_an_unreachable_keystone_is_a_retryable_failure(pools: Pools) -> None:
    with LoopbackCloud() as stopped:
        nova = {"auth_url": stopped.auth_url}
    pool = pools.new(nova=nova, short_timeout=0.5, long_timeout=0.5)

    for action in ("BUILD_DEVICE", "BUILD_IP"):
        error = error_of(pool.run(action))
        assert error["code"] in ("cloud_unavailable", "deadline")
        assert error["retryable"]


@pytest.mark.parametrize("status", [413, 429, 500, 502, 503])
def test_a_login_to_a_busy_keystone_is_retried(
    pool: Pool, status: int
) -> None:
    pool.fault(
        Fault(service="identity", method="POST", status=status, retry_after=0)
    )

    pool.build()

    assert pool.cloud.count("POST", "identity") == 2


# -- tokens -------------------------------------------------------------------


def test_concurrent_builds_share_one_token(pools: Pools) -> None:
    pool = pools.new()

    jobs = [pool.submit("BUILD_DEVICE") for _job in range(30)]

    for job in jobs:
        assert job.future.result().answer["response"] == "PASS"
    assert pool.cloud.count("POST", "identity") == 1
    assert pool.posts() == len(pool.cloud.servers) == 30


def test_a_token_of_two_minutes_is_used_for_many_calls(pools: Pools) -> None:
    pool = pools.new({"token_lifetime": 120.0})

    for _job in range(3):
        pool.build_ip()

    assert pool.cloud.count("POST", "identity") == 1


def test_a_token_that_expires_during_a_build_is_renewed(pools: Pools) -> None:
    pool = pools.new({"boot_time": 0.6})
    job = pool.submit("BUILD_DEVICE")
    until(lambda: pool.cloud.servers)

    pool.cloud.expire_tokens()

    assert job.future.result().answer["response"] == "PASS"
    assert pool.cloud.count("POST", "identity") == 2


def test_an_expired_token_is_renewed_once_for_concurrent_builds(
    pools: Pools,
) -> None:
    pool = pools.new()
    pool.build()
    pool.cloud.expire_tokens()
    pool.cloud.forget_calls()

    jobs = [pool.submit("BUILD_DEVICE") for _job in range(30)]

    for job in jobs:
        assert job.future.result().answer["response"] == "PASS"
    assert pool.cloud.count("POST", "identity") == 1
    assert len(pool.cloud.servers) == 31


def test_a_token_refused_to_concurrent_builds_is_renewed_once(
    pools: Pools,
) -> None:
    # All jobs send the old token before the first is refused.
    pool = pools.new({"latency": 0.1})
    pool.build()
    pool.cloud.forget_calls()
    first = threading.Lock()

    def expire_tokens(_call: Call) -> bool:
        if first.acquire(blocking=False):
            pool.cloud.expire_tokens()
        return False

    pool.fault(
        Fault(method="POST", path=SERVERS, status=500, where=expire_tokens)
    )
    jobs = [pool.submit("BUILD_DEVICE") for _job in range(20)]

    for job in jobs:
        assert job.future.result().answer["response"] == "PASS"
    assert len(pool.cloud.servers) == 21
    assert pool.cloud.count("POST", "identity") == 1


# -- services that hang -------------------------------------------------------


def shorten_timeouts(pool: Pool) -> None:
    """Set all deadlines to one second."""
    pool.adopt(short_timeout=1.0, long_timeout=1.0)


@pytest.mark.parametrize("service", ["identity", "compute", "network"])
def test_actions_end_at_the_deadline_while_a_service_hangs(
    pools: Pools, service: str
) -> None:
    pool = pools.new(nova={"call_timeout": 0.3})
    device, ip = pool.build(), pool.build_ip()
    pool.cloud.expire_tokens()
    pool.fault(Fault(service=service, hang=HANG, times=None))
    shorten_timeouts(pool)

    for action in ("ASSIGN_IP", "REMOVE_IP", "DELETE_IP", "DELETE_DEVICE"):
        start = time.monotonic()
        pool.run(action, ip=ip["ip"], name=device["name"])
        assert time.monotonic() - start < LATE


def test_jobs_end_at_the_deadline_while_a_token_renewal_hangs(
    pools: Pools,
) -> None:
    pool = pools.new(nova={"call_timeout": 0.3})
    ip = pool.build_ip()
    pool.cloud.expire_tokens()
    pool.fault(Fault(service="identity", hang=HANG, times=None))
    shorten_timeouts(pool)

    start = time.monotonic()
    jobs = [pool.submit("BUILD_IP") for _job in range(30)]

    for job in jobs:
        error = error_of(job.future.result().answer)
        assert error["code"] in ("cloud_unavailable", "deadline")
        assert error["retryable"]
    assert time.monotonic() - start < LATE
    assert pool.only_ip()["floating_ip_address"] == ip["ip"]


@pytest.mark.parametrize("service", ["identity", "compute", "network"])
@pytest.mark.parametrize(
    "effect", [{"hang": HANG}, {"status": 500}, {"html": True}], ids=str
)
def test_a_service_that_fails_at_the_start_is_retried(
    pools: Pools, service: str, effect: dict[str, object]
) -> None:
    pool = pools.new(nova={"call_timeout": 0.3})
    pool.fault(Fault(service=service, times=2, **effect))  # type: ignore[arg-type]

    pool.build()

    assert len(pool.cloud.servers) == 1

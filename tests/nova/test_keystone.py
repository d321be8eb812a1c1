"""Keystone and its tokens, and services that hang: nobody waits too long."""

import threading
import time

import pytest

from poolmgr.testing.openstack import Call, Fault, LoopbackCloud
from tests.nova.pools import SERVERS, Pool, Pools, error_of
from tests.polling import until

#: Seconds that a service hangs: far longer than an action has.
HANGS = 60.0
#: Seconds after which an action that has one second is late.
LATE = 5.0


def test_a_wrong_password_is_said_at_once(pools: Pools) -> None:
    pool = pools.new(nova={"password": "wrong"})

    for action in ("BUILD_DEVICE", "BUILD_IP"):
        pool.fails(action, "authentication_failed")

    assert pool.cloud.count("POST", "identity") == 1


def test_a_keystone_that_is_down_is_unavailable(pools: Pools) -> None:
    with LoopbackCloud() as gone:
        nova = {"auth_url": gone.auth_url}
    pool = pools.new(nova=nova, short_timeout=0.5, long_timeout=0.5)

    for action in ("BUILD_DEVICE", "BUILD_IP"):
        error = error_of(pool.run(action))
        assert error["code"] in ("cloud_unavailable", "deadline")
        assert error["retryable"]


@pytest.mark.parametrize("status", [413, 429, 500, 502, 503])
def test_a_keystone_that_is_busy_is_asked_again(
    pool: Pool, status: int
) -> None:
    pool.fault(
        Fault(service="identity", method="POST", status=status, retry_after=0)
    )

    pool.build()

    assert pool.cloud.count("POST", "identity") == 2


# -- tokens -------------------------------------------------------------------


def test_many_builds_cost_one_token(pools: Pools) -> None:
    pool = pools.new()

    jobs = [pool.submit("BUILD_DEVICE") for _thirty in range(30)]

    for job in jobs:
        assert job.future.result().answer["response"] == "PASS"
    assert pool.cloud.count("POST", "identity") == 1
    assert pool.posts() == len(pool.cloud.servers) == 30


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


def test_a_token_that_is_refused_to_many_at_once_is_renewed_once(
    pools: Pools,
) -> None:
    # Slow, so that all have sent the old token before the first is refused.
    pool = pools.new({"latency": 0.1})
    pool.build()
    pool.cloud.forget_calls()
    once = threading.Lock()

    def expires(_call: Call) -> bool:
        if once.acquire(blocking=False):
            pool.cloud.expire_tokens()
        return False

    fault = Fault(method="POST", path=SERVERS, status=500, where=expires)
    pool.fault(fault)
    jobs = [pool.submit("BUILD_DEVICE") for _twenty in range(20)]

    for job in jobs:
        assert job.future.result().answer["response"] == "PASS"
    assert len(pool.cloud.servers) == 21
    assert pool.cloud.count("POST", "identity") == 1


# -- what hangs ---------------------------------------------------------------


def in_a_hurry(pool: Pool) -> None:
    """From now on an action has a second."""
    pool.adopt(short_timeout=1.0, long_timeout=1.0)


@pytest.mark.parametrize("service", ["identity", "compute", "network"])
def test_a_service_that_hangs_keeps_no_action_past_its_time(
    pools: Pools, service: str
) -> None:
    pool = pools.new(nova={"call_timeout": 0.3})
    device, ip = pool.build(), pool.build_ip()
    pool.cloud.expire_tokens()
    pool.fault(Fault(service=service, hang=HANGS, times=None))
    in_a_hurry(pool)

    for action in ("ASSIGN_IP", "REMOVE_IP", "DELETE_IP", "DELETE_DEVICE"):
        begun = time.monotonic()
        pool.run(action, ip=ip["ip"], name=device["name"])
        assert time.monotonic() - begun < LATE


def test_a_keystone_that_hangs_on_a_refused_token_keeps_nobody(
    pools: Pools,
) -> None:
    pool = pools.new(nova={"call_timeout": 0.3})
    ip = pool.build_ip()
    pool.cloud.expire_tokens()
    pool.fault(Fault(service="identity", hang=HANGS, times=None))
    in_a_hurry(pool)

    begun = time.monotonic()
    jobs = [pool.submit("BUILD_IP") for _thirty in range(30)]

    for job in jobs:
        error = error_of(job.future.result().answer)
        assert error["code"] in ("cloud_unavailable", "deadline")
        assert error["retryable"]
    assert time.monotonic() - begun < LATE
    assert pool.only_ip()["floating_ip_address"] == ip["ip"]


@pytest.mark.parametrize("service", ["identity", "compute", "network"])
def test_a_service_that_hangs_at_the_start_is_no_end(
    pools: Pools, service: str
) -> None:
    pool = pools.new(nova={"call_timeout": 0.3})
    pool.fault(Fault(service=service, hang=HANGS, times=2))

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

"""Keystone and its tokens, and what hangs: nobody waits past the time."""

import threading
import time

import pytest

from poolmgr.testing.openstack import Call, Fault, LoopbackCloud
from tests.nova.pools import SERVERS, Pool, Pools, error_of


def failing(pools: Pools) -> Pool:
    return pools.new(
        nova={"call_timeout": 0.3}, short_timeout=1.0, long_timeout=1.0
    )


@pytest.mark.parametrize("service", ["identity", "compute", "network"])
def test_a_service_that_hangs_keeps_no_action_past_its_time(
    pools: Pools, service: str
) -> None:
    pool = failing(pools)
    device, ip = pool.build(), pool.ip()
    pool.cloud.expire_tokens()
    pool.fault(Fault(service=service, hang=60.0, times=None))

    for action in ("ASSIGN_IP", "REMOVE_IP", "DELETE_IP", "DELETE_DEVICE"):
        begun = time.monotonic()
        pool.run(action, ip=ip["ip"], name=device["name"])
        assert time.monotonic() - begun < 4.0


def test_a_wrong_password_is_said_at_once(pools: Pools) -> None:
    pool = pools.new(nova={"password": "wrong"})

    for action in ("BUILD_DEVICE", "BUILD_IP"):
        pool.fails(action, "authentication_failed")

    assert pool.cloud.count("POST", "identity") == 2


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


def test_every_call_says_who_makes_it(pool: Pool) -> None:
    pool.ip(on=pool.build())

    agents = {call.headers["User-Agent"] for call in pool.cloud.calls}

    assert all(agent.startswith("poolmgr/") for agent in agents)
    assert {call.service for call in pool.cloud.calls} >= {
        "identity",
        "compute",
        "network",
    }


def test_a_keystone_that_hangs_on_a_refused_token_keeps_nobody(
    pools: Pools,
) -> None:
    pool = failing(pools)
    pool.build()
    pool.cloud.expire_tokens()
    pool.fault(Fault(service="identity", hang=60.0, times=None))

    begun = time.monotonic()
    jobs = [
        pool.manager.submit({"action": "BUILD_IP"}) for _thirty in range(30)
    ]

    for job in jobs:
        assert job.future.result().answer["response"] == "FAIL"
    assert time.monotonic() - begun < 5.0

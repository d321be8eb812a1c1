"""Tests of POST /servers: lost requests and answers leave one server."""

import time
from dataclasses import replace

import pytest

from poolmgr import Job
from poolmgr.testing.openstack import Call, Fault
from tests.nova.pools import (
    BAD_GATEWAY,
    DETAILS,
    SERVERS,
    TIMEOUT,
    UNIQUES,
    Pool,
    Pools,
    error_of,
    fault_id,
)
from tests.polling import until

FAILING = Fault(method="POST", path=SERVERS, status=500)
LOST = Fault(method="POST", path=SERVERS, reset=True, after=True)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "fault",
    [
        Fault(reset=True),
        Fault(status=500),
        Fault(status=502, body=BAD_GATEWAY),
        Fault(status=503, retry_after=0.2),
        Fault(status=504),
        Fault(html=True),
        Fault(status=200, body={}),
        Fault(hang=0.01, drop=True),
    ],
    ids=fault_id,
)
def test_a_lost_creation_request_or_answer_leaves_one_server(
    pool: Pool, fault: Fault, after: bool
) -> None:
    pool.fault(replace(fault, method="POST", path=SERVERS, after=after))

    answer = pool.build()

    assert pool.only_server()["name"] == answer["name"]
    assert pool.posts() == (1 if after else 2)


@pytest.mark.parametrize(
    ("fault", "posts"),
    [
        (Fault(hang=60.0), 2),
        (Fault(hang=60.0, after=True), 1),
        # The request takes effect after its time-out.
        (Fault(hang=1.5), 1),
        (Fault(drip=0.1), 1),
        (Fault(truncate=True), 1),
    ],
    ids=["lost", "answer lost", "late", "slow", "truncated"],
)
def test_a_hanging_or_truncated_creation_leaves_one_server(
    pools: Pools, fault: Fault, posts: int
) -> None:
    pool = pools.new(nova={"call_timeout": 1.0})
    pool.fault(replace(fault, method="POST", path=SERVERS))

    answer = pool.build()

    assert pool.only_server()["name"] == answer["name"]
    assert pool.posts() == posts


def test_a_server_that_appears_after_its_replacement_is_deleted(
    pools: Pools,
) -> None:
    pool = pools.new({"boot_time": 60.0})
    pool.fault(Fault(method="POST", path=SERVERS, reset=True))
    job = pool.submit("BUILD_DEVICE")
    until(lambda: pool.posts() == 2 and was_listed(pool))
    second = pool.only_server()["id"]

    # No look-up is left, and the second server has not booted yet.
    pool.repeat_call(pool.calls("POST", SERVERS)[0])
    assert len(pool.cloud.servers) == 2
    pool.boot()

    assert job.future.result().answer["response"] == "PASS"
    server = pool.only_server()
    assert server["id"] == second
    assert server["metadata"]["poolmgr_state"] == "handed-over"


def was_listed(pool: Pool) -> bool:
    """Return whether a list was answered since the last creation."""
    calls = pool.cloud.calls
    last = max(n for n, call in enumerate(calls) if call.path == SERVERS)
    return any(call.path == DETAILS and call.status for call in calls[last:])


def test_creations_that_always_fail_leave_no_server(pool: Pool) -> None:
    pool.fault(replace(FAILING, times=None))

    pool.fails("BUILD_DEVICE", "cloud_unavailable")

    assert not pool.cloud.servers
    assert pool.posts() == 3


@pytest.mark.parametrize("unique", ["", "unique"])
def test_a_server_of_unknown_outcome_is_deleted_after_the_deadline(
    pools: Pools, unique: str
) -> None:
    # Nova creates the server, and its lists fail until the deadline.
    pool = pools.new(long_timeout=3.0)
    down_since: list[float] = []

    def are_lists_down(_call: Call) -> bool:
        if pool.cloud.servers:
            down_since.append(time.monotonic())
        return bool(down_since) and time.monotonic() - down_since[0] < 3.5

    pool.fault(
        LOST, Fault(path=DETAILS, status=500, where=are_lists_down, times=None)
    )

    answer = pool.run("BUILD_DEVICE", Job(unique, "H:host:1"))

    assert error_of(answer)["code"] in ("cloud_unavailable", "deadline")
    assert pool.posts() == 1
    until(lambda: not pool.cloud.servers)


def test_a_rate_limited_creation_is_retried_after_retry_after(
    pool: Pool,
) -> None:
    pool.fault(Fault(method="POST", path=SERVERS, status=429, retry_after=1))

    pool.build()

    first, second = pool.calls("POST", SERVERS)
    assert second.when - first.when >= 1.0
    assert len(pool.cloud.servers) == 1


def test_a_retry_after_beyond_the_deadline_fails_immediately(
    pool: Pool,
) -> None:
    pool.fault(Fault(method="POST", path=SERVERS, status=429, retry_after=99))

    start = time.monotonic()
    reason = pool.fails("BUILD_DEVICE", "cloud_unavailable")

    assert "429" in reason
    assert time.monotonic() - start < TIMEOUT / 2
    assert pool.posts() == 1


def test_a_stop_while_a_created_server_is_looked_up_deletes_it(
    pools: Pools,
) -> None:
    pool = pools.new({"boot_time": 0.5})
    pool.fault(replace(LOST, status=503, reset=False, retry_after=9))
    job = pool.submit("BUILD_DEVICE")
    until(lambda: pool.cloud.servers)

    pool.manager.stop()

    assert error_of(job.future.result().answer)["code"] == "stopped"
    assert not pool.cloud.servers


# -- the mark ---------------------------------------------------------------


@pytest.mark.parametrize("unique", UNIQUES)
def test_a_device_is_created_with_its_mark(pool: Pool, unique: str) -> None:
    pool.passes("BUILD_DEVICE", Job(unique, "H:host:1"))

    (post,) = pool.calls("POST", SERVERS)
    metadata = post.body["server"]["metadata"]
    assert metadata["poolmgr_state"] == "building"
    assert metadata["poolmgr_pool"] == "libra"
    assert all(text.isascii() for text in metadata.values())


def test_a_device_is_marked_as_handed_over_before_the_answer(
    pool: Pool,
) -> None:
    job = pool.submit("BUILD_DEVICE", Job("unique", "H:host:1"))
    pool.fault(Fault(method="POST", path=".*/metadata", hang=0.3, after=True))
    until(lambda: pool.cloud.count("POST", path=".*/metadata"))

    assert not job.future.done()

    assert job.future.result().answer["response"] == "PASS"
    state = pool.only_server()["metadata"]["poolmgr_state"]
    assert state == "handed-over"


def test_a_device_of_the_same_job_in_another_pool_is_not_used(
    pools: Pools,
) -> None:
    cloud = pools.cloud()
    pool = pools.new(cloud)
    job = Job("unique", "H:host:1")
    theirs = pools.new(cloud, pool="theirs")
    name = theirs.passes("BUILD_DEVICE", job)["name"]

    ours = pool.passes("BUILD_DEVICE", job)

    assert ours["name"] != name
    assert {s["name"] for s in cloud.servers} == {name, ours["name"]}

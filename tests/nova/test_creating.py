"""POST /servers: whatever becomes of its answers, there is one server."""

import time
from dataclasses import replace

import pytest

from poolmgr import Job
from poolmgr.testing.openstack import Call, Fault
from tests.nova.pools import (
    DETAILS,
    PAGE,
    SERVERS,
    UNIQUES,
    Pool,
    Pools,
    error_of,
    id_of,
)
from tests.polling import until

BROKEN = Fault(method="POST", path=SERVERS, status=500)
LOST = Fault(method="POST", path=SERVERS, reset=True, after=True)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "fault",
    [
        Fault(reset=True),
        Fault(status=500),
        Fault(status=502, body=PAGE),
        Fault(status=503, retry_after=0.2),
        Fault(status=504),
        Fault(html=True),
        Fault(status=200, body={}),
        Fault(hang=0.01, drop=True),
    ],
    ids=id_of,
)
def test_one_server_whether_the_request_or_its_answer_was_lost(
    pool: Pool, fault: Fault, after: bool
) -> None:
    pool.fault(replace(fault, method="POST", path=SERVERS, after=after))

    answer = pool.build()

    assert pool.only_server()["name"] == answer["name"]
    assert pool.posts() == (1 if after else 2)


def test_one_server_when_its_answer_breaks_off(pool: Pool) -> None:
    pool.fault(Fault(method="POST", path=SERVERS, truncate=True))

    answer = pool.build()

    assert pool.only_server()["name"] == answer["name"]
    assert pool.posts() == 1


@pytest.mark.parametrize(
    ("fault", "posts"),
    [
        (Fault(hang=60.0), 2),
        (Fault(hang=60.0, after=True), 1),
        # It takes effect only after it was given up.
        (Fault(hang=1.5), 1),
        (Fault(drip=0.1), 1),
    ],
    ids=["lost", "answer lost", "late", "slow"],
)
def test_one_server_when_the_request_hangs(
    pools: Pools, fault: Fault, posts: int
) -> None:
    pool = pools.new(nova={"call_timeout": 1.0})
    pool.fault(replace(fault, method="POST", path=SERVERS))

    answer = pool.build()

    assert pool.only_server()["name"] == answer["name"]
    assert pool.posts() == posts


def test_a_server_that_comes_after_its_second_is_deleted(
    pools: Pools,
) -> None:
    pool = pools.new({"boot_time": 60.0})
    pool.fault(Fault(method="POST", path=SERVERS, reset=True))
    job = pool.submit("BUILD_DEVICE")
    until(lambda: pool.posts() == 2 and looked_for(pool))
    second = pool.only_server()["id"]

    # Later than all looks for it, and before the second has booted.
    pool.repeat(pool.calls("POST", SERVERS)[0])
    assert len(pool.cloud.servers) == 2
    pool.boot()

    assert job.future.result().answer["response"] == "PASS"
    server = pool.only_server()
    assert server["id"] == second
    assert server["metadata"]["poolmgr_state"] == "handed-over"


def looked_for(pool: Pool) -> bool:
    """Whether a list was answered since the last creation."""
    calls = pool.cloud.calls
    last = max(n for n, call in enumerate(calls) if call.path == SERVERS)
    return any(call.path == DETAILS and call.status for call in calls[last:])


def test_when_every_request_fails_nothing_is_left(pool: Pool) -> None:
    pool.fault(replace(BROKEN, times=None))

    pool.fails("BUILD_DEVICE", "cloud_unavailable")

    assert not pool.cloud.servers
    assert pool.posts() == 3


@pytest.mark.parametrize("unique", ["", "unique"])
def test_what_was_made_and_could_not_be_seen_is_deleted_in_the_end(
    pools: Pools, unique: str
) -> None:
    # Nova makes the server, and answers nothing more until the time is up.
    pool = pools.new(long_timeout=1.5)
    begun = time.monotonic()

    def is_blind(_call: Call) -> bool:
        return bool(pool.cloud.servers) and time.monotonic() - begun < 2.0

    pool.fault(
        LOST, Fault(path=DETAILS, status=500, where=is_blind, times=None)
    )

    answer = pool.run("BUILD_DEVICE", Job(unique, "H:host:1"))

    assert error_of(answer)["code"] in ("cloud_unavailable", "deadline")
    assert pool.posts() == 1
    until(lambda: not pool.cloud.servers)


def test_a_request_that_was_refused_for_its_rate_is_made_when_asked_to(
    pool: Pool,
) -> None:
    pool.fault(Fault(method="POST", path=SERVERS, status=429, retry_after=1))

    pool.build()

    first, second = pool.calls("POST", SERVERS)
    assert second.when - first.when >= 1.0
    assert len(pool.cloud.servers) == 1


def test_a_cloud_that_wants_to_be_left_alone_for_too_long_is_not_waited_for(
    pool: Pool,
) -> None:
    pool.fault(Fault(method="POST", path=SERVERS, status=429, retry_after=99))

    begun = time.monotonic()
    reason = pool.fails("BUILD_DEVICE", "cloud_unavailable")

    assert "429" in reason
    assert time.monotonic() - begun < 10.0
    assert pool.posts() == 1


def test_a_stop_while_the_server_is_looked_for_deletes_it(
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
def test_a_device_has_its_mark_from_birth(pool: Pool, unique: str) -> None:
    pool.passes("BUILD_DEVICE", Job(unique, "H:host:1"))

    (post,) = pool.calls("POST", SERVERS)
    born = post.body["server"]["metadata"]
    assert born["poolmgr_state"] == "building"
    assert born["poolmgr_pool"] == "libra"
    assert all(text.isascii() for text in born.values())


def test_the_hand_over_is_written_before_the_answer(pool: Pool) -> None:
    job = pool.submit("BUILD_DEVICE", Job("unique", "H:host:1"))
    pool.fault(Fault(method="POST", path=".*/metadata", hang=0.3, after=True))
    until(lambda: pool.cloud.count("POST", path=".*/metadata"))

    assert not job.future.done()

    assert job.future.result().answer["response"] == "PASS"
    state = pool.only_server()["metadata"]["poolmgr_state"]
    assert state == "handed-over"


def test_another_pools_marks_are_not_taken_for_ours(pools: Pools) -> None:
    cloud = pools.cloud()
    pool = pools.new(cloud)
    job = Job("unique", "H:host:1")
    theirs = pools.new(cloud, pool="theirs")
    name = theirs.passes("BUILD_DEVICE", job)["name"]

    ours = pool.passes("BUILD_DEVICE", job)

    assert ours["name"] != name
    assert {s["name"] for s in cloud.servers} == {name, ours["name"]}

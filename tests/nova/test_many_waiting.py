"""Hundreds of builds that wait are looked at by one short list."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from poolmgr.drivers.nova import servers
from poolmgr.jobs.pool_manager import BlockingDelivery
from poolmgr.testing.openstack import Call, Fate, Fault
from tests.nova.pools import DETAILS, SERVERS, Pool, Pools, error_of
from tests.polling import until

MANY = 200
STUCK = {"method": "POST", "path": SERVERS, "times": None}


@pytest.fixture
def pool(pools: Pools) -> Iterator[Pool]:
    """A pool whose servers never boot; they are deleted in the end."""
    pool = pools.new({"boot_time": 0.2}, long_timeout=300.0)
    yield pool
    pool.manager.stop()


def waiting(pool: Pool, builds: int) -> list[BlockingDelivery]:
    """So many builds more whose servers are there."""
    before = pool.posts()
    jobs = [pool.submit("BUILD_DEVICE") for _build in range(builds)]
    until(lambda: pool.posts() == before + builds, 60)
    return jobs


def looks(pool: Pool) -> list[Call]:
    """The short lists since the record began, when there are a few."""
    until(lambda: len(pool.calls("GET", SERVERS)) >= 4, 60)
    return pool.calls("GET", SERVERS)


def test_a_look_is_one_call_however_many_wait(pool: Pool) -> None:
    pool.fault(Fault.stuck(**STUCK))
    waiting(pool, MANY)
    looks(pool)

    pool.cloud.forget_calls()
    listed = looks(pool)

    assert {call.query["status"] for call in listed} == {"BUILD"}
    others = {(c.method, c.path) for c in pool.cloud.calls}
    assert others == {("GET", SERVERS)}


def test_who_has_booted_among_hundreds_is_answered(pool: Pool) -> None:
    pool.fault(Fault.stuck(**STUCK))
    waiting(pool, MANY)
    pool.cloud.clear_faults()

    (job,) = waiting(pool, 1)

    assert job.future.result(60).answer["response"] == "PASS"
    asked = [
        call.query["tags-any"]
        for call in pool.calls("GET", DETAILS)[-3:]
        if "tags-any" in call.query
    ]
    # Nothing is asked of those that go on booting.
    assert max(len(tags.split(",")) for tags in asked) < 10


@pytest.mark.parametrize(
    "fate",
    [Fate(error="no host"), Fate(stuck=True, vanish=0.3)],
    ids=["error", "vanish"],
)
def test_who_has_failed_among_hundreds_is_answered(
    pool: Pool, fate: Fate
) -> None:
    pool.fault(Fault.stuck(**STUCK))
    waiting(pool, MANY)
    pool.cloud.clear_faults()
    pool.fault(Fault(method="POST", path=SERVERS, fate=fate))

    job = pool.submit("BUILD_DEVICE")

    error = error_of(job.future.result(60).answer)
    assert error["code"] == "device_failed"


def test_looks_of_several_questions_are_further_apart(
    pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "BATCH", 9)
    pool = pools.new(long_timeout=300.0)
    pool.fault(Fault.no_address(**STUCK))
    waiting(pool, 45)
    pool.boot()
    pool.cloud.forget_calls()

    def begun() -> list[float]:
        """When looks began: the tags of a question are in order."""
        calls = pool.calls("GET", DETAILS)
        first = min((call.query["tags-any"] for call in calls), default="")
        return [c.when for c in calls if c.query["tags-any"] == first]

    until(lambda: len(begun()) >= 5, 60)

    # The first are nearer. Five times that of the tests.
    assert min(b - a for a, b in pairwise(begun()[2:])) > 0.2
    pool.manager.stop()

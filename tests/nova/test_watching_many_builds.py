"""Tests of polls while hundreds of devices boot."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from poolmgr.drivers.nova import servers
from poolmgr.drivers.nova.api import Entry
from poolmgr.jobs.pool_manager import BlockingDelivery
from poolmgr.testing.openstack import Call, Fate, Fault
from tests.nova.pools import DETAILS, SERVERS, Pool, Pools, error_of
from tests.polling import until

MANY = 200
STUCK = {"method": "POST", "path": SERVERS, "times": None}


@pytest.fixture
def pool(pools: Pools) -> Iterator[Pool]:
    """Yield a pool; its builds are stopped at the end of the test."""
    pool = pools.new({"boot_time": 0.2}, long_timeout=300.0)
    yield pool
    pool.manager.stop()


def start_builds(pool: Pool, builds: int) -> list[BlockingDelivery]:
    """Submit builds; wait until their servers are created."""
    before = pool.posts()
    jobs = [pool.submit("BUILD_DEVICE") for _build in range(builds)]
    until(lambda: pool.posts() == before + builds, 300)
    return jobs


def short_lists(pool: Pool) -> list[Call]:
    """Wait for four short lists; return all since the record began."""
    until(lambda: len(pool.calls("GET", SERVERS)) >= 4, 300)
    return pool.calls("GET", SERVERS)


def test_hundreds_of_booting_devices_are_polled_with_one_call(
    pool: Pool,
) -> None:
    pool.fault(Fault.stuck(**STUCK))
    start_builds(pool, MANY)
    short_lists(pool)

    pool.cloud.forget_calls()
    polls = short_lists(pool)

    assert {call.query["status"] for call in polls} == {"BUILD"}
    calls = {(c.method, c.path) for c in pool.cloud.calls}
    assert calls == {("GET", SERVERS)}


def test_a_device_that_boots_among_hundreds_is_answered(pool: Pool) -> None:
    pool.fault(Fault.stuck(**STUCK))
    start_builds(pool, MANY)
    pool.cloud.clear_faults()

    (job,) = start_builds(pool, 1)

    assert job.future.result(300).answer["response"] == "PASS"
    polled = [
        call.query["tags-any"]
        for call in pool.calls("GET", DETAILS)[-3:]
        if "tags-any" in call.query
    ]
    # Devices that are still booting are not read one by one.
    assert max(len(tags.split(",")) for tags in polled) < 10


@pytest.mark.parametrize(
    "fate",
    [Fate(error="no host"), Fate(stuck=True, vanish=0.3)],
    ids=["error", "vanishes"],
)
def test_a_device_that_fails_among_hundreds_is_answered(
    pool: Pool, fate: Fate
) -> None:
    pool.fault(Fault.stuck(**STUCK))
    start_builds(pool, MANY)
    pool.cloud.clear_faults()
    pool.fault(Fault(method="POST", path=SERVERS, fate=fate))

    job = pool.submit("BUILD_DEVICE")

    error = error_of(job.future.result(300).answer)
    assert error["code"] == "device_failed"


def test_polls_that_need_several_calls_are_further_apart(
    pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "BATCH", 9)
    pool = pools.new(long_timeout=300.0)
    pool.fault(Fault.no_address(**STUCK))
    start_builds(pool, 45)
    pool.boot()
    pool.cloud.forget_calls()

    def poll_times() -> list[float]:
        """Return when each poll began; its calls are ordered by tags."""
        calls = pool.calls("GET", DETAILS)
        first = min((call.query["tags-any"] for call in calls), default="")
        return [c.when for c in calls if c.query["tags-any"] == first]

    until(lambda: len(poll_times()) >= 5, 300)

    # Five calls make a poll, so five times the tests' poll interval passes
    # between two polls. The first polls are closer.
    assert min(b - a for a, b in pairwise(poll_times()[2:])) > 0.2
    pool.manager.stop()


def kinds_of(base: type[Entry]) -> Iterator[type[Entry]]:
    """Yield a type of entries of lists, and all types derived from it."""
    yield base
    for kind in base.__subclasses__():
        yield from kinds_of(kind)


def test_the_garbage_collector_ignores_the_entries_of_lists() -> None:
    """Looking through thousands of them would delay answers."""
    kinds = list(kinds_of(Entry))

    assert "Server" in [kind.__name__ for kind in kinds]
    assert not [kind for kind in kinds if kind.__struct_config__.gc]

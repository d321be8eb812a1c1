"""Where calls are limited, what is not made yet goes before hand-overs."""

import time

import pytest
from poolmgr.jobs.pool_manager import BlockingDelivery

from poolmgr import Job
from poolmgr.cloud.limiter import _Rank
from poolmgr.drivers.nova.api import _FAILURES
from poolmgr.testing.openstack import Fault
from poolmgr.waiting import Deadline
from tests.nova.pools import IPS, OLD, SERVERS, Pool, Pools
from tests.polling import until

RATE = 20.0
SLOW = 60.0


@pytest.fixture(autouse=True)
def _few_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    # As many as in other tests would leave little of a limit.
    monkeypatch.setattr("poolmgr.drivers.nova.driver._INTERVAL", 0.4)


def made(pool: Pool) -> list[float]:
    """When servers were made."""
    calls = pool.calls("POST", SERVERS)
    return [call.when for call in calls if call.status == 202]


def handed_over(pool: Pool) -> list[float]:
    """When devices were handed over."""
    return [
        call.when
        for call in pool.cloud.calls
        if call.path.endswith("/metadata") and call.status == 200
    ]


def booting(pool: Pool) -> BlockingDelivery:
    """A build whose server was made, and boots."""
    build = pool.submit("BUILD_DEVICE")
    until(lambda: made(pool))
    return build


def refuse(pool: Pool, path: str, after: float, times: int | None) -> None:
    """Answer creations with 429, to come again after so many seconds."""
    pool.fault(Fault("POST", path, status=429, retry_after=after, times=times))


def all_pass(pool: Pool, jobs: list[BlockingDelivery]) -> None:
    """Whatever boots boots at once, until all jobs are answered."""

    def done() -> bool:
        pool.boot()
        return all(job.future.done() for job in jobs)

    until(done, 60, pause=0.2)
    answers = [job.future.result().answer for job in jobs]
    assert {answer["response"] for answer in answers} == {"PASS"}, answers


def test_what_is_to_be_made_goes_before_hand_overs(pools: Pools) -> None:
    pool = pools.new(
        {"rate_limit": RATE * 1.25, "boot_time": SLOW},
        {"calls_per_second": RATE},
        long_timeout=120.0,
    )
    builds = int(RATE)
    at_gate = pool.driver._api._gate._queues
    jobs = [pool.submit("BUILD_DEVICE") for _build in range(builds)]
    until(lambda: len(made(pool)) == builds)
    pool.boot()
    until(lambda: len(at_gate[_Rank.PATIENT]) >= builds / 2)

    # Without a unique there is nothing to be looked for.
    jobs += [pool.submit("BUILD_DEVICE", Job()) for _build in range(builds)]
    until(lambda: len(made(pool)) + len(at_gate[_Rank.USUAL]) >= 2 * builds)
    before = len(handed_over(pool))
    all_pass(pool, jobs)

    assert (len(made(pool)), len(handed_over(pool))) == (2 * builds,) * 2
    early = [when for when in handed_over(pool) if when < max(made(pool))]
    assert len(early) <= before + 1  # that may have been on its way


def test_a_creation_that_was_refused_goes_before_hand_overs(
    pools: Pools,
) -> None:
    pool = pools.new({"boot_time": SLOW}, long_timeout=120.0)
    first = booting(pool)
    refuse(pool, SERVERS, 0.5, times=4)

    second = pool.submit("BUILD_DEVICE")
    until(lambda: pool.posts() == 2)
    all_pass(pool, [first, second])

    assert (len(made(pool)), len(handed_over(pool))) == (2, 2)
    assert max(made(pool)) < min(handed_over(pool))


def test_a_hand_over_does_not_wait_for_a_floating_ip(pools: Pools) -> None:
    pool = pools.new({"boot_time": SLOW}, long_timeout=120.0)
    build = booting(pool)
    refuse(pool, IPS, 0.2, times=None)

    address = pool.submit("BUILD_IP")
    until(lambda: pool.posts(IPS))
    all_pass(pool, [build])

    assert not address.future.done()


def test_a_hand_over_does_not_wait_for_ever_for_a_refused_creation(
    pools: Pools,
) -> None:
    # Half of what a build has left is how long it waits.
    pool = pools.new({"boot_time": SLOW}, long_timeout=3.0)
    first = booting(pool)
    refuse(pool, SERVERS, 0.2, times=None)
    pool.adopt(long_timeout=120.0)

    second = pool.submit("BUILD_DEVICE")
    until(lambda: pool.posts() == 2)
    all_pass(pool, [first])

    assert not second.future.done()
    pool.cloud.clear_faults()
    all_pass(pool, [second])


def test_what_finds_out_whether_the_cloud_is_back_does_not_wait(
    pool: Pool,
) -> None:
    pool.left_by(OLD)
    (device,) = pool.openstack.list_devices()
    assert device.mark is not None
    pool.boot()
    breaker = pool.openstack.state.breakers["changing compute"]
    for _time in range(_FAILURES):
        breaker.blame("it is down")
    deadline = Deadline(60.0).patiently()

    with pool.driver._api._gate.holding_back():
        pool.openstack.mark_device(device, device.mark.handed_over())

    assert not breaker.open
    assert time.monotonic() < deadline.yields_until - 10.0

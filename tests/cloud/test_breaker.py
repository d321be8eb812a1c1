"""Circuit breakers: they stop calls to a failing service."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from poolmgr.cloud.breaker import SEQUENCE, Breaker
from poolmgr.errors import Busy, CloudRefused, CloudUnavailable, NotFound
from poolmgr.tracing import RequestContext, bound


def breaker(**changes: Any) -> Breaker:
    given: dict[str, Any] = {
        "what": "asking",
        "failure": CloudUnavailable,
        "refusal": CloudUnavailable,
        "pauses": (10.0, 10.0),
        **changes,
    }
    return Breaker(**given)


async def fail(made: Breaker, max_wait: float = 0.0, **pause: float) -> None:
    await made.wait(max_wait)
    made.record(CloudUnavailable("it is down", **pause), next(SEQUENCE))


async def succeed(
    made: Breaker, max_wait: float = 1e6, seconds: float = 0.0
) -> None:
    await made.wait(max_wait)
    began = next(SEQUENCE)
    await asyncio.sleep(seconds)
    made.record(None, began)


def time() -> float:
    return asyncio.get_running_loop().time()


async def test_calls_do_not_wait_while_the_circuit_is_closed() -> None:
    made = breaker(threshold=3)
    for _time in range(2):
        await fail(made)
    await succeed(made)
    for _time in range(2):
        await fail(made)

    assert not made.open
    await succeed(made, max_wait=0.0)


async def test_consecutive_failures_open_the_circuit() -> None:
    made = breaker(threshold=3)
    for _time in range(3):
        await fail(made)

    assert (made.open, made.reason) == (True, "it is down")
    with pytest.raises(CloudUnavailable, match="it is down"):
        await succeed(made, max_wait=0.0)
    with pytest.raises(CloudUnavailable, match="it is down"):
        await succeed(made, max_wait=2.0)
    assert time() == 2.0


async def test_other_errors_do_not_open_the_circuit() -> None:
    made = breaker()

    made.record(NotFound("device", "a"))
    made.record(Busy("in use"))

    assert not made.open


async def test_one_call_is_tried_after_each_pause() -> None:
    made = breaker()
    await fail(made)
    attempts: list[float] = []

    async def attempt() -> None:
        while True:
            await made.wait()
            attempts.append(time())
            if len(attempts) >= 5:
                made.record(None, next(SEQUENCE))
                return
            made.record(CloudUnavailable("still"), next(SEQUENCE))

    await asyncio.gather(*[attempt() for _each in range(50)])

    # Fifty wait, and there is one attempt in each pause.
    assert min(b - a for a, b in pairwise(attempts[:5])) >= 5.0
    assert set(attempts[5:]) == {attempts[4]}
    assert not made.open


async def test_a_hint_allows_a_trial_call_at_once() -> None:
    made = breaker(pauses=(3600.0, 3600.0))
    await fail(made)
    waiting = asyncio.create_task(succeed(made))
    await asyncio.sleep(1.0)

    made.hint()

    await waiting
    assert time() == 1.0
    assert not made.open


async def test_a_trial_call_that_hangs_does_not_delay_the_next_for_long() -> (
    None
):
    made = breaker(pauses=(1.0, 10.0))
    await fail(made)
    hanging = asyncio.create_task(succeed(made, seconds=600.0))
    await asyncio.sleep(2.0)

    await succeed(made)

    assert time() < 12.0
    hanging.cancel()


async def test_failing_urgent_calls_do_not_take_every_trial() -> None:
    made = breaker()
    await fail(made)

    async def fails() -> None:
        with bound(RequestContext(urgent=True)):
            while True:
                await fail(made, max_wait=1e6)

    failing = [asyncio.create_task(fails()) for _each in range(2)]
    await asyncio.sleep(0)

    await succeed(made)

    assert time() < 30.0
    for task in failing:
        task.cancel()
    await asyncio.wait(failing)


async def test_a_cancelled_call_does_not_delay_the_next_in_the_queue() -> None:
    made = breaker()
    await fail(made)
    leaves = asyncio.create_task(succeed(made))
    stays = asyncio.create_task(succeed(made))
    await asyncio.sleep(1.0)
    with bound(RequestContext()) as context:
        waits = asyncio.create_task(succeed(made))
    await asyncio.sleep(1.0)

    leaves.cancel()
    waits.cancel()
    await stays

    assert waits.cancelled()
    assert str(context.trouble) == "it is down"


async def test_a_call_cancelled_when_it_may_begin_delays_no_other() -> None:
    made = breaker()
    await fail(made)
    leaves = asyncio.create_task(succeed(made))
    stays = asyncio.create_task(succeed(made))
    await asyncio.sleep(1.0)
    made.hint()
    leaves.cancel()

    await stays

    assert time() < 30.0


async def test_retry_after_postpones_the_trial_call() -> None:
    made = breaker()
    await fail(made, retry_after=3600.0)

    await succeed(made)

    assert time() == 3600.0


async def test_calls_fail_at_once_after_stop_waiting() -> None:
    made = breaker()
    await fail(made)
    trial = asyncio.create_task(fail(made, max_wait=1e6))
    waiting = asyncio.create_task(succeed(made))
    await asyncio.sleep(1.0)

    made.stop_waiting()

    await trial
    with pytest.raises(CloudUnavailable, match="it is down"):
        await waiting


async def test_a_call_that_began_before_the_opening_is_ignored() -> None:
    made = breaker()
    await made.wait()
    before = next(SEQUENCE)
    await fail(made)

    made.record(None, before)

    assert made.open


async def test_a_refusal_closes_the_circuit() -> None:
    made = breaker()
    await fail(made)

    made.record(CloudRefused("no"))

    assert not made.open

"""Tests of circuit breakers."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from poolmgr.cloud.breaker import SEQUENCE, Breaker, Circuits
from poolmgr.cloud.pace import Pace
from poolmgr.errors import (
    Busy,
    CloudRefused,
    CloudUnavailable,
    NotFound,
    QuotaExceeded,
)
from poolmgr.tracing import RequestContext, bound


def breaker(**changes: Any) -> Breaker:
    """Return a breaker with a pause of ten seconds.

    :param changes: different options
    """
    options: dict[str, Any] = {
        "what": "asking",
        "failure": CloudUnavailable,
        "refusal": CloudUnavailable,
        "pauses": (10.0, 10.0),
        **changes,
    }
    return Breaker(**options)


async def fail(
    circuit: Breaker, max_wait: float = 0.0, **pause: float
) -> None:
    """Make a call that fails."""
    await circuit.wait(max_wait)
    circuit.record(CloudUnavailable("it is down", **pause), next(SEQUENCE))


async def succeed(
    circuit: Breaker, max_wait: float = 1e6, seconds: float = 0.0
) -> None:
    """Make a call that succeeds after some seconds."""
    await circuit.wait(max_wait)
    began = next(SEQUENCE)
    await asyncio.sleep(seconds)
    circuit.record(None, began)


def time() -> float:
    """Return the seconds since the test began."""
    return asyncio.get_running_loop().time()


async def test_calls_do_not_wait_while_the_circuit_is_closed() -> None:
    circuit = breaker(threshold=3)
    for _call in range(2):
        await fail(circuit)
    await succeed(circuit)
    for _call in range(2):
        await fail(circuit)

    assert not circuit.open
    await succeed(circuit, max_wait=0.0)


async def test_consecutive_failures_open_the_circuit() -> None:
    circuit = breaker(threshold=3)
    for _call in range(3):
        await fail(circuit)

    assert (circuit.open, circuit.reason) == (True, "it is down")
    with pytest.raises(CloudUnavailable, match="it is down"):
        await succeed(circuit, max_wait=0.0)
    with pytest.raises(CloudUnavailable, match="it is down"):
        await succeed(circuit, max_wait=2.0)
    assert time() == 2.0


async def test_other_errors_do_not_open_the_circuit() -> None:
    circuit = breaker()

    circuit.record(NotFound("device", "a"))
    circuit.record(Busy("in use"))

    assert not circuit.open


async def test_one_call_is_tried_after_each_pause() -> None:
    circuit = breaker()
    await fail(circuit)
    attempts: list[float] = []

    async def attempt() -> None:
        while True:
            await circuit.wait()
            attempts.append(time())
            if len(attempts) >= 5:
                circuit.record(None, next(SEQUENCE))
                return
            circuit.record(CloudUnavailable("still"), next(SEQUENCE))

    await asyncio.gather(*[attempt() for _each in range(50)])

    # Of fifty waiting calls, one is tried after each pause.
    assert min(b - a for a, b in pairwise(attempts[:5])) >= 5.0
    assert set(attempts[5:]) == {attempts[4]}
    assert not circuit.open


async def test_a_hint_allows_a_trial_call_at_once() -> None:
    circuit = breaker(pauses=(3600.0, 3600.0))
    await fail(circuit)
    waiting = asyncio.create_task(succeed(circuit))
    await asyncio.sleep(1.0)

    circuit.hint()

    await waiting
    assert time() == 1.0
    assert not circuit.open


async def test_a_hung_trial_call_delays_the_next_only_briefly() -> None:
    circuit = breaker(pauses=(1.0, 10.0))
    await fail(circuit)
    hanging = asyncio.create_task(succeed(circuit, seconds=600.0))
    await asyncio.sleep(2.0)

    await succeed(circuit)

    assert time() < 12.0
    hanging.cancel()


async def test_failing_urgent_calls_do_not_take_every_trial() -> None:
    circuit = breaker()
    await fail(circuit)

    async def keep_failing() -> None:
        with bound(RequestContext(urgent=True)):
            while True:
                await fail(circuit, max_wait=1e6)

    failing = [asyncio.create_task(keep_failing()) for _each in range(2)]
    await asyncio.sleep(0)

    await succeed(circuit)

    assert time() < 30.0
    for task in failing:
        task.cancel()
    await asyncio.wait(failing)


async def test_a_cancelled_call_does_not_delay_the_next_in_the_queue() -> None:
    circuit = breaker()
    await fail(circuit)
    cancelled = asyncio.create_task(succeed(circuit))
    next_call = asyncio.create_task(succeed(circuit))
    await asyncio.sleep(1.0)
    with bound(RequestContext()) as context:
        last_call = asyncio.create_task(succeed(circuit))
    await asyncio.sleep(1.0)

    cancelled.cancel()
    last_call.cancel()
    await next_call

    assert last_call.cancelled()
    assert str(context.trouble) == "it is down"


async def test_a_call_cancelled_at_its_turn_delays_no_other() -> None:
    circuit = breaker()
    await fail(circuit)
    cancelled = asyncio.create_task(succeed(circuit))
    next_call = asyncio.create_task(succeed(circuit))
    await asyncio.sleep(1.0)
    circuit.hint()
    cancelled.cancel()

    await next_call

    assert time() < 30.0


async def test_retry_after_postpones_the_trial_call() -> None:
    circuit = breaker()
    await fail(circuit, retry_after=3600.0)

    await succeed(circuit)

    assert time() == 3600.0


async def test_calls_fail_at_once_after_stop_waiting() -> None:
    circuit = breaker()
    await fail(circuit)
    trial = asyncio.create_task(fail(circuit, max_wait=1e6))
    waiting = asyncio.create_task(succeed(circuit))
    await asyncio.sleep(1.0)

    circuit.stop_waiting()

    await trial
    with pytest.raises(CloudUnavailable, match="it is down"):
        await waiting


async def test_the_result_of_a_call_before_the_opening_is_ignored() -> None:
    circuit = breaker()
    await circuit.wait()
    before = next(SEQUENCE)
    await fail(circuit)

    circuit.record(None, before)

    assert circuit.open


async def test_a_refusal_closes_the_circuit() -> None:
    circuit = breaker()
    await fail(circuit)

    circuit.record(CloudRefused("no"))

    assert not circuit.open


async def test_builds_are_taken_again_once_a_trial_is_due() -> None:
    circuits = Circuits(Pace(quota=(5.0, 5.0)))
    assert not circuits.no_capacity

    circuits.quotas["making compute"].record(QuotaExceeded("full"))
    assert circuits.no_capacity

    await asyncio.sleep(5.0)
    assert not circuits.no_capacity
    assert circuits.quotas["making compute"].open

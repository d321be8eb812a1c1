"""Random faults of the cloud."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Any

from tests.chaos.clouds import Cloud

Json = dict[str, Any]
#: Mean seconds between two faults.
_PAUSE = 1.0
_CREATE = [("POST", "/servers"), ("POST", "/floatingips")]
_CHANGE = [
    *_CREATE,
    *_CREATE,
    ("POST", "/servers/[^/]+/metadata"),
    ("PUT", "/floatingips/[^/]+"),
]
_ANY = [
    *_CHANGE,
    ("GET", "/servers/detail"),
    ("GET", "/floatingips"),
    ("GET", "/ports"),
    ("DELETE", "/servers/[^/]+"),
    ("DELETE", "/floatingips/[^/]+"),
]


async def troubles(
    cloud: Cloud, dice: random.Random, stop: asyncio.Event
) -> None:
    """Inject random faults until stopped."""
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(dice.expovariate(1 / _PAUSE)):
                await stop.wait()
                break
        (make,) = dice.choices(list(_KINDS), list(_KINDS.values()))
        await asyncio.to_thread(cloud.trouble, make(dice))
    await asyncio.to_thread(cloud.calm)


def hold(dice: random.Random) -> Json:
    """Return a fault that delays a changing call or its answer."""
    return {
        **_one_of(dice, _CHANGE),
        "hang": dice.uniform(0.5, 2.5),
        "after": dice.random() < 0.5,
    }


def _one_of(dice: random.Random, calls: list[tuple[str, str]]) -> Json:
    method, path = dice.choice(calls)
    return {"method": method, "path": path}


def _status(dice: random.Random) -> Json:
    return {
        **_one_of(dice, _ANY),
        "status": dice.choice([500, 502, 503]),
        "times": dice.randint(1, 2),
    }


def _too_many(dice: random.Random) -> Json:
    return {**_one_of(dice, _ANY), "status": 429, "retry_after": 1}


def _reset(dice: random.Random) -> Json:
    return {
        **_one_of(dice, _ANY),
        "reset": True,
        "after": dice.random() < 0.5,
    }


def _lost_answer(dice: random.Random) -> Json:
    """Return a fault that loses the answer to a creation."""
    effect: Json = dice.choice(
        [{"reset": True}, {"status": 500}, {"truncate": True}]
    )
    return {**_one_of(dice, _CREATE), "after": True, **effect}


def _page(dice: random.Random) -> Json:
    return {**_one_of(dice, _ANY), "html": True}


def _bad_boot(dice: random.Random) -> Json:
    fate: Json = dice.choice(
        [
            {"error": "No valid host was found. "},
            {"error": "The host went away."},
            # Before any boot can end; later the build would not notice.
            {"vanish": 0.3},
            {"vanish": 0.3},
            {"no_address": True},
            {"stuck": True},
        ]
    )
    return {"method": "POST", "path": "/servers", "fate": fate}


def _lost_change(dice: random.Random) -> Json:
    path = "/floatingips/[^/]+"
    return {"method": "PUT", "path": path, "fate": {"lost": True}}


_KINDS: dict[Callable[[random.Random], Json], int] = {
    hold: 4,
    _status: 3,
    _too_many: 2,
    _reset: 3,
    _lost_answer: 4,
    _page: 1,
    _bad_boot: 2,
    _lost_change: 1,
}

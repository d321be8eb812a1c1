"""How long to wait for a cloud."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from poolmgr.errors import CloudUnavailable, DeadlineExceeded, PoolmgrError
from poolmgr.tracing import RequestContext, current

LOG = logging.getLogger(__name__)

# Its own: a program may have seeded Python's.
_JITTER = random.Random()  # noqa: S311 - no secret
#: Seconds that a cloud can have itself left alone for.
_LONGEST_PAUSE = 3600.0


@dataclass(frozen=True)
class Pace:
    """Times in seconds; tests shorten them.

    :ivar grace: additional time for a driver to say why there is no answer
    :ivar retry_first: pause before the first retry; it doubles with each one
    :ivar retry_longest: longest such pause
    :ivar breaker_first: pause before a trial call to a failing service
    :ivar breaker_longest: longest such pause
    :ivar login_first: pause after a refused login, since clouds lock accounts
    :ivar login_longest: longest such pause
    :ivar room_first: pause after a quota was exceeded, or boots have failed
    :ivar room_longest: longest such pause
    :ivar lookup_slow: time after which a look-up delays no others
    :ivar look_first: pause before the next look-up of a lost creation
    :ivar look_longest: longest such pause
    :ivar out_of_sight: time after which a device or address that the cloud
        does not show counts as gone
    :ivar delete_again: pause before a deletion is repeated
    :ivar explain: time for finding out why a device failed
    :ivar clean_up: time for deleting what was created too late
    :ivar close: time for a driver to close
    """

    grace: float = 0.5
    retry_first: float = 0.25
    retry_longest: float = 10.0
    breaker_first: float = 0.5
    breaker_longest: float = 2.0
    login_first: float = 10.0
    login_longest: float = 300.0
    room_first: float = 5.0
    room_longest: float = 30.0
    lookup_slow: float = 2.0
    look_first: float = 2.0
    look_longest: float = 5.0
    out_of_sight: float = 10.0
    delete_again: float = 15.0
    explain: float = 10.0
    clean_up: float = 60.0
    close: float = 5.0


def backoff(first: float, longest: float) -> Iterator[float]:
    """Yield pauses in seconds that double up to the longest, jittered.

    Each is between half of its length and the whole of it, so that many who
    failed together do not come back together.
    """
    pause = first
    while True:
        yield pause * _JITTER.uniform(0.5, 1.0)
        pause = min(pause * 2, longest)


def pause_after(error: PoolmgrError) -> float:
    """Seconds to leave the cloud alone, as it asks for, an hour at most.

    It is 0 if what a driver says makes no sense.
    """
    pause = getattr(error, "retry_after", 0.0)
    is_number = isinstance(pause, (int, float))
    return min(pause, _LONGEST_PAUSE) if is_number and pause > 0 else 0.0


async def pause_before_retry(
    error: CloudUnavailable, pause: float, level: int = logging.INFO
) -> None:
    """Sleep before a retry; raise at once if there is no time for that.

    :param error: why there is one
    :raises CloudUnavailable: the error given
    """
    context = current() or RequestContext()
    context.trouble = error
    if pause >= context.end - asyncio.get_running_loop().time():
        raise error
    LOG.log(level, "%s; retrying in %.1f s", error, pause)
    await asyncio.sleep(pause)


@asynccontextmanager
async def time_limit(
    context: RequestContext,
    seconds: float | None,
    doing: str = "waiting for the cloud",
) -> AsyncIterator[None]:
    """Bound the block in time, and say why that was not enough.

    :param context: what the block works for; it knows what it waits for
    :param seconds: the time that the block has; None for any
    :param doing: what it does, if the context does not know
    :raises DeadlineExceeded: the time is up
    :raises PoolmgrError: the last failure of what was repeated until then
    """
    if seconds is None:
        yield
        return
    before, trouble = context.end, context.trouble
    context.end = min(before, asyncio.get_running_loop().time() + seconds)
    end = context.end
    # What went wrong before is no reason for what does in the block, and what
    # goes wrong there is none for what comes after it.
    context.trouble = None
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        late = DeadlineExceeded(context.doing or doing, seconds)
        raise context.trouble or late from None
    finally:
        context.trouble = trouble
        if context.end == end:  # else the job was cancelled meanwhile
            context.end = before

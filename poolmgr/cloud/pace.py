"""Pauses, retries and time limits for requests to a cloud."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import SystemRandom

from poolmgr import errors
from poolmgr.tracing import RequestContext, current

LOG = logging.getLogger(__name__)

# A program may have seeded Python's own generator, or may be forked.
_JITTER = SystemRandom()
#: Longest pause in seconds that a cloud can ask for.
_LONGEST_RETRY_AFTER = 3600.0


@dataclass(frozen=True)
class Pace:
    """How long to wait for a cloud, in seconds; tests use shorter times.

    A pair is the first and the longest pause of a series of attempts; each
    pause is twice as long as the one before.

    :ivar retry: pauses before a failed request is repeated
    :ivar breaker: pauses between the trial calls to a failing service
    :ivar login: pauses after a refused login; clouds lock accounts
    :ivar quota: pauses after a quota was exceeded, or after devices have
        failed to boot
    :ivar out_of_sight: time after which a device or address that the cloud
        does not show counts as gone
    :ivar delete_again: pause before a deletion is repeated
    :ivar clean_up: time limit for deleting what a failed job has created
    :ivar close: time limit for closing the driver
    """

    retry: tuple[float, float] = 0.25, 10.0
    breaker: tuple[float, float] = 0.5, 2.0
    login: tuple[float, float] = 10.0, 300.0
    quota: tuple[float, float] = 5.0, 30.0
    out_of_sight: float = 10.0
    delete_again: float = 15.0
    clean_up: float = 60.0
    close: float = 5.0


def backoff(first: float, longest: float) -> Iterator[float]:
    """Yield pauses in seconds that double up to the longest, with jitter.

    Jitter makes each pause up to half shorter, so that requests that failed
    together are not repeated together.
    """
    pause = first
    while True:
        yield pause * _JITTER.uniform(0.5, 1.0)
        pause = min(pause * 2, longest)


def retry_after(error: errors.PoolmgrError) -> float:
    """Return the seconds that the cloud asks to wait, an hour at most.

    A driver's value that is not a positive number counts as 0.
    """
    pause = getattr(error, "retry_after", 0.0)
    is_number = isinstance(pause, (int, float))
    return min(pause, _LONGEST_RETRY_AFTER) if is_number and pause > 0 else 0.0


async def pause_before_retry(
    error: errors.CloudUnavailable, pause: float
) -> None:
    """Sleep before a retry, or raise if the deadline is earlier.

    :param error: the failure
    :param pause: minimum seconds; the cloud may have asked for more
    :raises CloudUnavailable: ``error``, if there is no time for a retry
    """
    context = current() or RequestContext()
    context.trouble = error
    pause = max(pause, retry_after(error))
    if pause >= context.end - asyncio.get_running_loop().time():
        raise error
    if pause:  # else the circuit is open, and the next call will wait
        LOG.info("%s; retrying in %.1f s", error, pause)
    await asyncio.sleep(pause)


@asynccontextmanager
async def time_limit(
    context: RequestContext,
    seconds: float | None,
    doing: str = "waiting for the cloud",
) -> AsyncIterator[None]:
    """Limit the time of a block.

    :param context: the work that the block is part of; the error says what
        it was waiting for
    :param seconds: the limit; None: no limit
    :param doing: what the block does, if the context does not say
    :raises DeadlineExceeded: the block was not done in time
    :raises PoolmgrError: in its place, the last error that the block was
        about to retry
    """
    if seconds is None:
        yield
        return
    before, trouble = context.end, context.trouble
    end = min(before, asyncio.get_running_loop().time() + seconds)
    context.end = end
    # An error from before the block does not explain a timeout in it, and
    # one in the block does not explain a later timeout.
    context.trouble = None
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except (TimeoutError, errors.Stopped):  # a thread is stopped by an error
        if not limit.expired():
            raise
        late = errors.DeadlineExceeded(context.doing or doing, seconds)
        raise context.trouble or late from None
    finally:
        context.trouble = trouble
        if context.end == end:  # else the job was cancelled meanwhile
            context.end = before

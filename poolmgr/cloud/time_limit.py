"""A limit for the time that something may wait for a cloud."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from poolmgr.errors import DeadlineExceeded
from poolmgr.tracing import RequestContext


@asynccontextmanager
async def time_limit(
    context: RequestContext,
    seconds: float,
    doing: str = "waiting for the cloud",
) -> AsyncIterator[None]:
    """Bound the block in time, and say why that was not enough.

    :param context: what the block works for; it knows what it waits for
    :param seconds: the time that the block has
    :param doing: what it does, if the context does not know
    :raises DeadlineExceeded: the time is up
    :raises PoolmgrError: the last failure of what was repeated until then
    """
    before = context.end
    end = min(before, asyncio.get_running_loop().time() + seconds)
    context.end = end
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        late = DeadlineExceeded(context.doing or doing, seconds)
        raise context.trouble or late from None
    finally:
        if context.end == end:  # else the job was cancelled meanwhile
            context.end = before

"""A job that a client has submitted."""

import asyncio
from typing import Any

from poolmgr.errors import TransportError
from poolmgr.gearman.address import Address
from poolmgr.text import decoded


class JobFailed(TransportError):
    """The worker gave the job up, or it was cancelled.

    :ivar handle: the job server's name of the job
    """

    def __init__(self, handle: str, why: str) -> None:
        self.handle = handle
        super().__init__(f"job {handle} failed: {why}")


class JobTimeout(TransportError):
    """No answer within the time one was willing to wait.

    :ivar handle: the job server's name of the job
    :ivar seconds: that time
    """

    def __init__(self, handle: str, seconds: float) -> None:
        self.handle = handle
        self.seconds = seconds
        super().__init__(f"job {handle}: no answer within {seconds:g} s")


class SubmittedJob:
    """A job that a job server has taken.

    :ivar server: the job server
    :ivar handle: its name of the job
    :ivar background: then nobody is told of its end
    :ivar progress: numerator and denominator, as the worker last said
    """

    def __init__(
        self, server: Address, handle: bytes, background: bool
    ) -> None:
        self.server = server
        self.handle = decoded(handle)
        self.background = background
        self.progress: tuple[int, int] | None = None
        self._end: asyncio.Future[bytes] = quiet_future()

    @property
    def done(self) -> bool:
        """Whether it has ended, the one way or the other."""
        return self._end.done()

    async def result(self, timeout: float | None = None) -> bytes:
        """The worker's answer.

        :param timeout: seconds; None waits as long as it takes
        :raises JobTimeout: no answer yet; one may wait again
        :raises JobFailed: the worker gave up, or the job was cancelled
        :raises TransportError: the connection was lost, or it is in background
        """
        if self.background:
            raise TransportError(f"job {self.handle} is in background")
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.shield(self._end)
        except TimeoutError:
            raise JobTimeout(self.handle, timeout or 0) from None

    def completed(self, answer: bytes) -> None:
        """The answer came."""
        if not self._end.done():
            self._end.set_result(answer)

    def failed(self, error: TransportError) -> None:
        """There will be no answer."""
        if not self._end.done():
            self._end.set_exception(error)


def quiet_future() -> asyncio.Future[Any]:
    """A future whose error nobody needs to look at."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda f: f.cancelled() or f.exception())
    return future

"""A job that a client has submitted."""

import asyncio

from poolmgr.errors import TransportError
from poolmgr.gearman.address import Address
from poolmgr.gearman.connection import quiet_future
from poolmgr.text import decoded


class JobFailed(TransportError):
    """The worker gave the job up, or it was cancelled."""


class JobTimeout(TransportError):
    """No answer within the time one was willing to wait."""


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
            raise JobTimeout(
                f"job {self.handle}: no answer within {timeout:g} s"
            ) from None

    def completed(self, answer: bytes) -> None:
        """The answer came."""
        self._end.set_result(answer)

    def failed(self, error: TransportError) -> None:
        """There will be no answer."""
        self._end.set_exception(error)

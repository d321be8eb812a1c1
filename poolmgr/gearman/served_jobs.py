"""The built-in job server's jobs: which wait, which run, and for whom."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from poolmgr.gearman.protocol import PRIORITIES, PacketType, Priority


class Peer(Protocol):
    """A connection to the server, of a worker or a client."""

    def __hash__(self) -> int: ...

    def send(self, kind: PacketType, *args: bytes) -> None:
        """Send a packet."""


@dataclass(eq=False)
class ServedJob:
    """A job.

    :ivar clients: who waits for its answer
    :ivar background: whether it stays when nobody waits
    :ivar worker: who runs it, None while it waits
    :ivar cancelled: whether it goes when its turn comes; one that runs is
        not told
    :ivar progress: numerator and denominator, as the worker last said
    """

    handle: bytes
    function: bytes
    unique: bytes
    payload: bytes
    priority: Priority
    background: bool
    clients: list[Peer] = field(default_factory=list)
    worker: Peer | None = None
    cancelled: bool = False
    progress: tuple[bytes, bytes] = (b"0", b"0")

    @property
    def status(self) -> list[bytes]:
        """What GET_STATUS is answered, after the handle."""
        return [b"1", b"1" if self.worker else b"0", *self.progress]


class Jobs:
    """All jobs of a server.

    :param prefix: what their handles start with
    """

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix
        self._number = 0
        self._by_handle: dict[bytes, ServedJob] = {}
        self._by_unique: dict[tuple[bytes, bytes], ServedJob] = {}
        self._waiting: dict[tuple[bytes, Priority], deque[ServedJob]] = {}

    def __iter__(self) -> Iterator[ServedJob]:
        return iter(list(self._by_handle.values()))

    def get(self, handle: bytes) -> ServedJob | None:
        """The job of a handle."""
        return self._by_handle.get(handle)

    def named(self, unique: bytes) -> ServedJob | None:
        """A job of a unique, of whatever function."""
        return next((job for job in self if job.unique == unique), None)

    def submit(
        self,
        function: bytes,
        unique: bytes,
        payload: bytes,
        priority: Priority,
        client: Peer | None,
    ) -> ServedJob:
        """Queue a job, or find the one of the same unique.

        :param client: who waits for the answer; None for a background job
        """
        key = _key(function, unique, payload)
        job = self._by_unique.get(key) if unique else None
        if job is None:
            self._number += 1
            handle = b"%s:%d" % (self._prefix, self._number)
            job = ServedJob(
                handle, function, unique, payload, priority, client is None
            )
            self._by_handle[handle] = job
            if unique:
                self._by_unique[key] = job
            self._queue(job)
        if client is not None:
            job.clients.append(client)
        return job

    def grab(self, functions: list[bytes], worker: Peer) -> ServedJob | None:
        """Give the next job of these functions to a worker."""
        for priority in PRIORITIES:
            for function in functions:
                queue = self._waiting.get((function, priority))
                while queue:
                    job = queue.popleft()
                    job.worker = worker
                    if not job.cancelled:
                        return job
                    self.end(job)
        return None

    def waits(self, functions: list[bytes]) -> bool:
        """Whether there is a job for a worker of these functions."""
        return any(
            self._waiting.get((function, priority))
            for priority in PRIORITIES
            for function in functions
        )

    def end(self, job: ServedJob) -> None:
        """Forget a job."""
        self._by_handle.pop(job.handle, None)
        key = _key(job.function, job.unique, job.payload)
        if self._by_unique.get(key) is job:
            del self._by_unique[key]
        if job.worker is None:
            queue = self._waiting.get((job.function, job.priority))
            if queue and job in queue:
                queue.remove(job)

    def requeue(self, worker: Peer, function: bytes | None = None) -> None:
        """Take a worker's jobs back, to the end of the queue.

        :param function: only those of this one
        """
        mine = [
            job
            for job in self
            if job.worker is worker and function in (None, job.function)
        ]
        # gearmand takes them back last first.
        for job in reversed(mine):
            job.worker = None
            if job.clients or job.background:
                self._queue(job)
            else:
                self.end(job)

    def forget_client(self, client: Peer) -> None:
        """A client has gone: with the last, a job that waits goes, too."""
        for job in self:
            job.clients = [c for c in job.clients if c is not client]
            unheard = not (job.clients or job.background)
            if unheard and job.worker is None:
                self.end(job)

    def counts(self) -> dict[bytes, tuple[int, int]]:
        """All jobs and those that run, by function."""
        found: dict[bytes, tuple[int, int]] = {}
        for job in self:
            total, running = found.get(job.function, (0, 0))
            running += job.worker is not None
            found[job.function] = (total + 1, running)
        return found

    def waiting(self) -> dict[bytes, list[int]]:
        """How many wait by function, of each priority."""
        found: dict[bytes, list[int]] = {}
        for (function, priority), queue in self._waiting.items():
            counts = found.setdefault(function, [0] * len(PRIORITIES))
            counts[PRIORITIES.index(priority)] = len(queue)
        return found

    def _queue(self, job: ServedJob) -> None:
        queue = self._waiting.setdefault((job.function, job.priority), deque())
        queue.append(job)


def _key(
    function: bytes, unique: bytes, payload: bytes
) -> tuple[bytes, bytes]:
    """What a job is one by, as gearmand has it: "-" stands for the payload."""
    return function, payload if unique == b"-" else unique

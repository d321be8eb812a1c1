"""The built-in job server's jobs: which wait, which run, and for whom."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
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
    def name(self) -> tuple[bytes, bytes]:
        """What jobs are one by, as gearmand has it: a unique of "-" stands
        for the payload."""
        unique = self.payload if self.unique == b"-" else self.unique
        return self.function, unique

    @property
    def status(self) -> list[bytes]:
        """What GET_STATUS is answered, after the handle."""
        return [b"1", b"1" if self.worker else b"0", *self.progress]


class Jobs:
    """All jobs of a server.

    :param prefix: what their handles start with
    :ivar by_handle: all of them
    :ivar waiting: those that no worker has, in the order of the queue
    """

    def __init__(self, prefix: bytes) -> None:
        self.by_handle: dict[bytes, ServedJob] = {}
        self.waiting: dict[ServedJob, None] = {}
        self._prefix = prefix
        self._number = 0
        self._by_name: dict[tuple[bytes, bytes], ServedJob] = {}

    def __iter__(self) -> Iterator[ServedJob]:
        return iter(list(self.by_handle.values()))

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
        handle = b"%s:%d" % (self._prefix, self._number + 1)
        job = ServedJob(
            handle, function, unique, payload, priority, client is None
        )
        if unique:
            job = self._by_name.setdefault(job.name, job)
        if job.handle == handle:
            self._number += 1
            self.by_handle[handle] = job
            self.waiting[job] = None
        if client is not None:
            job.clients.append(client)
        return job

    def next(self, functions: Collection[bytes]) -> ServedJob | None:
        """The next job for a worker of these functions."""
        able = [job for job in self.waiting if job.function in functions]
        return min(
            able, key=lambda job: PRIORITIES.index(job.priority), default=None
        )

    def grab(
        self, functions: Collection[bytes], worker: Peer
    ) -> ServedJob | None:
        """Give the next job of these functions to a worker."""
        while job := self.next(functions):
            if not job.cancelled:
                del self.waiting[job]
                job.worker = worker
                return job
            self.end(job)
        return None

    def end(self, job: ServedJob) -> None:
        """Forget a job."""
        self.by_handle.pop(job.handle, None)
        if self._by_name.get(job.name) is job:
            del self._by_name[job.name]
        self.waiting.pop(job, None)

    def requeue(self, worker: Peer, function: bytes | None = None) -> None:
        """Take a worker's jobs back, to the end of the queue.

        :param function: only those of this one
        """
        # gearmand takes them back last first.
        for job in reversed(list(self)):
            if job.worker is worker and function in (None, job.function):
                job.worker = None
                self.waiting[job] = None
                self._end_if_unheard(job)

    def forget_client(self, client: Peer) -> None:
        """A client has gone: with the last, a job that waits goes, too."""
        for job in self:
            job.clients = [c for c in job.clients if c is not client]
            self._end_if_unheard(job)

    # -- lines of the admin protocol ----------------------------------------

    def show_jobs(self) -> list[bytes]:
        """Handle, retries, whether it is ignored, whether it waits."""
        return [
            b"%s\t0\t%d\t%d" % (j.handle, j.cancelled, j in self.waiting)
            for j in self
        ]

    def status(self, able: Sequence[bytes]) -> list[bytes]:
        """Function, jobs, running jobs, workers.

        :param able: the functions of all workers
        """
        total = Counter(job.function for job in self)
        waiting = Counter(job.function for job in self.waiting)
        return [
            b"%s\t%d\t%d\t%d"
            % (f, total[f], total[f] - waiting[f], able.count(f))
            for f in sorted({*total, *able})
        ]

    def priority_status(self) -> list[bytes]:
        """Function, waiting jobs of high, normal and low priority, workers
        (unknown)."""
        waiting = Counter((job.function, job.priority) for job in self.waiting)
        lines = []
        for function in sorted({job.function for job in self.waiting}):
            high, normal, low = (waiting[function, p] for p in PRIORITIES)
            counts = high, normal, low
            lines.append(b"%s\t%d\t%d\t%d\t0" % (function, *counts))
        return lines

    def _end_if_unheard(self, job: ServedJob) -> None:
        if job.worker is None and not (job.clients or job.background):
            self.end(job)

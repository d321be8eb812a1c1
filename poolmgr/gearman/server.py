"""A job server for demonstrations and tests; **not for production**.

It behaves as gearmand does where failures hide, but keeps nothing on disk,
knows nobody's rights and is not fast.
"""

import argparse
import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from poolmgr.gearman.endpoint import Address
from poolmgr.gearman.protocol import (
    PRIORITIES,
    REQUEST,
    RESPONSE,
    SUBMIT,
    Parser,
    ProtocolError,
    encode,
)
from poolmgr.gearman.protocol import PacketType as T

_SUBMIT = {
    kind: (PRIORITIES.index(priority), background)
    for (priority, background), kind in SUBMIT.items()
}
_FINAL = (T.WORK_COMPLETE, T.WORK_FAIL, T.WORK_EXCEPTION)
_PASSED_ON = (*_FINAL, T.WORK_STATUS, T.WORK_DATA, T.WORK_WARNING)


@dataclass(eq=False)
class Peer:
    """A worker, a client, or somebody who asks how things are.

    :ivar functions: what it can do
    :ivar asleep: whether it waits to be called
    """

    writer: asyncio.StreamWriter
    client_id: bytes = b"-"
    functions: dict[bytes, None] = field(default_factory=dict)
    asleep: bool = False

    def send(self, kind: T, *args: bytes) -> None:
        """Send a packet."""
        self.writer.write(encode(kind, *args, magic=RESPONSE))

    @property
    def description(self) -> bytes:
        """Number (always 0), address, name, functions."""
        ip = self.writer.get_extra_info("peername")[0].encode()
        functions = b" ".join(self.functions)
        return b"0 %s %s : %s" % (ip, self.client_id, functions)


@dataclass(eq=False)
class Job:
    """A job.

    :ivar rank: of its priority, 0 is the highest
    :ivar background: whether it stays when nobody waits
    :ivar clients: who waits for its answer
    :ivar worker: who runs it, None while it waits
    """

    handle: bytes
    function: bytes
    unique: bytes
    payload: bytes
    rank: int
    background: bool
    clients: list[Peer] = field(default_factory=list)
    worker: Peer | None = None

    @property
    def name(self) -> tuple[bytes, bytes]:
        """What jobs are one by, as gearmand has it: a unique of "-" stands
        for the payload."""
        unique = self.payload if self.unique == b"-" else self.unique
        return self.function, unique


class JobServer:
    """The server.

    :param host: where to listen
    :param port: where to listen; 0 for any port that is free
    :ivar address: where it listens
    :ivar jobs: its jobs by their handles, in the order of the queue
    """

    _server: asyncio.Server

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.address = Address(host, port)
        self.jobs: dict[bytes, Job] = {}
        self._peers: set[Peer] = set()
        self._numbers = itertools.count(1)

    async def start(self) -> None:
        """Listen; :attr:`address` has the port then."""
        host, port = self.address.host, self.address.port
        self._server = await asyncio.start_server(self.serve, host, port)
        port = self._server.sockets[0].getsockname()[1]
        self.address = Address(host, port)

    async def close(self) -> None:
        """Stop listening and close every connection."""
        self._server.close()
        for peer in self._peers:
            peer.writer.transport.abort()
        # The connections end in the loop's next turns.
        while self._peers:
            await asyncio.sleep(0)

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Serve a connection to its end."""
        peer = Peer(writer)
        self._peers.add(peer)
        try:
            data = await reader.read(1)
            # A packet starts with NUL, a line of the admin protocol does not.
            if data == b"\0":
                parser = Parser(magic=REQUEST)
                while data:
                    for kind, args in parser.feed(data):
                        self._received(peer, kind, args)
                    data = await reader.read(65536)
            while data:
                data += await reader.readline()
                writer.write(self._answer(data.split()))
                data = await reader.read(1)
        except (OSError, ValueError, ProtocolError):
            pass  # a line without end is a ValueError
        finally:
            writer.close()
            self._peers.discard(peer)
            self._forget(peer)
            self._wake()

    # -- packets ------------------------------------------------------------

    def _received(self, peer: Peer, kind: T, args: list[bytes]) -> None:
        match kind:
            case _ if kind in _SUBMIT:
                self._submit(peer, kind, args)
            case _ if kind in _PASSED_ON:
                self._pass_on(peer, kind, args)
            case T.CAN_DO:
                peer.functions[args[0]] = None
            case T.GRAB_JOB_UNIQ:
                self._grab(peer)
            case T.PRE_SLEEP:
                peer.asleep = True
                self._wake()
            case T.ECHO_REQ:
                peer.send(T.ECHO_RES, *args)
            case T.SET_CLIENT_ID:
                peer.client_id = args[0]
            case T.GET_STATUS:
                status = _status(self.jobs.get(args[0]))
                peer.send(T.STATUS_RES, args[0], *status[:-1])
            case T.GET_STATUS_UNIQUE:
                named = (j for j in self.jobs.values() if j.unique == args[0])
                status = _status(next(named, None))
                peer.send(T.STATUS_RES_UNIQUE, args[0], *status)
            case _:
                peer.send(T.ERROR, b"INVALID_PACKET", kind.name.encode())

    def _submit(self, client: Peer, kind: T, args: list[bytes]) -> None:
        """Queue a job, or find the one of the same unique."""
        function, unique, payload = args
        handle = b"H:built-in:%d" % next(self._numbers)
        new = Job(handle, function, unique, payload, *_SUBMIT[kind])
        for job in self.jobs.values():
            if job.unique and job.name == new.name:
                break
        else:
            job = self.jobs[handle] = new
        if not new.background:
            job.clients.append(client)
        client.send(T.JOB_CREATED, job.handle)
        self._wake()

    def _next(self, worker: Peer) -> Job | None:
        """The next job for a worker."""
        able = [
            job
            for job in self.jobs.values()
            if job.worker is None and job.function in worker.functions
        ]
        return min(able, key=lambda job: job.rank, default=None)

    def _grab(self, worker: Peer) -> None:
        worker.asleep = False
        job = self._next(worker)
        if job is None:
            worker.send(T.NO_JOB)
        else:
            job.worker = worker
            what = job.handle, job.function, job.unique, job.payload
            worker.send(T.JOB_ASSIGN_UNIQ, *what)

    def _pass_on(self, worker: Peer, kind: T, args: list[bytes]) -> None:
        """Pass on to the clients what a worker says of its job."""
        job = self.jobs.get(args[0])
        if job is None or job.worker is not worker:
            worker.send(T.ERROR, b"JOB_NOT_FOUND", b"Job+not+found")
            return
        for client in job.clients:
            client.send(kind, *args)
        if kind in _FINAL:
            del self.jobs[job.handle]

    def _forget(self, peer: Peer) -> None:
        """Somebody has gone.

        A worker's jobs go back to the end of the queue; with its last client
        a job that waits goes, too.
        """
        # gearmand takes them back last first.
        for job in reversed(list(self.jobs.values())):
            job.clients = [c for c in job.clients if c is not peer]
            if job.worker is peer:
                job.worker = None
                self.jobs[job.handle] = self.jobs.pop(job.handle)
            if job.worker is None and not (job.clients or job.background):
                del self.jobs[job.handle]

    def _wake(self) -> None:
        """Call the workers that sleep and have a job now."""
        for peer in self._peers:
            if peer.asleep and self._next(peer):
                peer.asleep = False
                peer.send(T.NOOP)

    # -- the admin protocol -------------------------------------------------

    def _answer(self, words: list[bytes]) -> bytes:
        if words == [b"status"]:
            lines = list(self._count_jobs())
        elif words == [b"workers"]:
            lines = [peer.description for peer in self._peers]
        else:
            return b"ERR UNKNOWN_COMMAND Unknown+server+command\r\n"
        return b"".join(b"%s\n" % line for line in lines) + b".\n"

    def _count_jobs(self) -> Iterator[bytes]:
        """Function, jobs, running jobs, workers."""
        jobs = self.jobs.values()
        total = Counter(job.function for job in jobs)
        running = Counter(job.function for job in jobs if job.worker)
        able = Counter(f for peer in self._peers for f in peer.functions)
        for f in sorted({*total, *able}):
            yield b"%s\t%d\t%d\t%d" % (f, total[f], running[f], able[f])


def _status(job: Job | None) -> list[bytes]:
    """Known, running, progress (never), and how many clients wait."""
    if job is None:
        return [b"0"] * 5
    running = b"1" if job.worker else b"0"
    return [b"1", running, b"0", b"0", b"%d" % len(job.clients)]


async def _run(server: JobServer) -> None:
    await server.start()
    print(f"job server (not for production) on {server.address}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """``python -m poolmgr.gearman.server``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4730)
    server = JobServer(**vars(parser.parse_args()))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(server))


if __name__ == "__main__":
    main()

"""A job server for demonstrations and tests; **not for production**.

It behaves like gearmand where that matters for failures, but has no
priorities, no persistent queue and no access control, and is not fast.
"""

import argparse
import asyncio
import contextlib
import itertools
from collections import Counter
from dataclasses import dataclass, field

from poolmgr.gearman import protocol
from poolmgr.gearman.endpoint import Address
from poolmgr.gearman.protocol import PacketType as T

#: The packet types that submit a job, and whether it is a background job.
_SUBMIT = {kind: key[1] for key, kind in protocol.SUBMIT.items()}
_FINAL = (T.WORK_COMPLETE, T.WORK_FAIL, T.WORK_EXCEPTION)
_FORWARDED = (*_FINAL, T.WORK_STATUS, T.WORK_DATA, T.WORK_WARNING)


@dataclass(eq=False)
class Peer:
    """The connection of a worker or client.

    :ivar functions: the functions that it can run, as a set that keeps order
    :ivar asleep: whether it waits to be woken
    """

    writer: asyncio.StreamWriter
    client_id: bytes = b"-"
    functions: dict[bytes, None] = field(default_factory=dict)
    asleep: bool = False

    def send(self, kind: T, *args: bytes) -> None:
        """Send a packet."""
        packet = protocol.encode(kind, *args, magic=protocol.RESPONSE)
        self.writer.write(packet)


@dataclass(eq=False)
class Job:
    """A queued or running job.

    :ivar background: whether it stays in the queue without clients
    :ivar clients: the clients that wait for its answer
    :ivar worker: the worker that runs it; None while it is queued
    """

    handle: bytes
    function: bytes
    unique: bytes
    payload: bytes
    background: bool
    clients: list[Peer] = field(default_factory=list)
    worker: Peer | None = None


class JobServer:
    """The server.

    :param host: the address to listen on
    :param port: the port to listen on; 0 for any free port
    :ivar address: where it listens
    :ivar jobs: its jobs by handle, in the order of the queue
    """

    _server: asyncio.Server

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.address = Address(host, port)
        self.jobs: dict[bytes, Job] = {}
        self._peers: set[Peer] = set()
        self._numbers = itertools.count(1)

    async def start(self) -> None:
        """Listen, and set the port of :attr:`address`."""
        host, port = self.address.host, self.address.port
        self._server = await asyncio.start_server(self.serve, host, port)
        port = self._server.sockets[0].getsockname()[1]
        self.address = Address(host, port)

    async def close(self) -> None:
        """Stop listening and close all connections."""
        self._server.close()
        for peer in self._peers:
            peer.writer.transport.abort()
        # The connections end in the next iterations of the loop.
        # Server.wait_closed() of Python 3.11 does not wait for connections.
        while self._peers:
            await asyncio.sleep(0)

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Serve a connection until it ends."""
        peer = Peer(writer)
        self._peers.add(peer)
        try:
            data = await reader.read(1)
            # A packet starts with NUL, an admin command does not.
            if data == b"\0":
                parser = protocol.Parser(magic=protocol.REQUEST)
                while data:
                    for kind, args in parser.feed(data):
                        self._received(peer, kind, args)
                    data = await reader.read(65536)
            while data:
                data += await reader.readline()
                writer.write(self._run_command(data.split()))
                data = await reader.read(1)
        except (OSError, ValueError, protocol.ProtocolError):
            pass  # ValueError: a line is too long
        finally:
            writer.close()
            self._peers.discard(peer)
            self._forget(peer)
            self._wake_workers()

    # -- packets ------------------------------------------------------------

    def _received(self, peer: Peer, kind: T, args: list[bytes]) -> None:
        match kind:
            case _ if kind in _SUBMIT:
                self._submit(peer, kind, args)
            case _ if kind in _FORWARDED:
                self._forward(peer, kind, args)
            case T.CAN_DO:
                peer.functions[args[0]] = None
            case T.GRAB_JOB_UNIQ:
                self._assign(peer)
            case T.PRE_SLEEP:
                peer.asleep = True
                # A job may have arrived since the worker's last GRAB_JOB_UNIQ.
                self._wake_workers()
            case T.ECHO_REQ:
                peer.send(T.ECHO_RES, *args)
            case T.SET_CLIENT_ID:
                peer.client_id = args[0]
            case T.GET_STATUS:
                status = _status(self.jobs.get(args[0]))
                peer.send(T.STATUS_RES, args[0], *status[:-1])
            case T.GET_STATUS_UNIQUE:
                found = (j for j in self.jobs.values() if j.unique == args[0])
                status = _status(next(found, None))
                peer.send(T.STATUS_RES_UNIQUE, args[0], *status)
            case _:
                peer.send(T.ERROR, b"INVALID_PACKET", kind.name.encode())

    def _submit(self, client: Peer, kind: T, args: list[bytes]) -> None:
        """Queue a job, or join the job with the same unique."""
        function, unique, payload = args
        handle = b"H:built-in:%d" % next(self._numbers)
        job = Job(handle, function, unique, payload, _SUBMIT[kind])
        if unique not in (b"", b"-"):
            for other in self.jobs.values():
                if (other.function, other.unique) == (function, unique):
                    job = other
        self.jobs[job.handle] = job
        if not _SUBMIT[kind]:
            job.clients.append(client)
        client.send(T.JOB_CREATED, job.handle)
        self._wake_workers()

    def _next_job(self, worker: Peer) -> Job | None:
        for job in self.jobs.values():
            if job.worker is None and job.function in worker.functions:
                return job
        return None

    def _assign(self, worker: Peer) -> None:
        worker.asleep = False
        job = self._next_job(worker)
        if job is None:
            worker.send(T.NO_JOB)
        else:
            job.worker = worker
            args = job.handle, job.function, job.unique, job.payload
            worker.send(T.JOB_ASSIGN_UNIQ, *args)

    def _forward(self, worker: Peer, kind: T, args: list[bytes]) -> None:
        """Forward a worker's packet to the clients of the job."""
        job = self.jobs.get(args[0])
        if job is None or job.worker is not worker:
            worker.send(T.ERROR, b"JOB_NOT_FOUND", b"Job+not+found")
            return
        for client in job.clients:
            client.send(kind, *args)
        if kind in _FINAL:
            del self.jobs[job.handle]

    def _forget(self, peer: Peer) -> None:
        """Queue a lost worker's jobs again; drop a lost client's queued jobs.

        The worker's jobs go to the end of the queue, in reverse order, as with
        gearmand. Background jobs and jobs with other clients are kept.
        """
        for job in reversed(list(self.jobs.values())):
            job.clients = [c for c in job.clients if c is not peer]
            if job.worker is peer:
                job.worker = None
                self.jobs[job.handle] = self.jobs.pop(job.handle)
            if job.worker is None and not (job.clients or job.background):
                del self.jobs[job.handle]

    def _wake_workers(self) -> None:
        """Notify the sleeping workers that can run a queued job."""
        for peer in self._peers:
            if peer.asleep and self._next_job(peer):
                peer.asleep = False
                peer.send(T.NOOP)

    # -- the admin protocol -------------------------------------------------

    def _run_command(self, words: list[bytes]) -> bytes:
        if words == [b"status"]:
            lines = self._list_functions()
        elif words == [b"workers"]:
            lines = [_describe(peer) for peer in self._peers]
        else:
            return b"ERR UNKNOWN_COMMAND Unknown+server+command\r\n"
        return b"".join(b"%s\n" % line for line in lines) + b".\n"

    def _list_functions(self) -> list[bytes]:
        """Return name, jobs, running jobs and workers of each function."""
        jobs = self.jobs.values()
        total = Counter(job.function for job in jobs)
        running = Counter(job.function for job in jobs if job.worker)
        able = Counter(f for peer in self._peers for f in peer.functions)
        return [
            b"%s\t%d\t%d\t%d" % (f, total[f], running[f], able[f])
            for f in sorted({*total, *able})
        ]


def _describe(peer: Peer) -> bytes:
    """Return file descriptor (always 0), address, client id and functions."""
    ip = peer.writer.get_extra_info("peername")[0].encode()
    return b"0 %s %s : %s" % (ip, peer.client_id, b" ".join(peer.functions))


def _status(job: Job | None) -> list[bytes]:
    """Return whether a job is known and running, its progress (always 0/0),
    and the number of its clients."""
    if job is None:
        return [b"0"] * 5
    running = b"1" if job.worker else b"0"
    return [b"1", running, b"0", b"0", b"%d" % len(job.clients)]


async def _run(server: JobServer) -> None:
    await server.start()
    print(f"job server (not for production) on {server.address}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Run ``python -m poolmgr.gearman.server``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4730)
    server = JobServer(**vars(parser.parse_args()))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(server))


if __name__ == "__main__":
    main()

"""The built-in job server behaves like gearmand; each test runs with both."""

import socket
from collections.abc import Iterator

import pytest

from poolmgr.gearman.protocol import Packet, PacketType, Parser, encode
from tests.jobservers import JobServerProcess
from tests.polling import until

T = PacketType
TIMEOUT = 20.0


class Peer:
    """A connection that sends and receives single packets."""

    def __init__(self, server: JobServerProcess) -> None:
        address = (server.address.host, server.address.port)
        self._sock = socket.create_connection(address, TIMEOUT)
        self._parser = Parser()
        self._packets: list[Packet] = []

    def send(self, kind: PacketType, *args: bytes) -> None:
        """Send a packet."""
        self._sock.sendall(encode(kind, *args))

    def receive(self) -> Packet:
        """The next packet."""
        while not self._packets:
            data = self._sock.recv(65536)
            assert data, "the server closed the connection"
            self._packets += self._parser.feed(data)
        return self._packets.pop(0)

    def ask(self, kind: PacketType, *args: bytes) -> Packet:
        """Send a packet and receive one."""
        self.send(kind, *args)
        return self.receive()

    def says_nothing(self) -> bool:
        """Whether nothing had been sent before the answer to an ECHO."""
        return self.ask(T.ECHO_REQ, b"end") == (T.ECHO_RES, [b"end"])

    def submit(self, unique: bytes, payload: bytes = b"x") -> bytes:
        """Submit a foreground job; its handle."""
        created = self.ask(T.SUBMIT_JOB, b"f", unique, payload)
        assert created.type is T.JOB_CREATED
        return created.args[0]

    def close(self) -> None:
        """Go away."""
        self._sock.close()


class Peers:
    """The connections of a test."""

    def __init__(self, server: JobServerProcess) -> None:
        self._server = server
        self._all: list[Peer] = []

    def client(self) -> Peer:
        """One more."""
        self._all.append(Peer(self._server))
        return self._all[-1]

    def worker(self) -> Peer:
        """One more, that can do "f"."""
        worker = self.client()
        worker.send(T.CAN_DO, b"f")
        return worker

    def command(self, line: str) -> str:
        """What the admin protocol answers."""
        address = (self._server.address.host, self._server.address.port)
        with socket.create_connection(address, TIMEOUT) as sock:
            sock.sendall(f"{line}\n".encode())
            return sock.recv(65536).decode().replace("\r", "")

    def leaves(self, peer: Peer) -> None:
        """One goes away, and the server knows of it."""
        self._all.remove(peer)
        peer.close()
        for each in self._all:
            assert each.says_nothing()
        # One line for each, for who asks, and for the end.
        lines = len(self._all) + 2
        until(lambda: len(self.command("workers").splitlines()) == lines)

    def close(self) -> None:
        """All go away."""
        for peer in self._all:
            peer.close()


@pytest.fixture
def peers(job_server: JobServerProcess) -> Iterator[Peers]:
    """Makes connections to a server."""
    peers = Peers(job_server)
    yield peers
    peers.close()


def test_a_job_is_handed_out_once(peers: Peers) -> None:
    handle = peers.client().submit(b"u", b"x\0y")
    worker = peers.worker()

    assert worker.ask(T.GRAB_JOB_UNIQ) == (
        T.JOB_ASSIGN_UNIQ,
        [handle, b"f", b"u", b"x\0y"],
    )
    assert worker.ask(T.GRAB_JOB_UNIQ) == (T.NO_JOB, [])


def test_a_sleeping_worker_is_woken(peers: Peers) -> None:
    client, worker = peers.client(), peers.worker()
    assert worker.ask(T.GRAB_JOB_UNIQ).type is T.NO_JOB
    worker.send(T.PRE_SLEEP)
    assert worker.says_nothing()

    client.submit(b"u")

    assert worker.receive().type is T.NOOP
    assert worker.ask(T.GRAB_JOB_UNIQ).type is T.JOB_ASSIGN_UNIQ


def test_a_worker_that_goes_to_sleep_too_late_is_woken_at_once(
    peers: Peers,
) -> None:
    client, worker = peers.client(), peers.worker()
    assert worker.ask(T.GRAB_JOB_UNIQ).type is T.NO_JOB
    client.submit(b"u")

    assert worker.ask(T.PRE_SLEEP).type is T.NOOP


def test_results_and_progress_reach_every_client_of_the_job(
    peers: Peers,
) -> None:
    clients = [peers.client(), peers.client()]
    handles = {client.submit(b"same") for client in clients}
    worker = peers.worker()
    (handle,) = handles
    assert worker.ask(T.GRAB_JOB_UNIQ).args[0] == handle

    worker.send(T.WORK_STATUS, handle, b"1", b"2")
    worker.send(T.WORK_COMPLETE, handle, b"y\0z")

    for client in clients:
        assert client.receive() == (T.WORK_STATUS, [handle, b"1", b"2"])
        assert client.receive() == (T.WORK_COMPLETE, [handle, b"y\0z"])
    assert worker.says_nothing()


def test_an_unknown_handle_is_an_error(peers: Peers) -> None:
    worker = peers.worker()

    for kind, args in (
        (T.WORK_COMPLETE, [b"x"]),
        (T.WORK_FAIL, []),
        (T.WORK_STATUS, [b"1", b"2"]),
    ):
        answer = worker.ask(kind, b"H:nowhere:1", *args)
        assert answer.type is T.ERROR
        assert answer.args[0] == b"JOB_NOT_FOUND"
    assert worker.says_nothing()


def test_a_second_result_is_an_error(peers: Peers) -> None:
    client, worker = peers.client(), peers.worker()
    handle = client.submit(b"u")
    worker.ask(T.GRAB_JOB_UNIQ)

    worker.send(T.WORK_COMPLETE, handle, b"y")

    assert worker.ask(T.WORK_COMPLETE, handle, b"z").type is T.ERROR
    assert client.receive() == (T.WORK_COMPLETE, [handle, b"y"])
    assert client.says_nothing()


def test_only_the_jobs_worker_can_answer_it(peers: Peers) -> None:
    client, worker, other = peers.client(), peers.worker(), peers.worker()
    handle = client.submit(b"u")
    worker.ask(T.GRAB_JOB_UNIQ)

    assert other.ask(T.WORK_COMPLETE, handle, b"y").type is T.ERROR
    assert other.ask(T.WORK_STATUS, handle, b"1", b"2").type is T.ERROR

    worker.send(T.WORK_COMPLETE, handle, b"z")
    assert client.receive() == (T.WORK_COMPLETE, [handle, b"z"])


def test_jobs_of_a_lost_worker_go_to_another(peers: Peers) -> None:
    client, worker, other = peers.client(), peers.worker(), peers.worker()
    handles = [client.submit(b"%d" % n) for n in range(3)]
    for handle in handles:
        assert worker.ask(T.GRAB_JOB_UNIQ).args[0] == handle
    assert other.ask(T.GRAB_JOB_UNIQ).type is T.NO_JOB
    other.send(T.PRE_SLEEP)
    assert other.says_nothing()

    worker.close()

    assert other.receive().type is T.NOOP
    came = [other.ask(T.GRAB_JOB_UNIQ).args for _ in range(3)]
    assert {tuple(args[:3:2]) for args in came} == {
        (handle, b"%d" % n) for n, handle in enumerate(handles)
    }


def test_a_queued_job_is_dropped_with_its_client(peers: Peers) -> None:
    client, worker = peers.client(), peers.worker()
    client.submit(b"u")
    peers.leaves(client)

    assert worker.ask(T.GRAB_JOB_UNIQ).type is T.NO_JOB


def test_a_running_job_continues_without_its_client(peers: Peers) -> None:
    client, worker = peers.client(), peers.worker()
    handle = client.submit(b"u")
    worker.ask(T.GRAB_JOB_UNIQ)
    peers.leaves(client)

    worker.send(T.WORK_COMPLETE, handle, b"y")

    assert worker.says_nothing()
    assert peers.command("status") == "f\t0\t0\t1\n.\n"


def test_a_background_job_stays(peers: Peers) -> None:
    client, worker = peers.client(), peers.worker()
    handle = client.ask(T.SUBMIT_JOB_BG, b"f", b"u", b"x").args[0]
    peers.leaves(client)

    assert worker.ask(T.GRAB_JOB_UNIQ).args[0] == handle


def test_an_exception_is_the_end_of_a_job(peers: Peers) -> None:
    client, worker = peers.client(), peers.worker()
    handle = client.submit(b"u")
    worker.ask(T.GRAB_JOB_UNIQ)

    worker.send(T.WORK_EXCEPTION, handle, b"odd")

    assert worker.ask(T.WORK_FAIL, handle).type is T.ERROR


def test_the_state_of_a_job_can_be_asked_for(peers: Peers) -> None:
    client, worker = peers.client(), peers.worker()
    handle = client.submit(b"u")
    worker.ask(T.GRAB_JOB_UNIQ)

    status = client.ask(T.GET_STATUS, handle).args
    assert status == [handle, b"1", b"1", b"0", b"0"]
    assert client.ask(T.GET_STATUS, b"H:no:1").args[1:] == [b"0"] * 4


def test_the_admin_protocol_answers(peers: Peers) -> None:
    worker = peers.worker()
    worker.send(T.SET_CLIENT_ID, b"me")
    assert worker.says_nothing()
    peers.client().submit(b"u")

    assert peers.command("status") == "f\t1\t0\t1\n.\n"
    assert " 127.0.0.1 me : f\n" in peers.command("workers")
    assert peers.command("nonsense").startswith("ERR UNKNOWN_COMMAND")

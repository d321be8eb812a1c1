"""Tests of the built-in job server, which run with gearmand as well."""

import socket
from collections.abc import Iterator

import pytest

from poolmgr.gearman.protocol import PacketType
from tests.gearman.raw import RawPeer
from tests.gearman_workers import TIMEOUT
from tests.jobservers import JobServerProcess
from tests.polling import until

T = PacketType


class Peers:
    """A test's connections to a job server."""

    def __init__(self, server: JobServerProcess) -> None:
        self._server = server
        self._all: list[RawPeer] = []

    def client(self) -> RawPeer:
        """Connect a client."""
        self._all.append(RawPeer(self._server.address))
        return self._all[-1]

    def worker(self) -> RawPeer:
        """Connect a worker that registers "f"."""
        worker = self.client()
        worker.send(T.CAN_DO, b"f")
        return worker

    def command(self, line: str) -> str:
        """Send a command of the admin protocol and return the answer."""
        address = (self._server.address.host, self._server.address.port)
        with socket.create_connection(address, TIMEOUT) as sock:
            sock.sendall(f"{line}\n".encode())
            return sock.recv(65536).decode().replace("\r", "")

    def disconnect(self, peer: RawPeer) -> None:
        """Disconnect a peer and wait until the server has noticed."""
        self._all.remove(peer)
        peer.close()
        for each in self._all:
            assert each.received_nothing()
        # The list has a line for the query's own connection and a last line.
        lines = len(self._all) + 2
        until(lambda: len(self.command("workers").splitlines()) == lines)

    def close(self) -> None:
        """Disconnect all peers."""
        for peer in self._all:
            peer.close()


@pytest.fixture
def peers(job_server: JobServerProcess) -> Iterator[Peers]:
    """Yield connections to a job server."""
    peers = Peers(job_server)
    yield peers
    peers.close()


def test_a_job_is_assigned_once(peers: Peers) -> None:
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
    assert worker.received_nothing()

    client.submit(b"u")

    assert worker.receive().type is T.NOOP
    assert worker.ask(T.GRAB_JOB_UNIQ).type is T.JOB_ASSIGN_UNIQ


def test_a_worker_that_sleeps_after_a_submission_is_woken(
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
    assert worker.received_nothing()


def test_answers_with_an_unknown_handle_are_refused(peers: Peers) -> None:
    worker = peers.worker()

    for kind, args in (
        (T.WORK_COMPLETE, [b"x"]),
        (T.WORK_FAIL, []),
        (T.WORK_STATUS, [b"1", b"2"]),
    ):
        answer = worker.ask(kind, b"H:nowhere:1", *args)
        assert answer.type is T.ERROR
        assert answer.args[0] == b"JOB_NOT_FOUND"
    assert worker.received_nothing()


def test_a_second_result_is_refused(peers: Peers) -> None:
    client, worker = peers.client(), peers.worker()
    handle = client.submit(b"u")
    worker.ask(T.GRAB_JOB_UNIQ)

    worker.send(T.WORK_COMPLETE, handle, b"y")

    assert worker.ask(T.WORK_COMPLETE, handle, b"z").type is T.ERROR
    assert client.receive() == (T.WORK_COMPLETE, [handle, b"y"])
    assert client.received_nothing()


def test_only_the_assigned_worker_can_answer_a_job(peers: Peers) -> None:
    client, worker, other = peers.client(), peers.worker(), peers.worker()
    handle = client.submit(b"u")
    worker.ask(T.GRAB_JOB_UNIQ)

    assert other.ask(T.WORK_COMPLETE, handle, b"y").type is T.ERROR
    assert other.ask(T.WORK_STATUS, handle, b"1", b"2").type is T.ERROR

    worker.send(T.WORK_COMPLETE, handle, b"z")
    assert client.receive() == (T.WORK_COMPLETE, [handle, b"z"])


def test_jobs_of_a_lost_worker_are_assigned_to_another(peers: Peers) -> None:
    client, worker, other = peers.client(), peers.worker(), peers.worker()
    handles = [client.submit(b"%d" % n) for n in range(3)]
    for handle in handles:
        assert worker.ask(T.GRAB_JOB_UNIQ).args[0] == handle
    assert other.ask(T.GRAB_JOB_UNIQ).type is T.NO_JOB
    other.send(T.PRE_SLEEP)
    assert other.received_nothing()

    worker.close()

    assert other.receive().type is T.NOOP
    assigned = [other.ask(T.GRAB_JOB_UNIQ).args for _ in range(3)]
    assert {tuple(args[:3:2]) for args in assigned} == {
        (handle, b"%d" % n) for n, handle in enumerate(handles)
    }


def test_a_queued_job_is_dropped_with_its_client(peers: Peers) -> None:
    client, worker = peers.client(), peers.worker()
    client.submit(b"u")
    peers.disconnect(client)

    assert worker.ask(T.GRAB_JOB_UNIQ).type is T.NO_JOB


def test_a_running_job_continues_without_its_client(peers: Peers) -> None:
    client, worker = peers.client(), peers.worker()
    handle = client.submit(b"u")
    worker.ask(T.GRAB_JOB_UNIQ)
    peers.disconnect(client)

    worker.send(T.WORK_COMPLETE, handle, b"y")

    assert worker.received_nothing()
    assert peers.command("status") == "f\t0\t0\t1\n.\n"


def test_a_background_job_is_kept_without_its_client(peers: Peers) -> None:
    client, worker = peers.client(), peers.worker()
    handle = client.ask(T.SUBMIT_JOB_BG, b"f", b"u", b"x").args[0]
    peers.disconnect(client)

    assert worker.ask(T.GRAB_JOB_UNIQ).args[0] == handle


def test_an_exception_ends_the_job(peers: Peers) -> None:
    client, worker = peers.client(), peers.worker()
    handle = client.submit(b"u")
    worker.ask(T.GRAB_JOB_UNIQ)

    worker.send(T.WORK_EXCEPTION, handle, b"odd")

    assert worker.ask(T.WORK_FAIL, handle).type is T.ERROR


def test_the_status_of_a_job_can_be_queried(peers: Peers) -> None:
    client, worker = peers.client(), peers.worker()
    handle = client.submit(b"u")
    worker.ask(T.GRAB_JOB_UNIQ)

    status = client.ask(T.GET_STATUS, handle).args
    assert status == [handle, b"1", b"1", b"0", b"0"]
    assert client.ask(T.GET_STATUS, b"H:no:1").args[1:] == [b"0"] * 4


def test_admin_commands_are_answered(peers: Peers) -> None:
    worker = peers.worker()
    worker.send(T.SET_CLIENT_ID, b"me")
    assert worker.received_nothing()
    peers.client().submit(b"u")

    assert peers.command("status") == "f\t1\t0\t1\n.\n"
    assert " 127.0.0.1 me : f\n" in peers.command("workers")
    assert peers.command("nonsense").startswith("ERR UNKNOWN_COMMAND")

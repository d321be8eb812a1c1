"""Tests of the progress that builds report by WORK_STATUS."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolmgr.gearman.protocol import Packet, PacketType
from tests.batches import FUNCTION
from tests.gearman.raw import RawPeer
from tests.jobservers import JobServerProcess, gearmand
from tests.polling import until
from tests.processes import worker

T = PacketType


@pytest.fixture
def job_server() -> Iterator[JobServerProcess]:
    """Run gearmand: the built-in job server does not store progress."""
    with gearmand() as server:
        yield server


@pytest.fixture
def client(job_server: JobServerProcess) -> Iterator[RawPeer]:
    """Return a client that receives every packet."""
    with RawPeer(job_server.address) as client:
        yield client


def submit(client: RawPeer, kind: PacketType, action: str) -> bytes:
    """Submit a job and return its handle."""
    payload = json.dumps({"action": action}).encode()
    created = client.ask(kind, FUNCTION.encode(), b"u", payload)
    assert created.type is T.JOB_CREATED
    return created.args[0]


def read_until_complete(client: RawPeer) -> list[Packet]:
    """Return the packets before the answer."""
    packets = []
    while (packet := client.receive()).type is not T.WORK_COMPLETE:
        packets.append(packet)
    return packets


def test_a_build_reports_its_progress_and_a_short_job_does_not(
    job_server: JobServerProcess, client: RawPeer
) -> None:
    with worker([str(job_server.address)]) as process:
        process.wait_for("registered")
        handle = submit(client, T.SUBMIT_JOB, "BUILD_DEVICE")
        build_packets = read_until_complete(client)
        submit(client, T.SUBMIT_JOB, "BUILD_IP")
        short_job_packets = read_until_complete(client)

    assert build_packets == [
        (T.WORK_STATUS, [handle, b"1", b"3"]),
        (T.WORK_STATUS, [handle, b"2", b"3"]),
    ]
    assert short_job_packets == []


def test_the_progress_of_a_background_build_can_be_queried(
    job_server: JobServerProcess, client: RawPeer, tmp_path: Path
) -> None:
    config = "[fake]\nboot_time = 3600\n"
    with worker([str(job_server.address)], config, tmp_path) as process:
        process.wait_for("registered")
        handle = submit(client, T.SUBMIT_JOB_BG, "BUILD_DEVICE")
        booting = [handle, b"1", b"1", b"1", b"3"]
        until(lambda: client.ask(T.GET_STATUS, handle).args == booting)

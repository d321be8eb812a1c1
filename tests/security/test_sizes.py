"""Jobs that are too long, too deeply nested or too many."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from poolmgr import PoolManager
from poolmgr.drivers.fake import FakeCloud
from poolmgr.gearman import admin
from poolmgr.gearman.client import Client
from poolmgr.gearman.endpoint import Address
from poolmgr.gearman.protocol import (
    REQUEST,
    PacketType,
    Parser,
    ProtocolError,
    encode,
)
from poolmgr.jobs import message
from poolmgr.settings import WorkerSettings
from poolmgr.worker.assigned_job import AssignedJob
from poolmgr.worker.slots import HELD_BYTES, JobSlots
from tests.jobservers import JobServerProcess, gearmand
from tests.polling import until
from tests.processes import Process

MIB = 1024 * 1024
FUNCTION = "libra_pool_mgm"


@pytest.fixture
def server() -> Iterator[JobServerProcess]:
    with gearmand() as server:
        yield server


@pytest.fixture
def worker(server: JobServerProcess) -> Iterator[Process]:
    args = ["--driver", "fake", "--gearman-server", str(server.address)]
    process = Process([*args, "worker"], OS_FAKE__BOOT_TIME="3600")
    try:
        process.wait_for("connected and registered")
        yield process
    finally:
        process.end()


async def submit(address: Address, *payloads: bytes) -> list[object]:
    """Submit payloads concurrently and return the answers."""
    async with Client([address]) as client:
        jobs = [await client.submit(FUNCTION, each) for each in payloads]
        return [json.loads(await job.result(120.0)) for job in jobs]


async def running_jobs(address: Address) -> int:
    """Return the number of jobs that workers have."""
    (function,) = await admin.status(address)
    return function.running


def memory(pid: int, field: str) -> int:
    """Return a process's memory in MiB.

    :param field: VmRSS for the current value, VmHWM for the maximum
    """
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) // 1024


@pytest.mark.parametrize("size", [2, 10, 15, 17, 40])
def test_too_long_payloads_are_answered_once(
    server: JobServerProcess, worker: Process, size: int
) -> None:
    """Payloads beyond the size limit of packets are answered as well.

    If the worker closed the connection, the job server would redeliver this
    and all other jobs forever.
    """
    long = b'{"action": "BUILD_IP", "x": "' + b"x" * size * MIB + b'"}'

    received = asyncio.run(
        submit(server.address, long, b'{"action": "BUILD_IP"}')
    )

    assert received[0] == {"response": "FAIL"}
    assert isinstance(received[1], dict)
    assert received[1]["response"] == "PASS"
    assert not [line for line in worker.lines if "lost" in line]


def test_long_payloads_take_memory_only_briefly(
    server: JobServerProcess, worker: Process
) -> None:
    async def submit_long(number: int) -> None:
        for _each in range(number):
            received = await submit(server.address, b"[" * 10 * MIB)
            assert received == [{"response": "FAIL"}]

    asyncio.run(submit_long(3))
    before = memory(worker.pid, "VmRSS")
    asyncio.run(submit_long(20))

    assert memory(worker.pid, "VmRSS") < before + 50
    # The limit allows for one payload and brief copies of it.
    assert memory(worker.pid, "VmHWM") < before + 100


def test_prefetched_builds_have_a_size_limit(
    server: JobServerProcess, worker: Process
) -> None:
    """The first 500 run; only some of the others are prefetched."""
    build = json.dumps({"action": "BUILD_DEVICE", "x": "x" * (MIB - 100)})
    short = json.dumps({"action": "BUILD_DEVICE"}).encode()

    async def fill() -> None:
        async with Client([server.address]) as client:
            for _each in range(500):
                await client.submit(FUNCTION, short)
            while await running_jobs(server.address) < 500:
                await asyncio.sleep(0.01)
            before = memory(worker.pid, "VmRSS")
            for _each in range(200):
                await client.submit(FUNCTION, build.encode())
            # Wait until the worker prefetches no more.
            last = -1
            while (now := memory(worker.pid, "VmRSS")) != last:
                last = now
                await asyncio.sleep(1.0)
            assert now < before + 64 + 60

    asyncio.run(fill())


def test_prefetched_jobs_count_by_size() -> None:
    settings = WorkerSettings(long_jobs=1, short_jobs=1, held_jobs=100)
    started: list[object] = []
    slots = JobSlots(settings, started.append, lambda: None)
    running, one, two, three = (
        Mock(AssignedJob, long=True, priority=0, size=part * HELD_BYTES // 2)
        for part in (1, 1, 1, 2)
    )

    def reserve() -> bool:
        reserved: list[bool] = []
        slots.prefetch(lambda: reserved.append(slots.reserve()))
        return reserved[0]

    for job in (running, one, two):
        assert reserve()
        slots.admit(job)

    assert not reserve()
    assert (slots.long, slots.short, slots.held) == (1, 0, 2)

    slots.lose(two)
    assert reserve()
    slots.admit(three)
    assert not reserve()

    slots.done(running)
    assert started == [running, one]
    assert not reserve()
    slots.done(one)
    assert reserve()
    assert started == [running, one, three]


@pytest.mark.parametrize("piece", [1, 7, 12, 100, 10_000])
def test_too_long_jobs_are_truncated(piece: int) -> None:
    parser = Parser(REQUEST, 50)
    long = encode(PacketType.JOB_ASSIGN_UNIQ, b"h", b"f", b"u", b"x" * 1000)
    next_ = encode(PacketType.NO_JOB)
    stream = (long + next_) * 3

    found = [
        packet
        for start in range(0, len(stream), piece)
        for packet in parser.feed(stream[start : start + piece])
    ]

    assert [packet.type for packet in found] == [
        PacketType.JOB_ASSIGN_UNIQ,
        PacketType.NO_JOB,
    ] * 3
    assert found[0].args == [b"h", b"f", b"u", b"x" * 44]


def test_packets_other_than_jobs_are_not_truncated() -> None:
    parser = Parser(REQUEST, 50)
    with pytest.raises(ProtocolError, match="1000 bytes"):
        list(parser.feed(encode(PacketType.ECHO_REQ, b"x" * 1000)))


def test_a_truncated_job_must_have_all_arguments() -> None:
    parser = Parser(REQUEST, 50)
    with pytest.raises(ProtocolError, match="arguments"):
        list(parser.feed(encode(PacketType.JOB_ASSIGN_UNIQ, b"x" * 1000)))


BOMBS = {
    "an integer of 5,000 digits": b'{"a": ' + b"1" * 5000 + b"}",
    "a float of 5,000 digits": b'{"a": 0.' + b"1" * 5000 + b"}",
    "an exponent of 5,000 digits": b'{"a": 1e' + b"9" * 5000 + b"}",
    "a megabyte of digits": b'{"a": ' + b"1" * (MIB - 10) + b"}",
    "integers of 4,000 digits": b'{"a": ['
    + b",".join([b"1" * 4000] * 200)
    + b"]}",
    "lists in lists": b'{"a": ' + b"[" * 500_000,
    "closed lists in lists": b'{"a": '
    + b"[" * 400_000
    + b"]" * 400_000
    + b"}",
    "objects in objects": b'{"a":' * 150_000,
    "a hundred thousand keys": json.dumps(
        {f"{n}": 0 for n in range(90_000)}
    ).encode(),
    "empty lists": b'{"a": [' + b"[]," * 300_000 + b"[]]}",
    "one key a hundred thousand times": b"{"
    + b'"a": 1,' * 100_000
    + b'"a": 1}',
    "NUL": b'{"action": "BUILD_IP\\u0000", "a": "\\u0000"}',
    "raw NUL": b'{"action": "BUILD_IP", "a": "\0"}',
    "half a pair": b'{"action": "BUILD_IP", "\\ud800": "\\udc00\\udc00"}',
    "a byte order mark": b'\xef\xbb\xbf{"action": "BUILD_IP"}',
    "UTF-16": '{"action": "BUILD_IP"}'.encode("utf-16"),
    "overlong UTF-8": b'{"a": "\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "escapes without end": b'{"a": "' + b"\\" * (MIB - 20),
    "commas": b'{"a": [' + b"," * (MIB - 20),
    "blanks and commas": b"{" + b", " * (MIB // 2 - 20),
    "-0 and 1E5": b'{"action": "BUILD_IP", "a": -0, "b": 1E5, "c": -0.0}',
    "the largest float": b'{"action": "BUILD_IP", "a": 1.797693134862e308}',
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_malicious_payloads_get_one_answer(bomb: str) -> None:
    with PoolManager(FakeCloud()) as manager:
        answer = manager.run(BOMBS[bomb])

    sent = message.encode(answer)
    assert sent.isascii()
    assert json.loads(sent) == answer
    assert answer["response"] in ("PASS", "FAIL")
    if answer["response"] == "PASS":
        # The answer contains the message.
        sent_message = json.loads(BOMBS[bomb])
        assert {**answer, **sent_message} == answer


def test_the_worker_survives_all_malicious_payloads_together(
    server: JobServerProcess, worker: Process
) -> None:
    received = asyncio.run(submit(server.address, *BOMBS.values()))

    for answer in received:
        assert isinstance(answer, dict)
        assert answer["response"] in ("PASS", "FAIL")
    until(lambda: not any("Traceback" in line for line in worker.lines))
    (answer,) = asyncio.run(submit(server.address, b'{"action": "BUILD_IP"}'))
    assert isinstance(answer, dict)
    assert answer["response"] == "PASS"

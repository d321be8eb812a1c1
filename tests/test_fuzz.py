"""Tests with random data: the targets of ``fuzz/``, and real sockets.

The page about the project's tests describes longer fuzzing.
"""

import asyncio
import contextlib
import importlib
import importlib.util
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz import TARGETS
from poolmgr.errors import PoolmgrError, TransportError
from poolmgr.gearman import admin
from poolmgr.gearman.client import Client
from poolmgr.gearman.endpoint import Address, ConnectionOptions
from poolmgr.gearman.protocol import (
    REQUEST,
    RESPONSE,
    PacketType,
    encode,
)
from poolmgr.gearman.server import JobServer
from tests.gearman_workers import Running, until

TIMEOUT = 60.0


def mutations(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Generate bytes from parts of the seeds and from noise."""
    part = st.builds(
        lambda seed, start, length: seed[start : start + length],
        st.sampled_from(seeds),
        st.integers(0, 200),
        st.integers(0, 400),
    )
    whole = st.sampled_from(seeds)
    noise = st.binary(max_size=30)
    mixed = st.lists(whole | part | noise, max_size=6).map(b"".join)
    return mixed | st.binary() | st.text().map(str.encode)


@pytest.mark.parametrize("name", TARGETS)
def test_fuzz_targets_find_no_defect(name: str) -> None:
    target = importlib.import_module(f"fuzz.{name}")
    for seed in target.SEEDS:
        target.one(seed)

    @settings(max_examples=200)
    @given(mutations(target.SEEDS))
    def run(data: bytes) -> None:
        target.one(data)

    run()


def test_every_fuzz_target_is_listed() -> None:
    folder = Path(__file__).parent.parent / "fuzz"
    modules = {path.stem for path in folder.glob("[!_]*.py")}

    assert modules == set(TARGETS)


DEFECTS = {
    "connections": "poolmgr.gearman.connection.reason_of",
    "names": "poolmgr.gearman.endpoint.one_line",
    "admin": "poolmgr.gearman.admin.decoded",
    "cloud": "poolmgr.drivers.nova.calls.masked",
    "marks": "poolmgr.ownership.Mark.read",
    "message": "poolmgr.jobs.message.decode",
    "packets": "poolmgr.gearman.protocol.Packet",
    "text": "poolmgr.text.screened",
}


@pytest.mark.parametrize("name", TARGETS)
def test_fuzz_targets_detect_a_planted_defect(name: str) -> None:
    target = importlib.import_module(f"fuzz.{name}")

    with mock.patch(DEFECTS[name], side_effect=ZeroDivisionError):
        with pytest.raises((ZeroDivisionError, AssertionError)):
            for seed in target.SEEDS:
                target.one(seed)


def need_atheris() -> None:
    """Skip the test without Atheris, which some machines cannot install.

    CI runs the targets separately.
    """
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: pip install .[fuzz]")


def test_atheris_runs_a_fuzz_target(tmp_path: Path) -> None:
    need_atheris()
    args = ["names", "--seconds", "2", "--folder", str(tmp_path)]

    done = subprocess.run(
        [sys.executable, "-m", "fuzz", *args],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "number_of_executed_units" in done.stderr
    assert len(list((tmp_path / "names").iterdir())) > 3


QUICK = ConnectionOptions(
    connect_timeout=5.0, retry_first=0.01, retry_longest=0.02, max_packet=5000
)


@st.composite
def streams(draw: st.DrawFn, magic: bytes) -> bytes:
    """Generate packets that are almost valid, and noise."""
    pieces = []
    for _each in range(draw(st.integers(0, 6))):
        if draw(st.integers(0, 9)) == 0:
            pieces.append(draw(st.binary(max_size=20)))
            continue
        kind = draw(st.sampled_from(PacketType))
        number = kind.arguments + draw(st.sampled_from([0] * 9 + [-1, 1]))
        args = [
            draw(st.sampled_from([b"", b"h", b"f", b"1", b"H:x:1", b"\xff"]))
            for _argument in range(number)
        ]
        pieces.append(encode(kind, *args, magic=magic))
    return b"".join(pieces)


class FixedAnswerServer(socketserver.ThreadingTCPServer):
    """A server that sends every client the same data and disconnects."""

    daemon_threads = True

    def __init__(self, answer: bytes, hold: float) -> None:
        self.answer = answer
        self.connections = 0
        self.ended = threading.Event()
        self.hold = hold
        super().__init__(("127.0.0.1", 0), _FixedAnswerHandler)

    @property
    def address(self) -> Address:
        """The server's address."""
        return Address("127.0.0.1", int(self.server_address[1]))


class _FixedAnswerHandler(socketserver.BaseRequestHandler):
    server: FixedAnswerServer

    def handle(self) -> None:
        self.server.connections += 1
        with contextlib.suppress(OSError):
            self.request.recv(1)
            self.request.sendall(self.server.answer)
            self.server.ended.wait(self.server.hold)


@contextmanager
def fixed_answer_server(
    data: bytes, hold: float = 0.005
) -> Iterator[FixedAnswerServer]:
    """Run a server that sends data, in a thread.

    :param hold: seconds until it disconnects
    """
    with FixedAnswerServer(data, hold) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.ended.set()
        server.shutdown()
        thread.join()


def run(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine; fail after errors of callbacks as well."""
    unexpected: list[str] = []

    async def watch() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: unexpected.append(str(context))
        )
        async with asyncio.timeout(TIMEOUT):
            await body()

    asyncio.run(watch())
    assert unexpected == []


socket_settings = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)


@socket_settings
@given(streams(RESPONSE))
def test_a_worker_survives_any_server(data: bytes) -> None:
    async def body() -> None:
        with fixed_answer_server(data) as server:
            worker = Running([server.address], options=QUICK)
            echo = asyncio.create_task(worker.echo())
            await until(lambda: server.connections >= 3)
            echo.cancel()
            await worker.close()

    run(body)


@socket_settings
@given(streams(RESPONSE))
def test_a_client_gets_an_answer_or_error_from_any_server(data: bytes) -> None:
    async def body() -> None:
        message = ""
        with fixed_answer_server(data) as server:
            try:
                async with Client([server.address], QUICK) as client:
                    job = await client.submit("f", b"p")
                    assert isinstance(await job.result(5.0), bytes)
            except PoolmgrError as error:
                message = str(error)
        assert message.isprintable()

    run(body)


@socket_settings
@given(st.binary(max_size=200) | streams(RESPONSE))
def test_admin_commands_get_an_answer_or_error_from_any_server(
    data: bytes,
) -> None:
    async def body() -> None:
        message = ""
        with fixed_answer_server(data) as server:
            try:
                functions = await admin.status(server.address, QUICK)
                assert isinstance(functions, list)
            except TransportError as error:
                message = str(error)
        assert message.isprintable()

    run(body)


@socket_settings
@given(st.lists(streams(REQUEST) | st.binary(max_size=50), max_size=5))
def test_the_built_in_server_survives_any_client(data: list[bytes]) -> None:
    async def body() -> None:
        server = JobServer()
        await server.start()
        where = (server.address.host, server.address.port)
        for each in data:
            with socket.create_connection(where) as peer:
                peer.sendall(each)
                await asyncio.sleep(0)
        # The server still serves other clients.
        await admin.status(server.address)
        async with Client([server.address]) as client:
            await client.submit("unserved", b"p", background=True)
        await server.close()

    run(body)


@pytest.mark.parametrize(
    "data",
    [
        b"\0RES\0\0\0\x1f\0\0\x10\0x",
        b"\0RES\0\0\0\x1f\xff\xff\xff\xff" + b"x" * 6000,
        encode(PacketType.ECHO_RES, b"", magic=RESPONSE)
        + encode(PacketType.NOOP, magic=RESPONSE) * 1000,
        b"",
    ],
    ids=["half a packet", "a packet without end", "many calls", "silence"],
)
def test_a_worker_uses_little_cpu_whatever_the_server_sends(
    data: bytes,
) -> None:
    async def body() -> None:
        with fixed_answer_server(data, hold=TIMEOUT) as server:
            worker = Running([server.address])
            await until(lambda: server.connections)
            await asyncio.sleep(0.2)
            before = time.process_time()
            await asyncio.sleep(1.0)
            assert time.process_time() - before < 0.5
            await worker.close()

    run(body)

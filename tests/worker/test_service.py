"""Tests of worker processes on real job servers."""

import asyncio
import json
import re
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolmgr import AsyncPoolManager
from poolmgr.cli.demo import ADDRESS, DEVICE, REQUESTS
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.gearman import admin
from poolmgr.gearman.protocol import PacketType
from poolmgr.settings import WorkerSettings
from poolmgr.settings.gearman import GearmanSettings
from poolmgr.worker.service import Service
from tests.batches import BUILD, BUILD_IP, FUNCTION, ask, batch, queue, running
from tests.gearman.raw import RawPeer
from tests.gearman_workers import until as until_on_loop
from tests.jobservers import JobServerProcess, gearmand
from tests.logs import passed
from tests.polling import until
from tests.processes import worker
from tests.states import NEVER, State
from tests.worker.peer_delay import long_peer_delay

# -- answers ----------------------------------------------------------------


def test_every_documented_request_is_answered_over_the_wire(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    state = State(tmp_path)
    # The device has an address of another range, so that it leaves the
    # documented one free.
    existing = FakeSettings(state=str(state.path), device_range="192.0.2.0/24")
    with closing(FakeCloud(existing)) as cloud:
        cloud.create_device(DEVICE, None, 10.0)
    config = state.config(
        "[poolmgr]\nbasename = libra-stg-haproxy\naz = 3",
        image="12345",
        device_range="15.185.175.81/32",
        ip_range=f"{ADDRESS}/32",
    )
    with worker([str(job_server.address)], config, tmp_path):
        build, build_ip, *others = (
            ask(job_server.address, request.encode()) for request in REQUESTS
        )

    assert build.pop("name").startswith("libra-stg-haproxy-")
    assert build == {
        "action": "BUILD_DEVICE",
        "response": "PASS",
        "addr": "15.185.175.81",
        "type": "basename: libra-stg-haproxy, image: 12345",
        "az": "3",
    }
    assert isinstance(build_ip.pop("id"), str)
    assert build_ip == {
        "action": "BUILD_IP",
        "response": "PASS",
        "ip": ADDRESS,
    }
    for request, answer in zip(REQUESTS[2:], others, strict=True):
        assert answer == {**json.loads(request), "response": "PASS"}


def test_each_job_of_a_batch_is_answered(job_server: JobServerProcess) -> None:
    messages = [
        *[{**BUILD, "n": n} for n in range(20)],
        {"action": "NOPE"},
        b"\xff",
        *[{**BUILD_IP, "n": n} for n in range(20)],
    ]
    with worker([str(job_server.address)]):
        with batch(job_server.address, messages) as jobs:
            answers = jobs.answers()

    assert [answer.get("n") for answer in answers] == [
        *range(20),
        None,
        None,
        *range(20),
    ]
    assert [answer["response"] for answer in answers].count("FAIL") == 2
    names = {answer["name"] for answer in answers if "name" in answer}
    assert len(names) == 20


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(payloads=st.lists(st.binary(max_size=300), min_size=1, max_size=20))
def test_any_payload_is_answered_with_one_object(
    server_with_worker: JobServerProcess, payloads: list[bytes]
) -> None:
    with batch(server_with_worker.address, payloads) as jobs:
        for answer in jobs.answers():
            assert answer["response"] in ("PASS", "FAIL")


@pytest.fixture(scope="module")
def server_with_worker() -> Iterator[JobServerProcess]:
    """Yield a gearmand with a worker, for all random payloads."""
    with gearmand() as server, worker([str(server.address)]):
        yield server


# gearmand's maximum is 64 bytes.
@pytest.mark.parametrize("size", [63, 64])
def test_jobs_with_long_uniques_are_distinct(
    job_server: JobServerProcess, tmp_path: Path, size: int
) -> None:
    state = State(tmp_path)
    with worker(
        [str(job_server.address)], state.config(boot_time=0.5), tmp_path
    ) as process:
        process.wait_for("registered")
        with RawPeer(job_server.address) as client:
            for number in (b"1", b"2"):
                client.send(
                    PacketType.SUBMIT_JOB,
                    FUNCTION.encode(),
                    number.rjust(size, b"u"),
                    json.dumps(BUILD).encode(),
                )
            answers: list[bytes] = []
            while len(answers) < 2:
                packet = client.receive()
                if packet.type is PacketType.WORK_COMPLETE:
                    answers.append(packet.args[1])

    names = {json.loads(answer)["name"] for answer in answers}
    assert len(names) == 2
    assert names == {device.name for device in state.devices()}


@pytest.mark.parametrize("host", ["my host", "a\nb", "\udcff", "h" * 64])
def test_the_client_id_is_valid_for_any_host_name(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)

    async def scenario(server: JobServerProcess) -> None:
        async with AsyncPoolManager("fake") as manager:
            gearman = GearmanSettings(servers=(str(server.address),))
            service = Service(manager, gearman, WorkerSettings())
            serving = asyncio.create_task(service.run())
            await until_on_loop(lambda: service.connections[0].state == "up")
            (registered,) = [
                each
                for each in await admin.workers(server.address)
                if each.functions
            ]
            assert re.fullmatch(r"poolmgr-[\w.-]+-\d+", registered.client_id)
            service.stop()
            await serving

    with gearmand() as server:
        asyncio.run(scenario(server))


# -- long and short jobs ----------------------------------------------------


def test_short_jobs_do_not_wait_for_running_builds(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    config = f"[fake]\nboot_time = {NEVER}\n"
    config += "[worker]\nlong_jobs = 5\nshort_jobs = 2\n"
    with worker([str(job_server.address)], config, tmp_path):
        queue(job_server.address, [BUILD] * 100)
        with batch(job_server.address, [BUILD_IP] * 20) as jobs:
            jobs.passes()


def test_builds_go_to_the_worker_with_free_slots(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    address = job_server.address
    full = f"[fake]\nboot_time = {NEVER}\n[worker]\nlong_jobs = 1\n"
    free = "[fake]\nboot_time = 0.1\n[worker]\nlong_jobs = 100\n"
    folder = tmp_path / "free"
    folder.mkdir()
    patient = long_peer_delay(tmp_path)
    with (
        worker([str(address)], full, tmp_path, **patient) as process,
        batch(address, [BUILD]),
    ):
        process.wait_for("registered")
        until(lambda: running(address) == 1)
        with worker([str(address)], free, folder) as other:
            other.wait_for("registered")
            with batch(address, [BUILD] * 50):
                # The worker without a free slot may get a few, if all take
                # longer than its delay.
                until(lambda: len(passed(other)) >= 40)
                other.signal(signal.SIGTERM)
                assert other.exit_code() == 0
                # The full worker prefetches all other builds to reach this.
                assert ask(address, BUILD_IP)["response"] == "PASS"


# -- connections ------------------------------------------------------------


def test_a_defect_of_the_transport_ends_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The service manager then restarts it."""

    async def fail(*args: object) -> object:
        raise LookupError("a defect")

    async def scenario() -> None:
        async with AsyncPoolManager("fake") as manager:
            gearman = GearmanSettings(servers=("127.0.0.1:1",))
            service = Service(manager, gearman, WorkerSettings())
            async with asyncio.timeout(30):
                await service.run()

    monkeypatch.setattr("poolmgr.gearman.worker.connect", fail)
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(scenario())
    assert caught.group_contains(LookupError, match="a defect")


def test_a_build_of_a_lost_connection_frees_its_slot(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    state = State(tmp_path)
    config = state.config(
        "[worker]\nlong_jobs = 1\nheld_jobs = 0", boot_time=0.5
    )
    with worker([str(job_server.address)], config, tmp_path) as process:
        process.wait_for("registered")
        with batch(job_server.address, [BUILD]):
            until(lambda: len(state.devices()) == 1)
        job_server.restart()
        process.wait_for("outcome=PASS")

        assert ask(job_server.address, BUILD)["response"] == "PASS"


def test_jobs_lost_with_a_connection_are_reported_by_one_warning(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    state = State(tmp_path)
    config = state.config("[worker]\nlong_jobs = 8\n", boot_time=NEVER)
    server = job_server.address
    with worker([str(server)], config, tmp_path) as process:
        process.wait_for("connected and registered")
        # Eight run and two are prefetched.
        with batch(server, [BUILD] * 10):
            until(lambda: running(server) == 10)
            until(lambda: len(state.devices()) == 8)
            job_server.kill()
            process.wait_for("jobs were lost")
            state.boot()
            words = "connection lost before its answer was sent"
            until(lambda: "".join(process.lines).count(words) == 8)

    lost, reason = [
        re.sub(r"^\S+ \S+ WARNING \S+ ", "", line.rstrip())
        for line in process.lines
        if " WARNING " in line and "not reached" not in line
    ]
    assert lost == (
        f"Job server {server}: 10 jobs were lost with the connection; it "
        "delivers them again if it still has them"
    )
    assert reason.startswith(f"Job server {server}: lost: ")


def test_a_killed_workers_build_is_taken_over_by_another_worker(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    state = State(tmp_path)
    config = state.config(boot_time=2)
    server = str(job_server.address)
    with worker([server], config, tmp_path) as first:
        first.wait_for("registered")
        with batch(job_server.address, [BUILD]) as build:
            until(state.devices)
            first.signal(signal.SIGKILL)
            assert first.exit_code() == -signal.SIGKILL
            with worker([server], config, tmp_path):
                build.passes()

    assert len(state.devices()) == 1

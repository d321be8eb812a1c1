"""/healthz and /readyz say what is the case."""

import os
import signal
import socket
from pathlib import Path

import pytest

from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests import environments
from tests.asking import asked, running
from tests.jobservers import JobServerProcess, builtin, free_port
from tests.monitoring.watched import Answer, Watched, watched
from tests.polling import until
from tests.processes import Process, poolmgr, worker

BUILD = {"action": "BUILD_DEVICE"}
BUILD_IP = {"action": "BUILD_IP"}


def is_ready(it: Watched) -> bool:
    """What /readyz says."""
    return it.get("/readyz").status == 200


def test_a_worker_that_serves_is_well_and_ready(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    with watched([job_server.address], tmp_path) as it:
        healthy, ready = it.get("/healthz"), it.get("/readyz")

    assert healthy.status == 200
    assert healthy.body.startswith("ok: event loop: answers")
    assert ready.status == 200
    assert ready.body.splitlines()[1:] == [
        "ok: worker: takes jobs",
        "ok: job servers: registered with 1 of 1",
        "ok: cloud: answers",
        "ok: capacity: no quota is used up",
    ]


def test_one_without_a_job_server_is_well_but_not_ready(
    tmp_path: Path,
) -> None:
    port = free_port()
    servers = [f"127.0.0.1:{port}"]
    with watched(servers, tmp_path, registered=False) as it:
        until(lambda: "refused" in it.get("/readyz").body)
        healthy, ready = it.get("/healthz"), it.get("/readyz")
        with builtin(port):
            until(lambda: is_ready(it))
        until(lambda: not is_ready(it))

    assert (healthy.status, ready.status) == (200, 503)
    assert "not ok: job servers: registered with 0 of 1; " in ready.body


def test_one_that_drains_is_not_ready(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    config = "[fake]\nboot_time = 3600\n"
    with watched([job_server.address], tmp_path, config) as it:
        asked(job_server.address, BUILD)
        until(lambda: running(job_server.address) == 1)
        assert is_ready(it)
        it.process.signal(signal.SIGTERM)
        until(lambda: not is_ready(it))
        ready, healthy = it.get("/readyz"), it.get("/healthz")

    assert "not ok: worker: draining" in ready.body
    assert healthy.status == 200


def test_one_whose_cloud_makes_nothing_is_not_ready_until_it_does(
    tmp_path: Path,
) -> None:
    with LoopbackCloud() as cloud, builtin() as server:
        with watched([server.address], tmp_path, cloud=cloud) as it:
            asked(server.address, BUILD_IP)()
            assert "ok: cloud: answers" in it.get("/readyz").body
            cloud.fault(Fault(service="compute", status=503, times=None))
            build = asked(server.address, *[BUILD] * 3)
            until(lambda: not is_ready(it))
            ready = it.get("/readyz")
            cloud.clear_faults()
            build()
            until(lambda: is_ready(it))

    assert "not ok: cloud: circuit open for " in ready.body
    assert " compute: Nova answered 503" in ready.body


@pytest.mark.parametrize(
    ("quota", "request_", "name"),
    [
        ("instances", BUILD, "device quota"),
        ("floating_ips", BUILD_IP, "floating ip quota"),
    ],
)
def test_one_over_quota_is_not_ready_until_there_is_room(
    quota: str, request_: dict[str, str], name: str, tmp_path: Path
) -> None:
    with LoopbackCloud() as cloud, builtin() as server:
        with watched([server.address], tmp_path, cloud=cloud) as it:
            cloud.set_quota(**{quota: 0})
            asked(server.address, request_)
            full = f"not ok: capacity: circuit open for {name}: "
            until(lambda: full in it.get("/readyz").body)
            ready, page = it.get("/readyz"), it.get("/")
            cloud.set_quota(**{quota: 10})
            # While the circuit is open BUILD_IP is refused without an attempt.
            until(lambda: passes(server, request_), 60.0)
            until(lambda: is_ready(it))

    assert ready.status == 503
    assert "Quota exceeded" in ready.body
    assert f"circuit open for {name}" in page.body


def test_one_with_an_open_circuit_is_not_ready(tmp_path: Path) -> None:
    with LoopbackCloud() as cloud, builtin() as server:
        with watched([server.address], tmp_path, cloud=cloud) as it:
            cloud.fault(
                Fault("POST", service="network", status=503, times=None)
            )
            asked(server.address, *[BUILD_IP] * 8)()
            ready = it.get("/readyz")

    assert ready.status == 503
    assert "not ok: cloud: " in ready.body
    assert "circuit open for making network: Neutron answered" in ready.body


def passes(server: JobServerProcess, request: dict[str, str]) -> bool:
    """Whether a job ends well."""
    (answer,) = asked(server.address, request)()
    return bool(answer["response"] == "PASS")


STUCK = """
    import asyncio, gc, time
    from poolmgr.actions.base import Action, NoFields

    class Stick(Action):
        \"\"\"Hold up the worker's event loop.\"\"\"

        takes = NoFields

        def run(self, request, context):
            gc.unfreeze()  # what was there when the worker had started
            for each in gc.get_objects():
                # Not isinstance(): a proxy of what has gone does not bear it.
                if type(each) is asyncio.SelectorEventLoop:
                    if each.is_running():
                        each.call_soon_threadsafe(time.sleep, 3600)
            time.sleep(3600)
"""


@pytest.fixture(scope="module")
def stuck(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The process environment with a plugin that makes a worker hang."""
    folder = environments.install_beside(
        tmp_path_factory.mktemp("stuck"),
        "poolmgr-stuck",
        STUCK,
        poolmgr__actions="STICK = poolmgr_stuck:Stick",
    )
    before = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": os.pathsep.join([str(folder), before])}


def test_one_whose_event_loop_hangs_is_not_well(
    tmp_path: Path, stuck: dict[str, str]
) -> None:
    with builtin() as server:
        with watched([server.address], tmp_path, environment=stuck) as it:
            answered(it, "/healthz", 200)
            asked(server.address, {"action": "STICK"})
            healthy = answered(it, "/healthz", 503)
            # What can be known, is shown.
            page = answered(it, "/", 200)
            answered(it, "/metrics", 200)

    silent = "not ok: event loop: does not answer within 2 s"
    assert healthy.body.startswith(silent)
    assert "does not answer within" in page.body


def answered(it: Watched, path: str, status: int) -> Answer:
    """A page, once it has this status: a busy machine may take its time."""
    answers: list[Answer] = []

    def has_it() -> bool:
        answers.append(it.get(path))
        return answers[-1].status == status

    until(has_it, 60.0)
    return answers[-1]


def test_the_second_worker_on_a_machine_works_without_pages(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with watched([job_server.address], first) as it:
        port = f"[monitoring]\nenabled = true\nport = {it.port}\n"
        args = ["--driver", "fake", "--config-file", str(second / "c")]
        (second / "c").write_text(port)
        args += ["--gearman-server", str(job_server.address), "worker"]
        other = Process(args, OS_MONITORING__ENABLED="true")
        try:
            other.wait_for("connected and registered")
            it.process.end()
            (answer,) = asked(job_server.address, BUILD_IP)()
            other.signal(signal.SIGTERM)
            assert other.exit_code() == 0
        finally:
            other.end()

    assert answer["response"] == "PASS"
    warned = [line for line in other.lines if "WARNING" in line]
    assert len(warned) == 1
    assert f"cannot listen on 127.0.0.1:{it.port}: " in warned[0]
    assert "Address already in use" in warned[0]


@pytest.mark.parametrize("address", ["203.0.113.77", "no.such.name.invalid"])
def test_an_address_that_cannot_be_had_does_not_stop_a_worker(
    address: str, tmp_path: Path
) -> None:
    config = f"[monitoring]\nenabled = true\naddress = {address}\nport = 0\n"
    with builtin() as server:
        (tmp_path / "c").write_text(config)
        args = ["--driver", "fake", "--config-file", str(tmp_path / "c")]
        args += ["--gearman-server", str(server.address), "worker"]
        process = Process(args, OS_MONITORING__ENABLED="true")
        try:
            process.wait_for("connected and registered")
        finally:
            process.end()

    assert "cannot listen on" in "".join(process.lines)


def listening(pid: int) -> set[str]:
    """The TCP sockets that a process listens on."""
    tables = [Path(f"/proc/{pid}/net/tcp"), Path(f"/proc/{pid}/net/tcp6")]
    listed = {
        fields[9]: fields[1]
        for table in tables
        for fields in map(str.split, table.read_text().splitlines()[1:])
        if fields[3] == "0A"
    }
    found = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        target = os.readlink(each)
        if target.startswith("socket:["):
            found.add(listed.get(target[8:-1], ""))
    return found - {""}


def test_a_worker_listens_on_one_port_of_loopback_or_on_none(
    tmp_path: Path,
) -> None:
    with builtin() as server:
        with watched([server.address], tmp_path) as it:
            there = listening(it.process.pid)
        config = "[monitoring]\nenabled = false\n"
        with worker([str(server.address)], config, tmp_path) as process:
            process.wait_for("registered")
            without = listening(process.pid)

    assert there == {f"0100007F:{it.port:04X}"}
    assert without == set()


def test_no_other_command_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        taken = str(sock.getsockname()[1])
        done = poolmgr(
            *("-v", "--driver", "fake", "build-ip"),
            OS_MONITORING__ENABLED="true",
            OS_MONITORING__PORT=taken,
        )

    assert done.returncode == 0
    assert taken not in done.stderr


HANG = """
    import gc, socket, threading
    from poolmgr.actions.base import Action, NoFields

    class Hang(Action):
        \"\"\"Have names resolved for ever.\"\"\"

        takes = NoFields

        def run(self, request, context):
            from urllib3.util import connection

            def hang(*args, **kwargs):
                threading.Event().wait()

            connection.create_connection = hang
"""


def test_one_whose_calls_do_not_come_back_is_not_well(tmp_path: Path) -> None:
    folder = environments.install_beside(
        tmp_path,
        "poolmgr-hang",
        HANG,
        poolmgr__actions="HANG = poolmgr_hang:Hang",
    )
    environment = {
        "PYTHONPATH": os.pathsep.join(
            [str(folder), os.environ.get("PYTHONPATH", "")]
        ),
        "OS_NOVA__CALL_TIMEOUT": "0.5",
    }
    with LoopbackCloud() as cloud, builtin() as server:
        with watched(
            [server.address], tmp_path, cloud=cloud, environment=environment
        ) as it:
            asked(server.address, BUILD_IP)()
            answered(it, "/healthz", 200)
            asked(server.address, {"action": "HANG"})()
            # No connection is kept: the next call has to make one.
            cloud.fault(Fault(reset=True, times=None))
            asked(server.address, BUILD_IP)
            healthy = answered(it, "/healthz", 503)

    assert "not ok: calls: all calls of the cloud hang" in healthy.body

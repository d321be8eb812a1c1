"""Tests of /healthz and /readyz."""

import os
import signal
import socket
from pathlib import Path

import pytest

from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests import environments, processes
from tests.batches import BUILD, BUILD_IP, ask, running, submit
from tests.jobservers import JobServerProcess, builtin, free_port
from tests.monitoring.watched import Answer, WatchedWorker, watched
from tests.polling import until
from tests.processes import poolmgr


def is_ready(worker: WatchedWorker) -> bool:
    """Return whether /readyz reports the worker as ready."""
    return worker.get("/readyz").status == 200


def test_a_serving_worker_is_healthy_and_ready(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    with watched([job_server.address], tmp_path) as worker:
        healthy, ready = worker.get("/healthz"), worker.get("/readyz")

    assert healthy.status == 200
    assert healthy.body.startswith("ok: event loop: answers")
    assert ready.status == 200
    assert ready.body.splitlines()[1:] == [
        "ok: worker: takes jobs",
        "ok: job servers: registered with 1 of 1",
        "ok: cloud: answers",
        "ok: capacity: no quota is used up",
    ]


def test_a_worker_without_a_job_server_is_healthy_but_not_ready(
    tmp_path: Path,
) -> None:
    port = free_port()
    servers = [f"127.0.0.1:{port}"]
    with watched(servers, tmp_path, registered=False) as worker:
        until(lambda: "refused" in worker.get("/readyz").body)
        healthy, ready = worker.get("/healthz"), worker.get("/readyz")
        with builtin(port):
            until(lambda: is_ready(worker))
        until(lambda: not is_ready(worker))

    assert (healthy.status, ready.status) == (200, 503)
    assert "not ok: job servers: registered with 0 of 1; " in ready.body


def test_a_draining_worker_is_healthy_but_not_ready(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    config = "[fake]\nboot_time = 3600\n"
    with watched([job_server.address], tmp_path, config) as worker:
        submit(job_server.address, BUILD)
        until(lambda: running(job_server.address) == 1)
        assert is_ready(worker)
        worker.process.signal(signal.SIGTERM)
        until(lambda: not is_ready(worker))
        ready, healthy = worker.get("/readyz"), worker.get("/healthz")

    assert "not ok: worker: draining" in ready.body
    assert healthy.status == 200


def test_a_worker_is_not_ready_until_its_failing_cloud_recovers(
    tmp_path: Path,
) -> None:
    with LoopbackCloud() as cloud, builtin() as server:
        with watched([server.address], tmp_path, cloud=cloud) as worker:
            ask(server.address, BUILD_IP)
            assert "ok: cloud: answers" in worker.get("/readyz").body
            cloud.fault(Fault(service="compute", status=503, times=None))
            build = submit(server.address, *[BUILD] * 3)
            until(lambda: not is_ready(worker))
            ready = worker.get("/readyz")
            cloud.clear_faults()
            build()
            until(lambda: is_ready(worker))

    assert "not ok: cloud: circuit open for " in ready.body
    assert " compute: Nova answered 503" in ready.body


@pytest.mark.parametrize(
    ("quota", "message", "name"),
    [
        ("instances", BUILD, "device quota"),
        ("floating_ips", BUILD_IP, "floating ip quota"),
    ],
)
def test_a_worker_over_quota_is_not_ready_until_there_is_room(
    quota: str, message: dict[str, str], name: str, tmp_path: Path
) -> None:
    with LoopbackCloud() as cloud, builtin() as server:
        with watched([server.address], tmp_path, cloud=cloud) as worker:
            cloud.set_quota(**{quota: 0})
            submit(server.address, message)
            full = f"not ok: capacity: circuit open for {name}: "
            until(lambda: full in worker.get("/readyz").body)
            ready, page = worker.get("/readyz"), worker.get("/")
            cloud.set_quota(**{quota: 10})
            # An open circuit refuses BUILD_IP, so it is tried repeatedly.
            until(lambda: passes(server, message), 120.0)
            until(lambda: is_ready(worker))

    assert ready.status == 503
    assert "Quota exceeded" in ready.body
    assert f"circuit open for {name}" in page.body


def test_a_worker_with_an_open_circuit_for_creations_is_not_ready(
    tmp_path: Path,
) -> None:
    with LoopbackCloud() as cloud, builtin() as server:
        with watched([server.address], tmp_path, cloud=cloud) as worker:
            cloud.fault(
                Fault("POST", service="network", status=503, times=None)
            )
            submit(server.address, *[BUILD_IP] * 8)()
            ready = worker.get("/readyz")

    assert ready.status == 503
    assert "not ok: cloud: " in ready.body
    assert "circuit open for making network: Neutron answered" in ready.body


def passes(server: JobServerProcess, request: dict[str, str]) -> bool:
    """Return whether a job passes."""
    answer = ask(server.address, request)
    return bool(answer["response"] == "PASS")


def test_a_worker_with_a_blocked_event_loop_is_unhealthy(
    tmp_path: Path, blocking_plugin: dict[str, str]
) -> None:
    with builtin() as server:
        with watched(
            [server.address], tmp_path, environment=blocking_plugin
        ) as worker:
            wait_for_status(worker, "/healthz", 200)
            submit(server.address, {"action": "BLOCK"})
            healthy = wait_for_status(worker, "/healthz", 503)
            # The pages work as far as they do not need the loop.
            page = wait_for_status(worker, "/", 200)
            wait_for_status(worker, "/metrics", 200)

    reason = "not ok: event loop: does not answer within 2 s"
    assert healthy.body.startswith(reason)
    assert "does not answer within" in page.body


def wait_for_status(worker: WatchedWorker, path: str, status: int) -> Answer:
    """Return a page as soon as it has this status."""
    answers: list[Answer] = []

    def has_status() -> bool:
        answers.append(worker.get(path))
        return answers[-1].status == status

    until(has_status, 120.0)
    return answers[-1]


def test_a_worker_whose_port_is_taken_works_without_pages(
    job_server: JobServerProcess, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with watched([job_server.address], first) as worker:
        with processes.worker(
            [str(job_server.address)],
            f"[monitoring]\nport = {worker.port}\n",
            second,
            OS_MONITORING__ENABLED="true",
        ) as other:
            other.wait_for("connected and registered")
            worker.process.end()
            answer = ask(job_server.address, BUILD_IP)
            other.signal(signal.SIGTERM)
            assert other.exit_code() == 0

    assert answer["response"] == "PASS"
    warned = [line for line in other.lines if "WARNING" in line]
    assert len(warned) == 1
    assert f"cannot listen on 127.0.0.1:{worker.port}: " in warned[0]
    assert "Address already in use" in warned[0]


@pytest.mark.parametrize("address", ["203.0.113.77", "no.such.name.invalid"])
def test_a_worker_with_an_unusable_address_works_without_pages(
    address: str, tmp_path: Path
) -> None:
    with builtin() as server:
        with processes.worker(
            [str(server.address)],
            f"[monitoring]\naddress = {address}\nport = 0\n",
            tmp_path,
            OS_MONITORING__ENABLED="true",
        ) as process:
            process.wait_for("connected and registered")

    assert "cannot listen on" in "".join(process.lines)


def listening_sockets(pid: int) -> set[str]:
    """Return the TCP sockets on which a process listens."""
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


def test_a_worker_listens_on_loopback_only_if_monitoring_is_enabled(
    tmp_path: Path,
) -> None:
    with builtin() as server:
        with watched([server.address], tmp_path) as worker:
            sockets = listening_sockets(worker.process.pid)
        config = "[monitoring]\nenabled = false\n"
        with processes.worker(
            [str(server.address)], config, tmp_path
        ) as process:
            process.wait_for("registered")
            sockets_without = listening_sockets(process.pid)

    assert sockets == {f"0100007F:{worker.port:04X}"}
    assert sockets_without == set()


def test_other_commands_do_not_listen(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = str(sock.getsockname()[1])
        done = poolmgr(
            *("-v", "--driver", "fake", "build-ip"),
            OS_MONITORING__ENABLED="true",
            OS_MONITORING__PORT=port,
        )

    assert done.returncode == 0
    assert port not in done.stderr


HANGING_PLUGIN = """
    import threading
    from poolmgr.actions.base import Action, NoFields

    class Hang(Action):
        \"\"\"Make all new connections hang.\"\"\"

        takes = NoFields

        def run(self, request, context):
            from urllib3.util import connection

            def hang(*args, **kwargs):
                threading.Event().wait()

            connection.create_connection = hang
"""


def test_a_worker_whose_cloud_calls_all_hang_is_unhealthy(
    tmp_path: Path,
) -> None:
    folder = environments.install_beside(
        tmp_path,
        "poolmgr-hang",
        HANGING_PLUGIN,
        poolmgr__actions="HANG = poolmgr_hang:Hang",
    )
    environment = environments.visible(folder)
    environment |= {"OS_NOVA__CALL_TIMEOUT": "0.5"}
    with LoopbackCloud() as cloud, builtin() as server:
        with watched(
            [server.address], tmp_path, cloud=cloud, environment=environment
        ) as worker:
            ask(server.address, BUILD_IP)
            wait_for_status(worker, "/healthz", 200)
            ask(server.address, {"action": "HANG"})
            # A reset closes the connection, so the next call opens one.
            cloud.fault(Fault(reset=True, times=None))
            submit(server.address, BUILD_IP)
            healthy = wait_for_status(worker, "/healthz", 503)

    assert "not ok: calls: all calls to the cloud hang" in healthy.body

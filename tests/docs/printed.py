"""The real output for texts that a page shows."""

import logging
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from poolmgr import Job, PoolManager
from poolmgr.testing.openstack import Fault, LoopbackCloud
from tests.batches import BUILD, running, submit
from tests.clouds import nova_on
from tests.jobservers import builtin
from tests.notify_sockets import notify_socket
from tests.polling import until
from tests.processes import Process, poolmgr, worker

#: Takes an empty folder and the log capture.
Printer = Callable[[Path, pytest.LogCaptureFixture], str]
NO_HOST = "No valid host was found."


def demonstration(_folder: Path, _log: pytest.LogCaptureFixture) -> str:
    return poolmgr("demo").stdout


def description(_folder: Path, _log: pytest.LogCaptureFixture) -> str:
    with LoopbackCloud() as cloud, nova_on(cloud) as driver:
        with PoolManager(driver) as manager:
            manager.execute("BUILD_IP")
        (ip,) = cloud.floating_ips
    return str(ip["description"])


def line_of_a_job(_folder: Path, log: pytest.LogCaptureFixture) -> str:
    job = Job("5c2c", "H:lb1:71", "127.0.0.1:4730")
    with LoopbackCloud() as cloud, nova_on(cloud) as driver:
        cloud.fault(Fault.server_error(NO_HOST))
        with PoolManager(driver) as manager:
            manager.run(BUILD, job)
    lines = [r.getMessage() for r in log.records if r.levelno > logging.INFO]
    return "\n".join(lines)


def status_for_systemd(folder: Path, _log: pytest.LogCaptureFixture) -> str:
    with builtin() as one, builtin() as two, notify_socket(folder) as manager:
        servers = [str(one.address), str(two.address)]
        with worker(servers, NOTIFY_SOCKET=manager.name):
            messages = manager.wait_for("2 of 2 job servers")
    (status,) = (s for s in messages[-1] if s.startswith("STATUS="))
    return f'Status: "{status.removeprefix("STATUS=")}"'


def reloaded(folder: Path, _log: pytest.LogCaptureFixture) -> str:
    with builtin() as server:
        servers = [str(server.address)]
        with worker(servers, "[worker]\nlong_jobs = 500\n", folder) as process:
            process.wait_for("registered")
            before = len(process.lines)
            (folder / "worker.conf").write_text(
                "[worker]\nlong_jobs = 200\n[poolmgr]\nbasename = lb\n"
            )
            process.signal(signal.SIGHUP)
            until(lambda: len(process.lines) >= before + 2)
            new = process.lines[before:]
    return "".join(
        line.partition("poolmgr.config.reload: ")[2] for line in new
    )


def report(folder: Path, _log: pytest.LogCaptureFixture) -> str:
    with builtin() as server:
        config = "[fake]\nboot_time = 3600\n[worker]\nlong_jobs = 2\n"
        with worker([str(server.address)], config, folder) as process:
            process.wait_for("registered")
            submit(server.address, *[BUILD] * 3)
            until(lambda: running(server.address) == 3)
            process.signal(signal.SIGUSR2)
            process.wait_for("end of the state report")
            return _said(process)


def _said(process: Process) -> str:
    return "".join(process.lines)


#: By the page and the start of the text.
PRINTED: Mapping[tuple[str, str], Printer] = {
    ("README.rst", "request"): demonstration,
    ("nova.rst", "poolmgr pool="): description,
    ("systemd.rst", "Status:"): status_for_systemd,
    ("worker.rst", "action="): line_of_a_job,
    ("worker.rst", "[poolmgr] basename"): reloaded,
    ("worker.rst", "== running jobs"): report,
}

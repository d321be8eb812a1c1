"""What is really printed where a page shows a text."""

import logging
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from poolmgr import Job, PoolManager
from poolmgr.drivers.nova import NovaCloud, NovaSettings
from poolmgr.errors import PoolmgrError
from poolmgr.settings import PoolSettings
from poolmgr.testing.openstack import Fault, LoopbackCloud
from poolmgr.text.secrecy import exposure
from tests.asking import asked, running
from tests.clouds import nova_on
from tests.jobservers import builtin, free_port
from tests.monitoring.watched import watched
from tests.notify_sockets import notify_socket
from tests.polling import until
from tests.processes import Process, poolmgr, worker

#: A free folder, and what catches the log.
Printer = Callable[[Path, pytest.LogCaptureFixture], str]
BUILD = {"action": "BUILD_DEVICE"}
NO_HOST = "No valid host was found."


def demonstration(_folder: Path, _log: pytest.LogCaptureFixture) -> str:
    return poolmgr("demo").stdout


def readiness(folder: Path, _log: pytest.LogCaptureFixture) -> str:
    absent = f"127.0.0.1:{free_port()}"
    with watched([absent], folder, registered=False) as it:
        until(lambda: "refused" in it.get("/readyz").body)
        return it.get("/readyz").body.replace(absent, "lb1:4730")


def old_identity(_folder: Path, log: pytest.LogCaptureFixture) -> str:
    with LoopbackCloud() as cloud:
        url = cloud.auth_url.replace("/v3", "/v2.0")
        driver = NovaCloud(
            NovaSettings(
                auth_url=url,
                username="u",
                password="secret-one",
                project_name="p",
            )
        )
        driver.check(0.5)
        driver.close()
    return log.text.replace(
        cloud.auth_url, "https://keystone.example.com:5000/v3"
    )


def description(_folder: Path, _log: pytest.LogCaptureFixture) -> str:
    with LoopbackCloud() as cloud, nova_on(cloud) as driver:
        with PoolManager(driver) as manager:
            manager.execute("BUILD_IP")
        (ip,) = cloud.floating_ips
    return str(ip["description"])


def refused_login(_folder: Path, _log: pytest.LogCaptureFixture) -> str:
    wrong = {"password": "wrong-secret"}
    with LoopbackCloud() as cloud, nova_on(cloud, **wrong) as driver:
        return "\n".join(
            finding.problem or "" for finding in driver.check(10.0)
        )


def failed_device(_folder: Path, _log: pytest.LogCaptureFixture) -> str:
    with LoopbackCloud() as cloud, nova_on(cloud) as driver:
        cloud.fault(
            Fault.server_error(
                f"{NO_HOST} There are not enough hosts available."
            )
        )
        with PoolManager(driver) as manager:
            return _reason(manager)


def deadline(_folder: Path, _log: pytest.LogCaptureFixture) -> str:
    soon = PoolSettings(long_timeout=1.0)
    with LoopbackCloud(boot_time=2.0) as cloud, nova_on(cloud) as driver:
        with PoolManager(driver, soon) as manager:
            return _reason(manager)


def _reason(manager: PoolManager) -> str:
    try:
        manager.execute("BUILD_DEVICE")
    except PoolmgrError as error:
        return str(error)
    raise AssertionError("it was a PASS")


def line_of_a_job(_folder: Path, log: pytest.LogCaptureFixture) -> str:
    job = Job("5c2c", "H:lb1:71", "127.0.0.1:4730")
    with LoopbackCloud() as cloud, nova_on(cloud) as driver:
        cloud.fault(Fault.server_error(NO_HOST))
        with PoolManager(driver) as manager:
            manager.run(BUILD, job)
    lines = [r.getMessage() for r in log.records if r.levelno > logging.INFO]
    return "\n".join(lines)


def exposed(folder: Path, _log: pytest.LogCaptureFixture) -> str:
    path = folder / "poolmgr.conf"
    path.touch(0o644)
    said = exposure(str(path), "[nova] password") or ""
    return said.replace(str(path), "/etc/poolmgr.conf")


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
            asked(server.address, *[BUILD] * 3)
            until(lambda: running(server.address) == 3)
            process.signal(signal.SIGUSR2)
            process.wait_for("end of the state report")
            return _said(process)


def _said(process: Process) -> str:
    return "".join(process.lines)


#: By the page, and how the text begins.
PRINTED: Mapping[tuple[str, str], Printer] = {
    ("README.rst", "request"): demonstration,
    ("monitoring.rst", "ok: event loop"): readiness,
    ("nova.rst", "[nova] auth_url is"): old_identity,
    ("nova.rst", "poolmgr pool="): description,
    ("nova.rst", "the cloud refuses"): refused_login,
    ("nova.rst", "device 'libra-"): failed_device,
    ("nova.rst", "waiting for device"): deadline,
    ("security.rst", "/etc/poolmgr.conf has"): exposed,
    ("systemd.rst", "Status:"): status_for_systemd,
    ("worker.rst", "action="): line_of_a_job,
    ("worker.rst", "[poolmgr] basename"): reloaded,
    ("worker.rst", "== job servers"): report,
}

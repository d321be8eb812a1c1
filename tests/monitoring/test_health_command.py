"""Tests of ``poolmgr health``, which container engines run."""

import json
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.jobservers import builtin, free_port
from tests.monitoring.watched import watched
from tests.peers import peer
from tests.polling import until
from tests.processes import poolmgr
from tests.test_containerfile import only, stages


def test_a_healthy_and_ready_worker_gives_exit_code_0(tmp_path: Path) -> None:
    with builtin() as server:
        with watched([server.address], tmp_path) as worker:
            settings = {"OS_MONITORING__PORT": str(worker.port)}
            healthy = poolmgr("health", **settings)
            ready = poolmgr("health", "--ready", **settings)

    assert (healthy.returncode, healthy.stderr) == (0, "")
    assert healthy.stdout.startswith("ok: event loop: answers")
    assert ready.returncode == 0
    assert "ok: job servers: registered with 1 of 1" in ready.stdout


def test_a_worker_without_a_job_server_fails_only_with_ready(
    tmp_path: Path,
) -> None:
    dead = f"127.0.0.1:{free_port()}"
    with watched([dead], tmp_path, registered=False) as worker:
        settings = {"OS_MONITORING__PORT": str(worker.port)}

        assert poolmgr("health", **settings).returncode == 0
        done = poolmgr("health", "--ready", **settings)

    assert (done.returncode, done.stderr) == (1, "")
    assert "not ok: job servers: registered with 0 of 1" in done.stdout


def test_the_address_may_be_a_host_name(tmp_path: Path) -> None:
    # The resolver knows this as another name of 127.0.0.1.
    address = {"OS_MONITORING__ADDRESS": "127.1"}
    with builtin() as server:
        with watched(
            [server.address], tmp_path, environment=address
        ) as worker:
            port = {"OS_MONITORING__PORT": str(worker.port)}
            done = poolmgr("health", **address, **port)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_stopped_worker_is_reported_after_the_timeout(
    tmp_path: Path,
) -> None:
    with builtin() as server:
        with watched([server.address], tmp_path) as worker:
            worker.process.signal(signal.SIGSTOP)
            try:
                done = poolmgr(
                    *("health", "--timeout", "0.5"),
                    OS_MONITORING__PORT=str(worker.port),
                )
            finally:
                worker.process.signal(signal.SIGCONT)

    assert done.returncode == 1
    assert done.stderr == (
        f"poolmgr: the worker at 127.0.0.1:{worker.port} has not answered "
        "within 0.5 s\n"
    )


def test_an_answer_that_takes_too_long_is_not_waited_for() -> None:
    bytes_left = [100]

    def trickles(sock: socket.socket) -> None:
        while bytes_left[0]:
            sock.sendall(b"H")
            bytes_left[0] -= 1
            time.sleep(0.1)

    with peer(trickles) as slow:
        port = slow.address.port
        done = poolmgr(
            *("health", "--timeout", "0.5"), OS_MONITORING__PORT=str(port)
        )
        assert bytes_left[0] > 50

    assert done.returncode == 1
    assert "has not answered within 0.5 s" in done.stderr


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"OS_MONITORING__ENABLED": "false"},
            "[monitoring] is disabled",
        ),
        (
            {"OS_MONITORING__PORT": "0"},
            "[monitoring] port is 0: set a fixed port",
        ),
    ],
)
def test_unsuitable_settings_are_reported(
    settings: dict[str, str], reason: str
) -> None:
    done = poolmgr("health", **settings)

    assert (done.returncode, done.stderr) == (1, f"poolmgr: {reason}\n")


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])  # noqa: S104
def test_a_port_without_a_worker_is_reported_with_its_address(
    address: str,
) -> None:
    port = free_port()

    done = poolmgr(
        "health", OS_MONITORING__PORT=str(port), OS_MONITORING__ADDRESS=address
    )

    assert done.returncode == 1
    assert re.fullmatch(
        r"poolmgr: no worker answers at (127\.0\.0\.1|0\.0\.0\.0|\[::1?\])"
        rf":{port}: .+; is one running, with this configuration\?\n",
        done.stderr,
    )


def test_the_images_healthcheck_runs_without_a_shell(tmp_path: Path) -> None:
    _builder, image = stages()
    match = re.match(r"(.*)\bCMD (\[.*\])", only(image, "HEALTHCHECK"))
    assert match is not None
    program, *arguments = json.loads(match[2])

    assert program == "poolmgr"
    with builtin() as server:
        with watched([server.address], tmp_path) as worker:
            settings = {"OS_MONITORING__PORT": str(worker.port)}
            assert poolmgr(*arguments, **settings).returncode == 0
            # Without --start-period, a starting worker would be unhealthy.
            assert "--start-period=" in match[1]
            worker.process.signal(signal.SIGKILL)
            until(lambda: poolmgr(*arguments, **settings).returncode == 1)

"""``poolmgr health``: what a container's engine asks."""

import json
import re
import signal
from pathlib import Path

import pytest

from tests.jobservers import builtin, free_port
from tests.monitoring.watched import watched
from tests.polling import until
from tests.processes import poolmgr
from tests.test_containerfile import only, stages


def test_a_worker_that_is_well_is_exit_code_0(tmp_path: Path) -> None:
    with builtin() as server:
        with watched([server.address], tmp_path) as it:
            asked = {"OS_MONITORING__PORT": str(it.port)}
            well, of_use = (
                poolmgr("health", **asked),
                poolmgr("health", "--ready", **asked),
            )

    assert (well.returncode, well.stderr) == (0, "")
    assert well.stdout.startswith("ok: event loop: answers")
    assert of_use.returncode == 0
    assert "ok: job servers: registered with 1 of 1" in of_use.stdout


def test_one_of_no_use_is_well_and_not_ready(tmp_path: Path) -> None:
    dead = f"127.0.0.1:{free_port()}"
    with watched([dead], tmp_path, registered=False) as it:
        asked = {"OS_MONITORING__PORT": str(it.port)}

        assert poolmgr("health", **asked).returncode == 0
        done = poolmgr("health", "--ready", **asked)

    assert (done.returncode, done.stderr) == (1, "")
    assert "not ok: job servers: registered with 0 of 1" in done.stdout


def test_one_that_is_stopped_is_not_well(tmp_path: Path) -> None:
    with builtin() as server:
        with watched([server.address], tmp_path) as it:
            it.process.signal(signal.SIGSTOP)
            try:
                done = poolmgr(
                    *("health", "--timeout", "0.5"),
                    OS_MONITORING__PORT=str(it.port),
                )
            finally:
                it.process.signal(signal.SIGCONT)

    assert done.returncode == 1
    assert done.stderr == (
        f"poolmgr: the worker at 127.0.0.1:{it.port} has not answered "
        "within 0.5 s\n"
    )


@pytest.mark.parametrize(
    ("settings", "said"),
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
def test_without_pages_it_says_so(settings: dict[str, str], said: str) -> None:
    done = poolmgr("health", **settings)

    assert (done.returncode, done.stderr) == (1, f"poolmgr: {said}\n")


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])  # noqa: S104
def test_where_nobody_listens_it_says_where(address: str) -> None:
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


def test_the_image_asks_it_without_a_shell(tmp_path: Path) -> None:
    _builder, image = stages()
    found = re.match(r"(.*)\bCMD (\[.*\])", only(image, "HEALTHCHECK"))
    assert found is not None
    program, *arguments = json.loads(found[2])

    assert program == "poolmgr"
    with builtin() as server:
        with watched([server.address], tmp_path) as it:
            asked = {"OS_MONITORING__PORT": str(it.port)}
            assert poolmgr(*arguments, **asked).returncode == 0
            # A worker that starts is waited for.
            assert "--start-period=" in found[1]
            it.process.signal(signal.SIGKILL)
            until(lambda: poolmgr(*arguments, **asked).returncode == 1)

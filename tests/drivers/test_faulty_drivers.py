"""Tests of drivers with wrong results, unexpected errors or hanging calls."""

import asyncio
import signal
import threading
from collections.abc import Callable
from dataclasses import asdict, make_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from poolmgr import PoolManager, PoolSettings
from poolmgr.cloud import open_cloud
from poolmgr.drivers.base import Device, FloatingIP, Poll
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.ownership import Job, Mark
from tests.environments import plugin_beside
from tests.jobservers import builtin
from tests.processes import Process, poolmgr

DEVICE = Device("1", "libra-1", "active", "192.0.2.1", "2026-01-01T00:00:00Z")
IP = FloatingIP("1", "192.0.2.9", None, 1)
SETTINGS = PoolSettings(explain_failures=True)


#: Methods of a driver, and a message whose action calls each.
MESSAGES: dict[str, dict[str, object]] = {
    "create_device": {"action": "BUILD_DEVICE"},
    "devices_of_jobs": {"action": "BUILD_DEVICE"},
    "find_devices": {"action": "DELETE_DEVICE", "name": "libra-1"},
    "create_ip": {"action": "BUILD_IP"},
    "ips_of_jobs": {"action": "BUILD_IP"},
    "find_ips": {"action": "DELETE_IP", "ip": "192.0.2.9"},
}
#: Values that none of these may return.
WRONG_RESULTS: list[object] = [
    5,
    "libra-1",
    [None],
    [DEVICE, 5],
    (DEVICE, IP),
    {"id": "1"},
    range(2),
]
#: Fields, and values of the wrong type.
WRONG_FIELDS: list[tuple[Any, str, object]] = [
    (DEVICE, "id", 7),
    (DEVICE, "name", None),
    (DEVICE, "status", "strange"),
    (DEVICE, "status", None),
    (DEVICE, "address", 5),
    (DEVICE, "mark", "libra"),
    (IP, "address", None),
    (IP, "device_id", 5),
    (IP, "revision", "1"),
    (IP, "mark", {}),
    (Poll([]), "seen", 5),
    (Poll([]), "seen", [None]),
    (Poll([]), "unchanged", 5),
    (Poll([]), "requests", "many"),
]


class Unprintable(BaseException):
    """An error that cannot be converted to text."""

    def __str__(self) -> str:
        raise SystemExit


def replace_method(verb: str, method: Callable[..., object]) -> FakeCloud:
    """Return a driver with one method replaced."""
    cloud = FakeCloud()
    setattr(cloud, verb, method)
    return cloud


def error_of(cloud: FakeCloud, verb: str) -> dict[str, Any]:
    """Run an action that calls a method; return the error of its FAIL."""
    with PoolManager(cloud, SETTINGS) as manager:
        answer = manager.run(MESSAGES[verb])
    assert answer["response"] == "FAIL"
    error = answer["error"]
    assert isinstance(error, dict)
    return error


def test_a_driver_may_postpone_the_evaluation_of_annotations() -> None:
    made = make_dataclass(
        "Made", [("zone", "str", "")], bases=(Device,), frozen=True
    )

    assert made(**asdict(DEVICE), zone="1").zone == "1"
    with pytest.raises(TypeError, match=r"Made\.zone is 5"):
        made(**asdict(DEVICE), zone=5)


@pytest.mark.parametrize(("resource", "field", "value"), WRONG_FIELDS)
def test_a_field_of_the_wrong_type_is_refused(
    resource: Any, field: str, value: object
) -> None:
    with pytest.raises(TypeError, match=f"{field} "):
        replace(resource, **{field: value})


@pytest.mark.parametrize("verb", MESSAGES)
def test_a_result_of_the_wrong_type_is_reported_as_the_drivers_fault(
    verb: str,
) -> None:
    for value in [*WRONG_RESULTS, None]:
        error = error_of(
            replace_method(verb, lambda *_, result=value: result), verb
        )

        assert error["code"] == "plugin_failed", value
        assert error["message"].startswith(f"driver FakeCloud: {verb}: ")
        assert "action" not in error["message"]


@pytest.mark.parametrize("verb", MESSAGES)
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("odd"), "ValueError: odd"),
        (SystemExit(0), "SystemExit: 0"),
        (GeneratorExit(), "GeneratorExit"),
        (StopIteration(5), "StopIteration: 5"),
        (asyncio.CancelledError(), "CancelledError"),
        (Unprintable(), "Unprintable"),
    ],
)
def test_an_unexpected_error_is_reported_as_the_drivers_fault(
    verb: str, error: BaseException, words: str
) -> None:
    def fail(*args: object) -> object:
        raise error

    failed = error_of(replace_method(verb, fail), verb)

    assert failed["code"] == "plugin_failed"
    assert failed["message"] == f"driver FakeCloud: {verb}: {words}"


@pytest.mark.parametrize("wrong", [None, [DEVICE]])
def test_a_poll_with_a_wrong_result_is_repeated(
    wrong: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    driver = FakeCloud(FakeSettings(boot_time=0.5))
    poll, first = driver.poll, iter([True])

    def fail_once(*args: Any) -> Any:
        return wrong if next(first, False) else poll(*args)

    driver.poll = fail_once  # type: ignore[method-assign, assignment]
    with open_cloud(driver, timeout=60.0) as cloud:
        device = cloud.create_device("libra-1", Mark.for_job("p", Job("j")))

        assert cloud.wait_ready(device).ready

    assert "driver FakeCloud: poll: TypeError: its result is" in caplog.text


def test_a_driver_that_ignores_its_timeout_is_named() -> None:
    end = threading.Event()
    cloud = replace_method("find_ips", lambda *_: end.wait(60.0))
    settings = replace(SETTINGS, short_timeout=1.0)

    with PoolManager(cloud, settings) as manager:
        answer = manager.run(MESSAGES["find_ips"])
        end.set()

    assert "waiting for driver FakeCloud: find_ips" in str(answer["error"])


DRIVER = """
import os, sys, threading, time
from poolmgr.drivers.fake import FakeCloud, FakeSettings

def fail(*args):
    raise SystemExit

class Faulty(FakeCloud):
    Settings = FakeSettings
    def __init__(self, settings):
        super().__init__(settings)
        if os.environ.get("FAILING") == "__init__":
            raise GeneratorExit
"""


def install_driver(folder: Path, body: str) -> dict[str, str]:
    """Install a driver; return the environment of commands that use it.

    :param body: the methods of its class
    """
    path = plugin_beside(
        folder, DRIVER + body, poolmgr__drivers="faulty = stranger:Faulty"
    )
    return {"PYTHONPATH": str(path), "OS_POOLMGR__DRIVER": "faulty"}


def test_a_driver_that_hangs_in_close_does_not_block_the_exit(
    tmp_path: Path,
) -> None:
    env = install_driver(tmp_path, "    def close(self): time.sleep(3600)")

    built = poolmgr("build-ip", **env)

    assert built.returncode == 0
    assert "driver Faulty: close has not returned" in built.stderr
    with builtin() as server:
        args = ["--gearman-server", str(server.address), "worker"]
        worker = Process(args, **env)
        try:
            worker.wait_for("connected and registered")
            worker.signal(signal.SIGTERM)
            assert worker.exit_code() == 0
        finally:
            worker.end()


def test_a_driver_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    env = install_driver(tmp_path, "")
    for command in ("build-ip", "check", "worker"):
        done = poolmgr(command, FAILING="__init__", **env)

        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].endswith(
            "driver Faulty: __init__: GeneratorExit"
        )


def test_lists_and_check_name_the_failing_driver(tmp_path: Path) -> None:
    env = install_driver(
        tmp_path, "    list_devices = list_ips = fail\n    check = fail"
    )
    for command in (["device", "list"], ["ip", "list"], ["check"]):
        done = poolmgr(*command, **env)

        assert done.returncode == 1
        assert "driver Faulty: " in done.stderr.splitlines()[-1]

"""Drivers that return nonsense, raise what they may not, or hang."""

import asyncio
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from poolmgr import PoolManager, PoolSettings, errors
from poolmgr.cloud.poller import Watch
from poolmgr.drivers.base import Device, DriverState, FloatingIP
from poolmgr.drivers.fake import FakeCloud
from poolmgr.waiting import Deadline
from tests.asking import asked
from tests.environments import plugin_beside
from tests.jobservers import builtin
from tests.processes import Process, poolmgr

DEVICE = Device("1", "libra-1", "active", "192.0.2.1", "2026-01-01T00:00:00Z")
IP = FloatingIP("1", "192.0.2.9", None, 1)
SETTINGS = PoolSettings(explain_failures=True)


def wrongly(thing: Any, **fields: object) -> Any:
    """A thing with fields that it cannot have."""
    return replace(thing, **fields)


#: Verbs of a driver, and a message whose action needs each.
NEEDED: dict[str, dict[str, object]] = {
    "create_device": {"action": "BUILD_DEVICE"},
    "wait_for_device": {"action": "BUILD_DEVICE"},
    "devices_of_job": {"action": "BUILD_DEVICE"},
    "find_devices": {"action": "DELETE_DEVICE", "name": "libra-1"},
    "create_ip": {"action": "BUILD_IP"},
    "ips_of_job": {"action": "BUILD_IP"},
    "find_ip": {"action": "DELETE_IP", "ip": "192.0.2.9"},
}
#: What none of these may return.
NONSENSE: list[object] = [
    5,
    "libra-1",
    [None],
    [DEVICE, 5],
    (DEVICE, IP),
    {"id": "1"},
    range(2),
    wrongly(DEVICE, name=None),
    wrongly(DEVICE, status="strange"),
    wrongly(DEVICE, address=5),
    wrongly(DEVICE, mark="libra"),
    [wrongly(DEVICE, id=7)],
    wrongly(IP, address=None),
    wrongly(IP, device_id=5),
    [wrongly(IP, mark={})],
]


class Unspeakable(BaseException):
    """Has no words."""

    def __str__(self) -> str:
        raise SystemExit


def strange(verb: str, does: Callable[..., object]) -> FakeCloud:
    """A cloud that does something else in a method."""
    cloud = FakeCloud()
    setattr(cloud, verb, does)
    return cloud


def reason(cloud: FakeCloud, verb: str) -> dict[str, Any]:
    """Why an action that needs a method fails."""
    with PoolManager(cloud, SETTINGS) as manager:
        answer = manager.run(NEEDED[verb])
    assert answer["response"] == "FAIL"
    error = answer["error"]
    assert isinstance(error, dict)
    return error


@pytest.mark.parametrize("verb", NEEDED)
def test_nonsense_is_the_fault_of_the_driver(verb: str) -> None:
    nonsense = NONSENSE if verb == "find_ip" else [*NONSENSE, None]
    for value in nonsense:
        error = reason(strange(verb, lambda *_, it=value: it), verb)

        assert error["code"] == "plugin_failed", value
        assert error["message"].startswith(f"driver FakeCloud: {verb} ")
        assert "action" not in error["message"]


@pytest.mark.parametrize("verb", NEEDED)
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("odd"), "ValueError: odd"),
        (SystemExit(0), "SystemExit: 0"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (GeneratorExit(), "GeneratorExit"),
        (StopIteration(5), "StopIteration: 5"),
        (asyncio.CancelledError(), "CancelledError"),
        (Unspeakable(), "Unspeakable"),
    ],
)
def test_what_a_driver_may_not_raise_is_its_fault(
    verb: str, error: BaseException, words: str
) -> None:
    def fail(*args: object) -> object:
        raise error

    failed = reason(strange(verb, fail), verb)

    assert failed["code"] == "plugin_failed"
    assert failed["message"] == f"driver FakeCloud: {verb}: {words}"


@pytest.mark.parametrize("value", [None, 5])
def test_an_image_that_is_no_text_is_the_fault_of_the_driver(
    value: object,
) -> None:
    cloud = FakeCloud()
    cloud.image = value  # type: ignore[assignment]
    with PoolManager(cloud, SETTINGS) as manager:
        answer = manager.run({"action": "BUILD_DEVICE"})

    assert "driver FakeCloud: image is" in str(answer["error"])


def test_a_device_that_is_not_ready_is_not_answered() -> None:
    booting = replace(DEVICE, address=None)

    error = reason(
        strange("wait_for_device", lambda *_: booting), "wait_for_device"
    )

    assert "wait_for_device returned a Device that is not" in error["message"]


@pytest.mark.parametrize(
    "pause", [float("inf"), float("nan"), -1, "soon", None, 10**400]
)
def test_a_pause_that_makes_no_sense_stops_nothing(pause: object) -> None:
    refusal = errors.CloudUnavailable("so")
    refusal.retry_after = pause  # type: ignore[assignment]
    refusals = [refusal, errors.QuotaExceeded("so")]

    def look(devices: object) -> list[Device]:
        if refusals:
            raise refusals.pop()
        return [DEVICE]

    watch = Watch(look, interval=0.01)
    if pause in (float("inf"), 10**400):
        assert refusal.pause == errors.LONGEST_PAUSE
    else:
        booting = replace(DEVICE, status="building", address=None)
        assert watch.wait(booting, Deadline(60.0)) == DEVICE
    watch.close()


def test_a_watch_survives_what_a_driver_shows_it() -> None:
    def end(devices: object) -> list[Device]:
        raise SystemExit

    looks: list[Callable[[object], Any]] = [
        lambda devices: [DEVICE],
        lambda devices: [None],
        lambda devices: None,
        lambda devices: [wrongly(DEVICE, status=None)],
        end,
    ]
    watch = Watch(lambda devices: looks.pop()(devices), interval=0.01)
    booting = replace(DEVICE, status="building", address=None)

    assert watch.wait(booting, Deadline(60.0)) == DEVICE
    watch.close()


def test_a_driver_that_heeds_no_deadline_is_named() -> None:
    never = threading.Event()
    cloud = strange("find_ip", lambda *_: never.wait(60.0))
    settings = replace(SETTINGS, short_timeout=0.1)

    with PoolManager(cloud, settings) as manager:
        answer = manager.run(NEEDED["find_ip"])
        never.set()

    assert "waiting for driver FakeCloud: find_ip" in str(answer["error"])


def test_a_driver_keeps_its_class_and_what_it_has_besides() -> None:
    cloud = FakeCloud()
    cloud.besides = 5  # type: ignore[attr-defined]

    with PoolManager(cloud) as manager:
        assert isinstance(manager.driver, FakeCloud)
        assert manager.driver.besides == 5
        assert manager.driver.Settings is FakeCloud.Settings


DRIVER = """
import os, sys, threading, time
from poolmgr.drivers.fake import FakeCloud, FakeSettings

def fail(*args):
    raise SystemExit

class Strange(FakeCloud):
    Settings = FakeSettings
    def __init__(self, settings):
        super().__init__(settings)
        if os.environ.get("STRANGE") == "__init__":
            raise GeneratorExit
"""


def process(folder: Path, body: str) -> dict[str, str]:
    """The environment of a process with this driver."""
    path = plugin_beside(
        folder, DRIVER + body, poolmgr__drivers="strange = stranger:Strange"
    )
    return {"PYTHONPATH": str(path), "OS_POOLMGR__DRIVER": "strange"}


def test_a_driver_that_hangs_while_it_closes_ends_all_the_same(
    tmp_path: Path,
) -> None:
    env = process(tmp_path, "    def close(self): time.sleep(3600)")

    built = poolmgr("build-ip", **env)

    assert built.returncode == 0
    assert "driver Strange: close has not returned" in built.stderr
    with builtin() as server:
        args = ["--gearman-server", str(server.address), "worker"]
        worker = Process(args, **env)
        try:
            worker.wait_for("connected and registered")
            worker.signal(signal.SIGTERM)
            assert worker.exit_code() == 0
        finally:
            worker.end()


def test_a_worker_lives_with_a_driver_that_cannot_say_how_it_does(
    tmp_path: Path,
) -> None:
    env = process(
        tmp_path, "    is_down = property(fail)\n    state = property(fail)"
    )
    with builtin() as server:
        args = ["--gearman-server", str(server.address), "worker"]
        worker = Process(args, **env)
        try:
            worker.wait_for("connected and registered")
            message = {"action": "BUILD_DEVICE"}
            answers = asked(server.address, *[message] * 3)()
        finally:
            worker.end()

    assert {answer["response"] for answer in answers} == {"PASS"}
    told = [each for each in worker.lines if "is_down: SystemExit" in each]
    assert len(told) == 1


def test_a_driver_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    env = process(tmp_path, "")
    for command in ("build-ip", "check", "worker"):
        done = poolmgr(command, STRANGE="__init__", **env)

        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].endswith(
            "driver Strange cannot be made: GeneratorExit"
        )


def test_lists_and_checks_name_the_driver_that_fails(tmp_path: Path) -> None:
    env = process(
        tmp_path, "    list_devices = list_ips = fail\n    check = fail"
    )
    for command in (["device", "list"], ["ip", "list"], ["check"]):
        done = poolmgr(*command, **env)

        assert done.returncode == 1
        assert "driver Strange: " in done.stderr.splitlines()[-1]


def test_a_state_that_is_none_is_as_if_nothing_was_known() -> None:
    for wrong in (None, DriverState({"": None}, 0, 0.0), DriverState({}, "5")):  # type: ignore[dict-item, arg-type]
        cloud = type("Odd", (FakeCloud,), {"state": wrong})()
        with PoolManager(cloud) as manager:
            assert manager.driver.state == DriverState()

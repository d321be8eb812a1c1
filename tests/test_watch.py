"""One poller for everybody who waits."""

import threading
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

import pytest

from poolmgr.cloud import poller as watching
from poolmgr.cloud.poller import Watch
from poolmgr.drivers.base import Device
from poolmgr.errors import CloudUnavailable, DeviceFailed
from poolmgr.waiting import Deadline
from tests.scarce_threads import without_threads


def device(number: int, status: str = "building") -> Device:
    address = "192.0.2.1" if status == "active" else None
    return Device(str(number), f"d{number}", status, address, "")  # type: ignore[arg-type]


def test_many_waits_cost_one_look_an_interval() -> None:
    looks: list[int] = []
    all_wait = threading.Event()

    def look(devices: Collection[Device]) -> list[Device]:
        looks.append(len(devices))
        if len(devices) == 100:
            all_wait.set()
        status = "active" if all_wait.is_set() else "building"
        return [device(int(d.id), status) for d in devices]

    watch = Watch(look, interval=0.05)
    with ThreadPoolExecutor(100) as pool:
        ready = list(
            pool.map(
                lambda n: watch.wait(device(n), Deadline(30.0)), range(100)
            )
        )

    assert all(d.ready for d in ready)
    assert max(looks) == 100
    assert sum(looks) > len(looks)


def test_who_waits_while_there_are_no_threads_waits_for_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watching, "NO_THREAD_PAUSE", 0.01)
    watch = Watch(lambda devices: [device(1, "active")], 0.01)

    with without_threads("poolmgr-watch", times=2) as refused:
        assert watch.wait(device(1), Deadline(30.0)).ready
    assert len(refused) == 2
    assert watch.waiting == 0
    said = [r.message for r in caplog.records if r.levelname == "ERROR"]
    assert said == ["can't start new thread: nobody looks at the devices"]


def test_who_comes_when_the_watch_has_closed_waits_for_nothing() -> None:
    watch = Watch(lambda devices: [])
    watch.close()

    with pytest.raises(DeviceFailed, match="the watch closed"):
        watch.wait(device(1), Deadline(3600.0))


def test_a_look_that_fails_is_only_a_look_that_fails() -> None:
    answers: list[object] = [
        CloudUnavailable("down"),
        RuntimeError("a defect"),
        [device(1, "active")],
    ]

    def look(devices: Collection[Device]) -> list[Device]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]

    assert Watch(look, 0.01).wait(device(1), Deadline(30.0)).ready


def test_many_that_are_in_no_list_are_all_asked_for_in_turn() -> None:
    asked: set[str] = set()

    def confirm(device: Device) -> Device:
        asked.add(device.id)
        status = "active" if len(asked) == 25 else "building"
        return Device(device.id, device.name, status, "192.0.2.1", "")  # type: ignore[arg-type]

    watch = Watch(lambda devices: [], 0.01, confirm)
    with ThreadPoolExecutor(25) as pool:
        ready = pool.map(
            lambda n: watch.wait(device(n), Deadline(30.0)), range(25)
        )
        assert all(d.ready for d in ready)


def test_active_without_an_address_is_waited_for() -> None:
    seen = [
        Device("1", "d1", "active", None, ""),
        Device("1", "d1", "active", "192.0.2.1", ""),
    ]

    ready = Watch(lambda devices: [seen.pop(0)], 0.01).wait(
        device(1), Deadline(30.0)
    )

    assert ready.address == "192.0.2.1"


def test_who_waits_long_is_looked_for_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "PATIENCE", 1 / 2)
    looks: list[float] = []

    def look(devices: Collection[Device]) -> list[Device]:
        looks.append(time.monotonic())
        ready = looks[-1] - looks[0] > 1.0
        return [device(1, "active" if ready else "building")]

    Watch(look, 0.01).wait(device(1), Deadline(30.0))

    assert len(looks) < 50  # a hundred if it looked as often as at first


def pause_after(
    watch: Watch, waiters: list[watching._Waiter], waited: float = 60.0
) -> float:
    """Seconds until the next look, when all have waited for so long."""
    for waiter in waiters:
        waiter.since = time.monotonic() - waited
    return watch._show(waiters, 100.0)


def until_ready(number: int) -> list[watching._Waiter]:
    """So many who wait for a device to boot."""
    return [watching._UntilReady(device(n)) for n in range(number)]


@pytest.mark.parametrize(
    ("waiting", "pause"),
    [(1, 1.0), (9, 1.0), (10, 2.0), (19, 2.0), (35, 4.0), (500, 10.0)],
)
def test_looks_of_several_calls_are_as_many_times_as_far_apart(
    waiting: int, pause: float
) -> None:
    def look(devices: Collection[Device]) -> Collection[Device]:
        return devices

    watch = Watch(look, 0.4, page=10)

    assert pause_after(watch, until_ready(waiting)) == pause
    assert pause_after(Watch(look, 0.4), until_ready(waiting)) == 1.0
    young = pause_after(watch, until_ready(waiting), waited=0.0)
    assert young == pytest.approx(min(0.4 * (waiting // 10 + 1), 10.0))
    rare = Watch(look, 20.0, page=10)
    assert pause_after(rare, until_ready(waiting)) == 20.0


@pytest.mark.parametrize(("waiting", "pause"), [(1, 0.1), (10, 0.2)])
def test_what_may_be_gone_is_looked_for_again_soon(
    waiting: int, pause: float
) -> None:
    def look(devices: Collection[Device]) -> Collection[Device]:
        return [device for device in devices if device.id != "0"]

    watch = Watch(look, 0.4, page=10)
    gone = watching._UntilGone(device(0))

    waiters = [gone, *until_ready(waiting)[1:]]

    assert pause_after(watch, waiters) == pause
    assert not gone.done
    assert pause_after(watch, waiters) == pytest.approx(10 * pause)
    assert gone.done


def test_the_thread_goes_when_nobody_waits() -> None:
    watch = Watch(lambda devices: [device(1, "active")], 0.01)

    for _round in range(3):
        watch.wait(device(1), Deadline(30.0))

    deadline = Deadline(10.0)
    while any(t.name == "poolmgr-watch" for t in threading.enumerate()):
        deadline.sleep(0.01, "waiting for the thread to go")


def test_closing_ends_every_wait() -> None:
    watch = Watch(lambda devices: [device(1)], 0.01)
    threading.Timer(0.1, watch.close).start()

    with pytest.raises(DeviceFailed, match="closed"):
        watch.wait(device(1), Deadline(30.0))

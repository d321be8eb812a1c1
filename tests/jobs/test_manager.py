"""Whatever comes in, exactly one answer goes out."""

import asyncio
import json
import logging
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolmgr import Job, PoolManager, PoolSettings, errors
from poolmgr.actions.base import (
    Action,
    BlockingContext,
    NoFields,
    field_of,
    text,
)
from poolmgr.drivers.base import Device, Poll
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.events import EndedJob, Observer
from poolmgr.jobs import message
from poolmgr.ownership import Mark
from tests.polling import until


def acting(
    run: Callable[[BlockingContext], Any], **attributes: object
) -> type[Action[NoFields]]:
    """An action that does this."""

    class Made(Action[NoFields]):
        """Made for a test."""

        takes = NoFields

        def run(self, request: NoFields, context: BlockingContext) -> Any:
            return run(context)

    for name, value in attributes.items():
        setattr(Made, name, value)
    return Made


@pytest.fixture
def managing(cloud: FakeCloud) -> Iterator[Callable[..., PoolManager]]:
    """Makes managers with one more action, ACT."""
    made: list[PoolManager] = []

    def make(action: type[Action[Any]], **settings: Any) -> PoolManager:
        pool = PoolSettings(explain_failures=True, **settings)
        made.append(PoolManager(cloud, pool, actions={"ACT": action}))
        return made[-1]

    yield make
    for manager in made:
        manager.close()


def error(answer: Mapping[str, object]) -> dict[str, Any]:
    assert answer["response"] == "FAIL"
    found = answer["error"]
    assert isinstance(found, dict)
    return found


# -- any input --------------------------------------------------------------


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_give_one_object_with_a_response(payload: bytes) -> None:
    with PoolManager("fake") as manager:
        answer = manager.run(payload)

    assert json.loads(json.dumps(answer))["response"] in ("PASS", "FAIL")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff",
        b"[1]",
        b"null",
        b"[" * 10_000,
        b" " * 10 * 1024 * 1024,
        5,
        None,
        object(),
        [],
    ],
)
def test_what_is_no_object_is_a_bare_fail(message: object) -> None:
    with PoolManager("fake") as manager:
        assert manager.run(message) == {"response": "FAIL"}


@pytest.mark.parametrize("action", [None, 5, "", "NOPE", ["BUILD_IP"], {}])
def test_an_unknown_action_is_a_fail_with_the_message_returned(
    action: object,
) -> None:
    with PoolManager("fake") as manager:
        assert manager.run({"action": action, "x": [1, {"y": None}]}) == {
            "action": action,
            "x": [1, {"y": None}],
            "response": "FAIL",
        }
        assert manager.run({"x": 1}) == {"x": 1, "response": "FAIL"}


def test_the_case_of_the_action_does_not_matter_and_is_kept() -> None:
    with PoolManager("fake") as manager:
        answer = manager.run(
            {"action": "Build_Ip", "tag": "ünï\u0000", "response": "MAYBE"}
        )

    assert answer["response"] == "PASS"
    assert answer["action"] == "Build_Ip"
    assert answer["tag"] == "ünï\u0000"


def test_a_fail_says_nothing_more_unless_asked_to(cloud: FakeCloud) -> None:
    message = {"action": "DELETE_DEVICE", "name": "libra-1"}
    quiet = PoolManager(cloud)
    explaining = PoolManager(cloud, PoolSettings(explain_failures=True))

    assert quiet.run(message) == {**message, "response": "FAIL"}
    assert explaining.run(message) == {
        **message,
        "error": {
            "code": "not_found",
            "message": "there is no device 'libra-1'",
            "retryable": False,
        },
        "response": "FAIL",
    }


# -- any plugin -------------------------------------------------------------


def recurse(context: BlockingContext) -> object:
    return recurse(context)


def raising(error: BaseException) -> Callable[[BlockingContext], object]:
    def run(context: BlockingContext) -> object:
        raise error

    return run


class Unspeakable(Exception):
    """Its own words are one mistake more."""

    def __str__(self) -> str:
        raise LookupError("no words")


class Quitting(Exception):
    """Its words end the process, if they can."""

    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__
    __notes__ = property(__str__)


class Treacherous(dict[str, object]):
    """A dict, one method of which raises."""

    def __init__(self, treacherous: str, **items: object) -> None:
        super().__init__(**items)
        self.treacherous = treacherous

    def keys(self) -> Any:
        return self._done("keys")

    def items(self) -> Any:
        return self._done("items")

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def _done(self, name: str) -> object:
        if name == self.treacherous:
            raise GeneratorExit
        return getattr(super(), name)()


class Liar:
    """Says that it is a dict."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return dict


def circular() -> object:
    """A list that has itself in it."""
    found: list[object] = []
    found.append(found)
    return found


def deep(levels: int) -> object:
    """A list in a list in a list."""
    found: list[object] = []
    for _level in range(levels):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (raising(ValueError("odd")), "ValueError: odd"),
        (raising(SystemExit(3)), "SystemExit: 3"),
        (raising(KeyboardInterrupt()), "KeyboardInterrupt"),
        (raising(GeneratorExit()), "GeneratorExit"),
        (raising(MemoryError()), "MemoryError"),
        (recurse, "RecursionError"),
        (raising(Unspeakable()), "Unspeakable"),
        (lambda context: None, "NoneType is not a mapping"),
        (lambda context: [("a", 1)], "list is not a mapping"),
        (lambda context: {"other": 1}, "returned the fields"),
        (lambda context: {}, "returned the fields"),
        (lambda context: {"a": object()}, "not a JSON object"),
        (lambda context: {"a": float("nan")}, "not a JSON object"),
        (lambda context: {"a": [float("-inf")]}, "not a JSON object"),
        (lambda context: {"a": 10**5000}, "not a JSON object"),
        (lambda context: {"a": circular()}, "not a JSON object"),
        (lambda context: {"a": deep(200)}, "not a JSON object"),
        (lambda context: {"a": deep(100_000)}, "not a JSON object"),
        (lambda context: {"a": (each for each in "ab")}, "not a JSON object"),
        (lambda context: {"a": {(1, 2): 1}}, "not a JSON object"),
        (lambda context: {"a": b"bytes"}, "not a JSON object"),
        (lambda context: {"a": "x" * 17 * 1024 * 1024}, "not a JSON object"),
        (lambda context: Treacherous("keys", a=1), "not a JSON object"),
        (
            lambda context: {"a": Treacherous("items", b=1)},
            "not a JSON object",
        ),
        (lambda context: {5: 1}, "returned the fields"),
        (lambda context: Liar(), "not a JSON object"),
        (raising(asyncio.CancelledError()), "CancelledError"),
        (raising(StopIteration("done")), "StopIteration: done"),
        (raising(Quitting()), "Quitting"),
    ],
)
def test_a_plugin_that_misbehaves_is_a_fail_and_the_process_lives(
    managing: Callable[..., PoolManager],
    run: Callable[[BlockingContext], object],
    words: str,
) -> None:
    manager = managing(acting(run, answers=("a",)))

    answer = manager.run({"action": "ACT"})

    assert error(answer)["code"] == "plugin_failed"
    assert words in error(answer)["message"]
    assert manager.run({"action": "BUILD_IP"})["response"] == "PASS"


def test_an_answer_is_what_it_was_when_the_action_returned(
    managing: Callable[..., PoolManager],
) -> None:
    kept: dict[str, Any] = {"a": [1], "b": {"x": (1.5, None)}}
    returned = dict(kept)
    manager = managing(acting(lambda context: returned, answers=("a", "b")))

    answer = manager.run({"action": "ACT"})
    kept["a"].append(object())
    kept["b"].clear()
    returned["b"] = None

    assert (answer["a"], answer["b"]) == ([1], {"x": [1.5, None]})


def test_an_action_that_changes_its_request_does_not_change_the_answer(
    managing: Callable[..., PoolManager],
) -> None:
    @dataclass(frozen=True)
    class Taken:
        """What it takes."""

        x: Any = field(metadata=field_of(lambda value: value, "anything"))

    class Act(Action[Taken]):
        """Changes what it was given."""

        takes = Taken

        def run(
            self, request: Taken, context: BlockingContext
        ) -> dict[str, str]:
            request.x.append(object())
            return {}

    answer = managing(Act).run(b'{"action": "ACT", "x": [1]}')

    assert answer == {"action": "ACT", "x": [1], "response": "PASS"}


def test_text_that_is_no_unicode_goes_over_the_wire_and_back(
    managing: Callable[..., PoolManager],
) -> None:
    manager = managing(acting(lambda context: {"a": "\ud800"}, answers=("a",)))

    answer = manager.run({"action": "ACT", "x": "\udfff"})

    assert json.loads(message.encode(answer)) == answer
    assert (answer["a"], answer["x"]) == ("\ud800", "\udfff")


def test_an_error_is_what_it_was_when_it_was_raised(
    managing: Callable[..., PoolManager],
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Changing(errors.CloudError):
        """Says something else each time."""

        times = 0

        def __str__(self) -> str:
            self.times += 1
            if self.times > 1:
                raise SystemExit
            return "once"

    class Look(Observer):
        """Keeps what it is told of."""

        def job_ended(self, ended: EndedJob) -> None:
            told.append((ended.outcome.code, ended.outcome.reason))

    told: list[tuple[str, str]] = []
    manager = PoolManager(
        "fake",
        PoolSettings(explain_failures=True),
        {"ACT": acting(raising(Changing()))},
        Look(),
    )
    with manager:
        assert error(manager.run({"action": "ACT"}))["message"] == "once"

    assert told == [("cloud", "once")]
    assert "reason=once" in caplog.text


def test_a_plugin_that_never_returns_is_a_fail_at_its_deadline(
    managing: Callable[..., PoolManager],
) -> None:
    never = threading.Event()
    stuck = acting(lambda context: never.wait(60.0), timeout=0.1)
    manager = managing(stuck)

    answer = manager.run({"action": "ACT"})

    never.set()
    assert error(answer)["code"] == "deadline"
    assert error(answer)["retryable"] is True


def test_what_passed_after_its_time_is_undone(
    managing: Callable[..., PoolManager],
) -> None:
    late, undone = threading.Event(), threading.Event()
    seen: list[object] = []

    class Late(Action[NoFields]):
        """Comes late."""

        takes = NoFields
        answers = ("thing",)
        timeout = 0.1

        def run(
            self, request: NoFields, context: BlockingContext
        ) -> dict[str, int]:
            late.wait(60.0)
            return {"thing": 7}

        def undo(
            self, answer: Mapping[str, Any], context: BlockingContext
        ) -> None:
            seen.append(answer)
            undone.set()

    manager = managing(Late)
    assert manager.run({"action": "ACT"})["response"] == "FAIL"

    late.set()

    assert undone.wait(10.0)
    assert seen == [{"thing": 7}]


def test_a_stop_reaches_jobs_that_wait(
    managing: Callable[..., PoolManager],
) -> None:
    waiting = threading.Event()

    def wait(context: BlockingContext) -> dict[str, int]:
        waiting.set()
        context.sleep(60.0)
        return {}

    manager = managing(acting(wait))
    submission = manager.submit({"action": "ACT"})
    assert waiting.wait(10.0)

    manager.stop()

    assert error(submission.future.result(10.0).answer)["code"] == "stopped"
    assert error(manager.run({"action": "ACT"}))["code"] == "stopped"


def test_a_manager_that_is_closed_says_so_and_not_to_try_again(
    cloud: FakeCloud,
) -> None:
    manager = PoolManager(cloud, PoolSettings(explain_failures=True))
    manager.close()

    answer = manager.run({"action": "BUILD_IP", "zone": 7})

    assert (answer["response"], answer["zone"]) == ("FAIL", 7)
    refused = error(answer)
    assert (refused["code"], refused["retryable"]) == ("closed", False)
    assert "is closed" in refused["message"]
    for use in (
        manager.execute,
        lambda name: manager.submit({"action": name}),
    ):
        with pytest.raises(errors.Closed):
            use("BUILD_IP")


def test_whoever_runs_a_job_while_another_closes_is_answered(
    cloud: FakeCloud,
) -> None:
    manager = PoolManager(cloud, PoolSettings(explain_failures=True))
    begun = threading.Barrier(5)

    def run_until_closed() -> bool:
        begun.wait()
        while (answer := manager.run({"action": "BUILD_IP"})).get("ip"):
            pass
        return error(answer)["code"] in ("closed", "stopped")

    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(run_until_closed) for _ in range(4)]
        begun.wait()
        manager.close()
        assert all(each.result(30.0) for each in running)


def test_a_third_partys_request_is_typed_and_checked(
    managing: Callable[..., PoolManager],
) -> None:
    @dataclass(frozen=True)
    class Greeting:
        """What it takes."""

        whom: str = field(metadata=text("whom to greet", longest=5))
        how: str = "Hello"

    class Greet(Action[Greeting]):
        """Greet somebody."""

        takes = Greeting
        answers: ClassVar = ("greeting",)

        def run(
            self, request: Greeting, context: BlockingContext
        ) -> dict[str, str]:
            return {"greeting": f"{request.how} {request.whom}"}

    manager = managing(Greet)

    assert manager.execute("ACT", whom="Ada") == {"greeting": "Hello Ada"}
    assert manager.run({"action": "act", "whom": "Ada"})["response"] == "PASS"
    for whom in ("too long", "", 5, "a\n", None):
        with pytest.raises(errors.InvalidField, match="'whom' must be"):
            manager.execute("ACT", whom=whom)
    with pytest.raises(errors.InvalidField, match="'whom' is missing"):
        manager.execute("ACT")


@pytest.mark.parametrize(
    ("attribute", "value", "words"),
    [
        ("takes", dict, "'takes' must be a dataclass"),
        ("answers", None, "'answers' must be a tuple"),
        ("answers", "name", "'answers' must be a tuple"),
        ("answers", (1,), "'answers' must be a tuple"),
        ("timeout", "soon", "'timeout' must be a number"),
        ("timeout", -1, "'timeout' must be a number"),
        ("timeout", 0, "'timeout' must be a number"),
        ("timeout", True, "'timeout' must be a number"),
        ("timeout", float("inf"), "'timeout' must be a number"),
        ("timeout", float("nan"), "'timeout' must be a number"),
        ("timeout", 10**400, "'timeout' must be a number"),
        ("timeout", 1e9, "'timeout' must be a number"),
        ("timeout", property(lambda self: 5.0), "'timeout' must be a number"),
        ("cleanup_time", None, "'cleanup_time' must be a number"),
        ("cleanup_time", float("inf"), "'cleanup_time' must be a number"),
        ("cleanup_time", float("nan"), "'cleanup_time' must be a number"),
        ("cleanup_time", -0.1, "'cleanup_time' must be a number"),
    ],
)
def test_an_action_that_describes_itself_wrongly_is_broken(
    managing: Callable[..., PoolManager],
    attribute: str,
    value: object,
    words: str,
) -> None:
    manager = managing(acting(lambda context: {}, **{attribute: value}))

    answer = manager.run({"action": "ACT"})

    assert error(answer)["code"] == "plugin_broken"
    assert words in error(answer)["message"]


def test_a_check_of_a_field_that_fails_is_a_fail(
    managing: Callable[..., PoolManager],
) -> None:
    def check(value: object) -> object:
        raise SystemExit(value)

    @dataclass(frozen=True)
    class Odd:
        """What it takes."""

        x: object = field(metadata=field_of(check, "odd"))

    class Act(Action[Odd]):
        """Never runs."""

        takes = Odd

        def run(
            self, request: Odd, context: BlockingContext
        ) -> dict[str, str]:
            return {}

    answer = managing(Act).run({"action": "ACT", "x": 1})

    assert error(answer)["code"] == "plugin_failed"


class Hostile:
    """An object that cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_callers_objects_cannot_break_an_answer(
    managing: Callable[..., PoolManager],
) -> None:
    manager = managing(acting(lambda context: {}))
    hostile, circular = Hostile(), []  # type: ignore[var-annotated]
    circular.append(circular)

    for each in (
        {"action": hostile},
        {"action": "ACT", "x": hostile},
        {"action": "ACT", "x": circular},
        {"action": "ACT", 5: 1},
    ):
        assert manager.run(each)["response"] == "FAIL"
    assert manager.run({"action": "ACT", "x": {1, 2}})["response"] == "PASS"


def test_a_future_cannot_be_cancelled(
    managing: Callable[..., PoolManager],
) -> None:
    gate = Gate()
    submission = managing(gated(gate)).submit({"action": "ACT"})

    assert not submission.future.cancel()
    gate.open.set()
    assert submission.future.result(10.0).answer["response"] == "PASS"


# -- deliveries -------------------------------------------------------------


@dataclass
class Gate:
    """An action that counts its runs and waits to be let through."""

    runs: list[BlockingContext] = field(default_factory=list)
    entered: threading.Semaphore = field(
        default_factory=lambda: threading.Semaphore(0)
    )
    open: threading.Event = field(default_factory=threading.Event)
    wanted: list[bool] = field(default_factory=list)

    def __call__(self, context: BlockingContext) -> dict[str, int]:
        self.runs.append(context)
        self.entered.release()
        self.open.wait(60.0)
        self.wanted.append(not context.abandoned)
        return {"run": len(self.runs)}


def gated(gate: Gate) -> type[Action[NoFields]]:
    return acting(gate, answers=("run",))


def test_a_delivery_joins_its_running_job(
    managing: Callable[..., PoolManager],
) -> None:
    gate = Gate()
    manager = managing(gated(gate))
    first = manager.submit({"action": "ACT"}, Job("u", "H:a:1"))
    assert gate.entered.acquire(timeout=10.0)

    second = manager.submit({"action": "ACT"}, Job("u", "H:b:1"))
    gate.open.set()

    assert first.future.result(10.0).answer["run"] == 1
    assert second.future.result(10.0).answer["run"] == 1
    assert len(gate.runs) == 1


def test_what_runs_can_be_seen(managing: Callable[..., PoolManager]) -> None:
    gate = Gate()
    manager = managing(gated(gate), short_timeout=7.0)
    assert manager.running() == []
    first = manager.submit({"action": "Act"}, Job("u", "H:a:1"))
    second = manager.submit({"action": "Act"}, Job("u", "H:b:1"))
    other = manager.submit({"action": "Act"}, Job("v", "H:a:2"))

    seen = manager.running()
    second.connection_lost()
    left = manager.running()[0].deliveries
    gate.open.set()
    for submission in (first, second, other):
        submission.future.result(10.0)

    assert [(each.job.unique, each.deliveries) for each in seen] == [
        ("u", 2),
        ("v", 1),
    ]
    assert left == 1
    assert seen[0].action == "Act"
    assert seen[0].seconds >= seen[1].seconds >= 0.0
    assert seen[0].limit == pytest.approx(7.5)
    assert manager.running() == []


@pytest.mark.parametrize(
    ("message", "job"),
    [
        ({"action": "ACT"}, Job("other", "H:b:1")),
        ({"action": "ACT", "x": 1}, Job("u", "H:b:1")),
    ],
)
def test_another_job_does_not_join(
    managing: Callable[..., PoolManager],
    message: dict[str, object],
    job: Job,
) -> None:
    gate = Gate()
    manager = managing(gated(gate))
    manager.submit({"action": "ACT"}, Job("u", "H:a:1"))

    manager.submit(message, job)

    for _both in range(2):
        assert gate.entered.acquire(timeout=10.0)
    gate.open.set()


def test_jobs_without_a_unique_do_not_join(
    managing: Callable[..., PoolManager],
) -> None:
    gate = Gate()
    manager = managing(gated(gate))
    for handle in ("H:a:1", "H:a:2"):
        manager.submit({"action": "ACT"}, Job("", handle))

    for _both in range(2):
        assert gate.entered.acquire(timeout=10.0)
    gate.open.set()


def test_an_action_learns_that_nobody_waits_any_more(
    managing: Callable[..., PoolManager],
) -> None:
    gate = Gate()
    manager = managing(gated(gate))
    submission = manager.submit({"action": "ACT"}, Job("u", "H:a:1"))
    assert gate.entered.acquire(timeout=10.0)

    submission.connection_lost()
    gate.open.set()

    # Whoever keeps count of what runs still learns of its end.
    assert submission.future.result(10.0).answer["response"] == "PASS"
    assert gate.wanted == [False]


def test_an_answer_that_the_job_server_refused_is_undone(
    cloud: FakeCloud,
) -> None:
    manager = PoolManager(cloud)
    for action in ("BUILD_DEVICE", "BUILD_IP"):
        submission = manager.submit({"action": action}, Job("u", "H:a:1"))
        assert submission.future.result(10.0).followed
        submission.undo()

    until(lambda: not (cloud.list_devices(10.0) or cloud.list_ips(10.0)))


@pytest.mark.parametrize("action", ["BUILD_DEVICE", "BUILD_IP"])
def test_undoing_spares_what_another_delivery_took_over(
    cloud: FakeCloud, action: str
) -> None:
    manager = PoolManager(cloud)
    first = manager.submit({"action": action}, Job("u", "H:a:1"))
    made = first.future.result(10.0)
    # Another worker, to which the job server has delivered the job again.
    again = PoolManager(cloud).run({"action": action}, Job("u", "H:a:1"))
    assert again == made.answer

    first.undo()
    manager.close()

    assert states(cloud) == ["handed over"]


@pytest.mark.parametrize("action", ["BUILD_DEVICE", "BUILD_IP"])
@pytest.mark.parametrize(
    ("sent", "state"), [(False, "withdrawn"), (True, "unconfirmed")]
)
def test_what_an_undelivered_answer_is_about_is_left_for_a_later_delivery(
    cloud: FakeCloud, action: str, sent: bool, state: str
) -> None:
    manager = PoolManager(cloud)
    first = manager.submit({"action": action}, Job("u", "H:a:7"))
    made = first.future.result(10.0)

    first.undelivered(sent)
    manager.close()

    assert states(cloud) == [state]
    # The job server was restarted and calls the job by another name.
    again = PoolManager(cloud).run({"action": action}, Job("u", "H:a:1"))
    assert again == made.answer
    assert states(cloud) == ["handed over"]


@pytest.mark.parametrize("action", ["BUILD_DEVICE", "BUILD_IP"])
def test_what_a_later_delivery_has_handed_over_stays_so(
    cloud: FakeCloud, action: str
) -> None:
    manager = PoolManager(cloud)
    first = manager.submit({"action": action}, Job("u", "H:a:1"))
    first.future.result(10.0)
    PoolManager(cloud).run({"action": action}, Job("u", "H:a:1"))

    first.undelivered(sent=False)
    manager.close()

    assert states(cloud) == ["handed over"]


@pytest.mark.parametrize("in_order", [True, False])
def test_what_one_receiver_may_have_is_not_undone_for_another(
    cloud: FakeCloud, in_order: bool
) -> None:
    slow = FakeCloud(FakeSettings(boot_time=0.3))
    manager = PoolManager(slow)
    message = {"action": "BUILD_DEVICE"}
    both = [manager.submit(message, Job("u", f"H:{h}:1")) for h in "ab"]
    for submission in both:
        submission.future.result(10.0)
    for first in (in_order, not in_order):
        if first:
            both[0].undo()
        else:
            both[1].undelivered(sent=True)
    manager.close()

    assert states(slow) == ["unconfirmed"]


class Stuck(FakeCloud):
    """A cloud that does not tell when a device is ready."""

    def create_device(
        self, name: str, mark: Mark | None, timeout: float
    ) -> Device:
        made = super().create_device(name, mark, timeout)
        return replace(made, status="building", address=None)

    def poll(self, devices: Collection[Device], timeout: float) -> Poll:
        return Poll((), {device.id for device in devices})


@pytest.mark.parametrize("knows", [True, False])
@pytest.mark.parametrize("seconds", [0.7, 60.0])
def test_a_worker_that_lost_its_link_deletes_nothing_of_another(
    tmp_path: Path, seconds: float, knows: bool
) -> None:
    # The job has come to another worker: what becomes of it here, by its
    # time or by a stop, must not cost that one its device; also when the job
    # server was the first to notice that the link is gone.
    state = FakeSettings(state=str(tmp_path / "cloud.db"))
    message, job = {"action": "BUILD_DEVICE"}, Job("u", "H:a:1")
    with closing(Stuck(state)) as stuck, closing(FakeCloud(state)) as cloud:
        first = PoolManager(stuck, PoolSettings(long_timeout=seconds))
        lost = first.submit(message, job)
        until(lambda: cloud.list_devices(10.0))
        if knows:
            lost.connection_lost()

        answer = PoolManager(cloud).run(message, job)
        if seconds == 60.0:
            first.stop()
        failed = lost.future.result(10.0).answer
        first.close()

        assert (failed["response"], answer["response"]) == ("FAIL", "PASS")
        (there,) = cloud.list_devices(10.0)
        assert there.name == answer["name"]
        assert states(cloud) == ["handed over"]


def states(cloud: FakeCloud) -> list[str]:
    """What the marks of all that is there say."""
    marks = [device.mark for device in cloud.list_devices(10.0)]
    marks += [ip.mark for ip in cloud.list_ips(10.0)]
    return [mark.state for mark in marks if mark is not None]


def test_progress_reaches_who_waits(
    managing: Callable[..., PoolManager],
) -> None:
    def report(context: BlockingContext) -> dict[str, int]:
        context.report(1, 4)
        return {}

    told: list[tuple[int, int]] = []
    manager = managing(acting(report))

    manager.submit(
        {"action": "ACT"}, progress=lambda *done: told.append(done)
    ).future.result(10.0)

    assert told == [(1, 4)]


# -- the library ------------------------------------------------------------


def test_callers_may_have_exceptions_instead_of_answers(
    manager: PoolManager,
) -> None:
    device = manager.execute("BUILD_DEVICE")

    assert device["name"].startswith("libra-stg-haproxy-")
    with pytest.raises(errors.NotFound) as caught:
        manager.execute("DELETE_DEVICE", name="libra-none")
    assert caught.value.code == "not_found"
    assert "libra-none" in str(caught.value)


def test_many_threads_may_use_one_manager(
    manager: PoolManager, cloud: FakeCloud
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(20) as pool:
        names = set(
            pool.map(
                lambda _n: manager.execute("BUILD_DEVICE")["name"], range(200)
            )
        )

    assert len(names) == 200
    assert len(cloud.list_devices(10.0)) == 200


def test_no_thread_is_started_before_the_first_job() -> None:
    before = set(threading.enumerate())

    with PoolManager("fake"):
        # Others may end meanwhile.
        assert set(threading.enumerate()) <= before


def test_every_job_has_one_line_in_the_log(
    manager: PoolManager, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    job = Job("u\n1", "H:a:1", "127.0.0.1:4730")

    manager.run({"action": "BUILD_IP"}, job)
    manager.run({"action": "DELETE_IP", "ip": "192.0.2.9\n\x1b[2J"}, job)
    manager.run(b"\xff", job)

    lines = [r.getMessage() for r in caplog.records]
    assert len(lines) == 3
    start = "action=BUILD_IP unique=u\\n1 handle=H:a:1 server=127.0.0.1:4730"
    assert lines[0].startswith(f"{start} outcome=PASS duration=0.")
    assert "outcome=FAIL" in lines[1]
    assert "reason='ip' must be an IP address" in lines[1]
    assert "reason=the payload is not UTF-8" in lines[2]
    assert all(line.isprintable() for line in lines)


def test_the_line_of_a_pass_has_the_name_and_the_address(
    manager: PoolManager, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    built = manager.run({"action": "BUILD_DEVICE"})
    name, addr = built["name"], built["addr"]
    ip = manager.run({"action": "BUILD_IP"})["ip"]
    manager.run({"action": "ASSIGN_IP", "name": name, "ip": ip})
    manager.run({"action": "BUILD_IP", "name": "x outcome=FAIL"})

    lines = [r for r in caplog.records if r.name == "poolmgr.jobs.log"]
    ends = [line.getMessage().partition(" request=")[2] for line in lines]
    said = [end.partition(" ")[2] for end in ends]
    assert said[0] == f"name={name} addr={addr}"
    assert said[1] == f"ip={ip}"
    assert said[2] == f"name={name} ip={ip}"
    assert said[3].startswith("ip=")


def test_a_driver_that_is_not_there_is_named() -> None:
    with pytest.raises(errors.PluginNotFound, match="'nope'.*fake"):
        PoolManager("nope")


def test_the_python_recursion_limit_is_left_alone() -> None:
    limit = sys.getrecursionlimit()
    with PoolManager("fake") as manager:
        manager.run("[" * 100_000)
    assert sys.getrecursionlimit() == limit

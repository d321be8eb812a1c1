"""Tests of managers: each message gets exactly one answer."""

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
from poolmgr.jobs.pool_manager import BlockingDelivery
from poolmgr.ownership import Mark
from tests.polling import until


def action_from(
    run: Callable[[BlockingContext], Any], **attributes: object
) -> type[Action[NoFields]]:
    """Return an action that calls a function.

    :param attributes: of the action
    """

    class Made(Action[NoFields]):
        """Calls the function."""

        takes = NoFields

        def run(self, request: NoFields, context: BlockingContext) -> Any:
            return run(context)

    for name, value in attributes.items():
        setattr(Made, name, value)
    return Made


@pytest.fixture
def make_manager(cloud: FakeCloud) -> Iterator[Callable[..., PoolManager]]:
    """Yield a function that makes managers with an additional action, ACT."""
    managers: list[PoolManager] = []

    def make(action: type[Action[Any]], **settings: Any) -> PoolManager:
        pool = PoolSettings(explain_failures=True, **settings)
        manager = PoolManager(cloud, pool, actions={"ACT": action})
        managers.append(manager)
        return manager

    yield make
    for manager in managers:
        manager.close()


def error_of(answer: Mapping[str, object]) -> dict[str, Any]:
    """Return the error in a FAIL."""
    assert answer["response"] == "FAIL"
    found = answer["error"]
    assert isinstance(found, dict)
    return found


# -- messages ---------------------------------------------------------------


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
def test_an_invalid_message_gets_a_bare_fail(message: object) -> None:
    with PoolManager("fake") as manager:
        assert manager.run(message) == {"response": "FAIL"}


@pytest.mark.parametrize("action", [None, 5, "", "NOPE", ["BUILD_IP"], {}])
def test_an_unknown_action_gets_a_fail_with_the_fields_of_the_message(
    action: object,
) -> None:
    with PoolManager("fake") as manager:
        assert manager.run({"action": action, "x": [1, {"y": None}]}) == {
            "action": action,
            "x": [1, {"y": None}],
            "response": "FAIL",
        }
        assert manager.run({"x": 1}) == {"x": 1, "response": "FAIL"}


@pytest.mark.parametrize("message", [{}, {"action": None}])
def test_the_error_of_a_message_without_an_action_says_so(
    message: Mapping[str, object],
) -> None:
    with PoolManager("fake", PoolSettings(explain_failures=True)) as manager:
        error = error_of(manager.run(message))

    assert error["code"] == "unknown_action"
    assert error["message"].startswith("'action' is missing; known are")


def test_the_case_of_an_action_is_ignored_and_returned_as_sent() -> None:
    with PoolManager("fake") as manager:
        answer = manager.run(
            {"action": "Build_Ip", "tag": "ünï\u0000", "response": "MAYBE"}
        )

    assert answer["response"] == "PASS"
    assert answer["action"] == "Build_Ip"
    assert answer["tag"] == "ünï\u0000"


def test_a_fail_has_a_reason_only_with_explain_failures(
    cloud: FakeCloud,
) -> None:
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


# -- plugins ----------------------------------------------------------------


def recurse(context: BlockingContext) -> object:
    """Call itself without end."""
    return recurse(context)


def raising(error: BaseException) -> Callable[[BlockingContext], object]:
    """Return a function that raises an error."""

    def run(context: BlockingContext) -> object:
        raise error

    return run


class TextlessError(Exception):
    """An error whose text cannot be read."""

    def __str__(self) -> str:
        raise LookupError("no text")


class ExitingError(Exception):
    """An error that raises SystemExit when it is read."""

    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__
    __notes__ = property(__str__)


class FaultyDict(dict[str, object]):
    """A dict, one method of which raises.

    :param faulty: the method
    """

    def __init__(self, faulty: str, **items: object) -> None:
        super().__init__(**items)
        self._faulty = faulty

    def keys(self) -> Any:
        return self._call("keys")

    def items(self) -> Any:
        return self._call("items")

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def _call(self, name: str) -> object:
        if name == self._faulty:
            raise GeneratorExit
        return getattr(super(), name)()


class PretendedDict:
    """Pretends to be a dict."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return dict


def circular_list() -> list[object]:
    """Return a list that contains itself."""
    made: list[object] = []
    made.append(made)
    return made


def nested_list(levels: int) -> list[object]:
    """Return a list in a list in a list ..."""
    made: list[object] = []
    for _level in range(levels):
        made = [made]
    return made


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (raising(ValueError("odd")), "ValueError: odd"),
        (raising(SystemExit(3)), "SystemExit: 3"),
        (raising(KeyboardInterrupt()), "KeyboardInterrupt"),
        (raising(GeneratorExit()), "GeneratorExit"),
        (raising(MemoryError()), "MemoryError"),
        (recurse, "RecursionError"),
        (raising(TextlessError()), "TextlessError"),
        (lambda context: None, "NoneType is not a mapping"),
        (lambda context: [("a", 1)], "list is not a mapping"),
        (lambda context: {"other": 1}, "returned the fields"),
        (lambda context: {}, "returned the fields"),
        (lambda context: {"a": object()}, "not a JSON object"),
        (lambda context: {"a": float("nan")}, "not a JSON object"),
        (lambda context: {"a": [float("-inf")]}, "not a JSON object"),
        (lambda context: {"a": 10**5000}, "not a JSON object"),
        (lambda context: {"a": circular_list()}, "not a JSON object"),
        (lambda context: {"a": nested_list(200)}, "not a JSON object"),
        (lambda context: {"a": nested_list(100_000)}, "not a JSON object"),
        (lambda context: {"a": (each for each in "ab")}, "not a JSON object"),
        (lambda context: {"a": {(1, 2): 1}}, "not a JSON object"),
        (lambda context: {"a": b"bytes"}, "not a JSON object"),
        (lambda context: {"a": "x" * 17 * 1024 * 1024}, "not a JSON object"),
        (lambda context: FaultyDict("keys", a=1), "not a JSON object"),
        (
            lambda context: {"a": FaultyDict("items", b=1)},
            "not a JSON object",
        ),
        (lambda context: {5: 1}, "returned the fields"),
        (lambda context: PretendedDict(), "not a JSON object"),
        (raising(asyncio.CancelledError()), "CancelledError"),
        (raising(StopIteration("done")), "StopIteration: done"),
        (raising(ExitingError()), "ExitingError"),
    ],
)
def test_a_faulty_action_fails_its_job_and_no_other(
    make_manager: Callable[..., PoolManager],
    run: Callable[[BlockingContext], object],
    words: str,
) -> None:
    manager = make_manager(action_from(run, answers=("a",)))

    answer = manager.run({"action": "ACT"})

    assert error_of(answer)["code"] == "plugin_failed"
    assert words in error_of(answer)["message"]
    assert manager.run({"action": "BUILD_IP"})["response"] == "PASS"


def test_later_changes_of_returned_fields_do_not_change_the_answer(
    make_manager: Callable[..., PoolManager],
) -> None:
    kept: dict[str, Any] = {"a": [1], "b": {"x": (1.5, None)}}
    returned = dict(kept)
    manager = make_manager(
        action_from(lambda context: returned, answers=("a", "b"))
    )

    answer = manager.run({"action": "ACT"})
    kept["a"].append(object())
    kept["b"].clear()
    returned["b"] = None

    assert (answer["a"], answer["b"]) == ([1], {"x": [1.5, None]})


def test_an_action_cannot_change_the_request_fields_in_the_answer(
    make_manager: Callable[..., PoolManager],
) -> None:
    @dataclass(frozen=True)
    class Fields:
        """The fields of the action."""

        x: Any = field(metadata=field_of(lambda value: value, "anything"))

    class Act(Action[Fields]):
        """Changes its request."""

        takes = Fields

        def run(
            self, request: Fields, context: BlockingContext
        ) -> dict[str, str]:
            request.x.append(object())
            return {}

    answer = make_manager(Act).run(b'{"action": "ACT", "x": [1]}')

    assert answer == {"action": "ACT", "x": [1], "response": "PASS"}


def test_lone_surrogates_can_be_sent_in_an_answer(
    make_manager: Callable[..., PoolManager],
) -> None:
    manager = make_manager(
        action_from(lambda context: {"a": "\ud800"}, answers=("a",))
    )

    answer = manager.run({"action": "ACT", "x": "\udfff"})

    assert json.loads(message.encode(answer)) == answer
    assert (answer["a"], answer["x"]) == ("\ud800", "\udfff")


def test_the_text_of_an_error_is_read_only_once(
    make_manager: Callable[..., PoolManager],
    caplog: pytest.LogCaptureFixture,
) -> None:
    class ReadOnceError(errors.CloudError):
        """An error whose text can be read only once."""

        reads = 0

        def __str__(self) -> str:
            self.reads += 1
            if self.reads > 1:
                raise SystemExit
            return "once"

    class Outcomes(Observer):
        """Keeps the code and the reason of each outcome."""

        def job_ended(self, ended: EndedJob) -> None:
            outcomes.append((ended.outcome.code, ended.outcome.reason))

    outcomes: list[tuple[str, str]] = []
    manager = PoolManager(
        "fake",
        PoolSettings(explain_failures=True),
        {"ACT": action_from(raising(ReadOnceError()))},
        Outcomes(),
    )
    with manager:
        assert error_of(manager.run({"action": "ACT"}))["message"] == "once"

    assert outcomes == [("cloud", "once")]
    assert "reason=once" in caplog.text


def test_an_action_that_hangs_fails_at_its_deadline(
    make_manager: Callable[..., PoolManager],
) -> None:
    finish = threading.Event()
    stuck = action_from(lambda context: finish.wait(60.0), timeout=0.1)
    manager = make_manager(stuck)

    answer = manager.run({"action": "ACT"})

    finish.set()
    assert error_of(answer)["code"] == "deadline"
    assert error_of(answer)["retryable"] is True


def test_a_deadline_ends_a_call_with_a_timeout_of_its_own() -> None:
    def wait(context: BlockingContext) -> Any:
        created = context.cloud.create_device("libra-1", context.new_mark())
        try:
            context.cloud.within(3600.0).wait_ready(created)
        finally:
            context.cloud.delete_device(created)

    action = action_from(wait, timeout=0.2, cleanup_time=10.0)
    cloud = FakeCloud(FakeSettings(boot_time=3600.0))
    pool = PoolSettings(explain_failures=True)
    with PoolManager(cloud, pool, actions={"ACT": action}) as manager:
        answer = manager.run({"action": "ACT"})

        assert error_of(answer)["code"] == "deadline"
        assert manager.cloud.list_devices() == []


def test_a_result_after_the_deadline_is_undone(
    make_manager: Callable[..., PoolManager],
) -> None:
    finish, undone = threading.Event(), threading.Event()
    undone_answers: list[object] = []

    class Late(Action[NoFields]):
        """Returns after its deadline."""

        takes = NoFields
        answers = ("made",)
        timeout = 0.1

        def run(
            self, request: NoFields, context: BlockingContext
        ) -> dict[str, int]:
            finish.wait(60.0)
            return {"made": 7}

        def undo(
            self, answer: Mapping[str, Any], context: BlockingContext
        ) -> None:
            undone_answers.append(answer)
            undone.set()

    manager = make_manager(Late)
    assert manager.run({"action": "ACT"})["response"] == "FAIL"

    finish.set()

    assert undone.wait(60.0)
    assert undone_answers == [{"made": 7}]


def test_a_stop_ends_waiting_jobs_and_refuses_new_ones(
    make_manager: Callable[..., PoolManager],
) -> None:
    waiting = threading.Event()

    def wait(context: BlockingContext) -> dict[str, int]:
        waiting.set()
        context.sleep(60.0)
        return {}

    manager = make_manager(action_from(wait))
    submission = manager.submit({"action": "ACT"})
    assert waiting.wait(60.0)

    manager.stop()

    assert error_of(submission.future.result(60.0).answer)["code"] == "stopped"
    assert error_of(manager.run({"action": "ACT"}))["code"] == "stopped"


def test_a_closed_manager_refuses_jobs_as_not_retryable(
    cloud: FakeCloud,
) -> None:
    manager = PoolManager(cloud, PoolSettings(explain_failures=True))
    manager.close()

    answer = manager.run({"action": "BUILD_IP", "zone": 7})

    assert (answer["response"], answer["zone"]) == ("FAIL", 7)
    refused = error_of(answer)
    assert (refused["code"], refused["retryable"]) == ("closed", False)
    assert "is closed" in refused["message"]
    for use in (
        manager.execute,
        lambda name: manager.submit({"action": name}),
    ):
        with pytest.raises(errors.Closed):
            use("BUILD_IP")


def test_every_job_is_answered_while_the_manager_closes(
    cloud: FakeCloud,
) -> None:
    manager = PoolManager(cloud, PoolSettings(explain_failures=True))
    start = threading.Barrier(5)

    def run_until_closed() -> bool:
        start.wait()
        while (answer := manager.run({"action": "BUILD_IP"})).get("ip"):
            pass
        return error_of(answer)["code"] in ("closed", "stopped")

    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(run_until_closed) for _ in range(4)]
        start.wait()
        manager.close()
        assert all(future.result(60.0) for future in running)


def test_the_fields_of_a_plugin_action_are_checked(
    make_manager: Callable[..., PoolManager],
) -> None:
    @dataclass(frozen=True)
    class Greeting:
        """The fields of the action."""

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

    manager = make_manager(Greet)

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
def test_an_action_with_invalid_attributes_is_a_broken_plugin(
    make_manager: Callable[..., PoolManager],
    attribute: str,
    value: object,
    words: str,
) -> None:
    manager = make_manager(
        action_from(lambda context: {}, **{attribute: value})
    )

    answer = manager.run({"action": "ACT"})

    assert error_of(answer)["code"] == "plugin_broken"
    assert words in error_of(answer)["message"]


def test_an_error_in_a_field_check_fails_the_job(
    make_manager: Callable[..., PoolManager],
) -> None:
    def check(value: object) -> object:
        raise SystemExit(value)

    @dataclass(frozen=True)
    class Odd:
        """The fields of the action."""

        x: object = field(metadata=field_of(check, "odd"))

    class Act(Action[Odd]):
        """Never runs."""

        takes = Odd

        def run(
            self, request: Odd, context: BlockingContext
        ) -> dict[str, str]:
            return {}

    answer = make_manager(Act).run({"action": "ACT", "x": 1})

    assert error_of(answer)["code"] == "plugin_failed"


class Unprintable:
    """An object without a text form."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_objects_without_a_json_form_do_not_break_the_answer(
    make_manager: Callable[..., PoolManager],
) -> None:
    manager = make_manager(action_from(lambda context: {}))
    unprintable = Unprintable()

    for sent in (
        {"action": unprintable},
        {"action": "ACT", "x": unprintable},
        {"action": "ACT", "x": circular_list()},
        {"action": "ACT", 5: 1},
    ):
        assert manager.run(sent)["response"] == "FAIL"
    assert manager.run({"action": "ACT", "x": {1, 2}})["response"] == "PASS"


def test_a_future_cannot_be_cancelled(
    make_manager: Callable[..., PoolManager],
) -> None:
    gate = Gate()
    submission = make_manager(gated_action(gate)).submit({"action": "ACT"})

    assert not submission.future.cancel()
    gate.open.set()
    assert submission.future.result(60.0).answer["response"] == "PASS"


# -- deliveries -------------------------------------------------------------


@dataclass
class Gate:
    """The function of an action whose runs wait until the gate is open.

    :ivar entered: released by each run that starts
    :ivar abandoned: whether the job of each ended run was abandoned
    """

    runs: list[BlockingContext] = field(default_factory=list)
    entered: threading.Semaphore = field(
        default_factory=lambda: threading.Semaphore(0)
    )
    open: threading.Event = field(default_factory=threading.Event)
    abandoned: list[bool] = field(default_factory=list)

    def __call__(self, context: BlockingContext) -> dict[str, int]:
        self.runs.append(context)
        self.entered.release()
        self.open.wait(60.0)
        self.abandoned.append(context.abandoned)
        return {"run": len(self.runs)}


def gated_action(gate: Gate) -> type[Action[NoFields]]:
    """Return an action that waits for a gate."""
    return action_from(gate, answers=("run",))


def test_a_second_delivery_joins_the_running_job(
    make_manager: Callable[..., PoolManager],
) -> None:
    gate = Gate()
    manager = make_manager(gated_action(gate))
    first = manager.submit({"action": "ACT"}, Job("u", "H:a:1"))
    assert gate.entered.acquire(timeout=60.0)

    second = manager.submit({"action": "ACT"}, Job("u", "H:b:1"))
    gate.open.set()

    assert first.future.result(60.0).answer["run"] == 1
    assert second.future.result(60.0).answer["run"] == 1
    assert len(gate.runs) == 1


def test_running_lists_the_jobs_and_their_deliveries(
    make_manager: Callable[..., PoolManager],
) -> None:
    gate = Gate()
    manager = make_manager(gated_action(gate), short_timeout=7.0)
    assert manager.running() == []
    first = manager.submit({"action": "Act"}, Job("u", "H:a:1"))
    second = manager.submit({"action": "Act"}, Job("u", "H:b:1"))
    other = manager.submit({"action": "Act"}, Job("v", "H:a:2"))

    running = manager.running()
    second.connection_lost()
    remaining = manager.running()[0].deliveries
    gate.open.set()
    for submission in (first, second, other):
        submission.future.result(60.0)

    assert [(run.job.unique, run.deliveries) for run in running] == [
        ("u", 2),
        ("v", 1),
    ]
    assert remaining == 1
    assert running[0].action == "Act"
    assert running[0].seconds >= running[1].seconds >= 0.0
    assert running[0].limit == pytest.approx(7.5)
    assert manager.running() == []


@pytest.mark.parametrize(
    ("uniques", "fields"),
    [(("u", "other"), {}), (("u", "u"), {"x": 1}), (("", ""), {})],
    ids=["other unique", "other message", "no unique"],
)
def test_different_jobs_run_separately(
    make_manager: Callable[..., PoolManager],
    uniques: tuple[str, str],
    fields: dict[str, object],
) -> None:
    gate = Gate()
    manager = make_manager(gated_action(gate))
    manager.submit({"action": "ACT"}, Job(uniques[0], "H:a:1"))

    manager.submit({"action": "ACT", **fields}, Job(uniques[1], "H:b:1"))

    for _job in range(2):
        assert gate.entered.acquire(timeout=60.0)
    gate.open.set()


def test_an_action_sees_that_its_job_is_abandoned(
    make_manager: Callable[..., PoolManager],
) -> None:
    gate = Gate()
    manager = make_manager(gated_action(gate))
    submission = manager.submit({"action": "ACT"}, Job("u", "H:a:1"))
    assert gate.entered.acquire(timeout=60.0)

    submission.connection_lost()
    gate.open.set()

    # The future still ends, for those who count the running jobs.
    assert submission.future.result(60.0).answer["response"] == "PASS"
    assert gate.abandoned == [True]


def test_the_log_says_that_a_blocking_undo_took_too_long(
    make_manager: Callable[..., PoolManager],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def undo(_self: object, _answer: object, context: BlockingContext) -> None:
        context.sleep(3600.0)

    monkeypatch.setattr("poolmgr.jobs.run.FOLLOW_UP_TIME", 0.1)
    manager = make_manager(action_from(lambda _context: {}, undo=undo))
    delivery = manager.submit({"action": "ACT"})
    delivery.future.result(60.0)
    delivery.undo()
    manager.close()

    assert "undo failed: undo: not done within 0.1 s" in caplog.text


each_build = pytest.mark.parametrize("action", ["BUILD_DEVICE", "BUILD_IP"])


@each_build
def test_undo_deletes_the_created_device_or_floating_ip(
    cloud: FakeCloud, action: str
) -> None:
    manager = PoolManager(cloud)
    submission = manager.submit({"action": action}, Job("u", "H:a:1"))
    assert submission.future.result(60.0).followed
    assert states(cloud) == ["handed over"]

    submission.undo()

    until(lambda: not (cloud.list_devices(10.0) or cloud.list_ips(10.0)))


@each_build
@pytest.mark.parametrize(
    "follow_up",
    [lambda first: first.undo(), lambda first: first.undelivered(sent=False)],
    ids=["undo", "undelivered"],
)
def test_a_resource_that_another_worker_took_over_stays_handed_over(
    cloud: FakeCloud,
    action: str,
    follow_up: Callable[[BlockingDelivery], None],
) -> None:
    manager = PoolManager(cloud)
    first = manager.submit({"action": action}, Job("u", "H:a:1"))
    outcome = first.future.result(60.0)
    # The job server has delivered the job again, to another worker.
    again = PoolManager(cloud).run({"action": action}, Job("u", "H:a:1"))
    assert again == outcome.answer

    follow_up(first)
    manager.close()

    assert states(cloud) == ["handed over"]


@each_build
@pytest.mark.parametrize(
    ("sent", "state"), [(False, "withdrawn"), (True, "unconfirmed")]
)
def test_the_resource_of_an_undelivered_answer_is_left_for_a_redelivery(
    cloud: FakeCloud, action: str, sent: bool, state: str
) -> None:
    manager = PoolManager(cloud)
    first = manager.submit({"action": action}, Job("u", "H:a:7"))
    outcome = first.future.result(60.0)

    first.undelivered(sent)
    manager.close()

    assert states(cloud) == [state]
    # A restarted job server gives the job another handle.
    again = PoolManager(cloud).run({"action": action}, Job("u", "H:a:1"))
    assert again == outcome.answer
    assert states(cloud) == ["handed over"]


@pytest.mark.parametrize("in_order", [True, False])
def test_undo_spares_a_device_that_another_client_may_have(
    cloud: FakeCloud, in_order: bool
) -> None:
    slow = FakeCloud(FakeSettings(boot_time=0.3))
    manager = PoolManager(slow)
    message = {"action": "BUILD_DEVICE"}
    refused, lost = (
        manager.submit(message, Job("u", f"H:{host}:1")) for host in "ab"
    )
    refused.future.result(60.0)
    lost.future.result(60.0)
    if in_order:
        refused.undo()
    lost.undelivered(sent=True)
    if not in_order:
        refused.undo()
    manager.close()

    assert states(slow) == ["unconfirmed"]


class EndlessBoots(FakeCloud):
    """A cloud whose devices are never ready."""

    def create_device(
        self, name: str, mark: Mark | None, timeout: float
    ) -> Device:
        device = super().create_device(name, mark, timeout)
        return replace(device, status="building", address=None)

    def poll(self, devices: Collection[Device], timeout: float) -> Poll:
        return Poll((), {device.id for device in devices})


@pytest.mark.parametrize("noticed", [True, False])
@pytest.mark.parametrize("seconds", [0.7, 60.0], ids=["deadline", "stop"])
def test_a_worker_that_lost_its_connection_deletes_no_device_of_another(
    tmp_path: Path, seconds: float, noticed: bool
) -> None:
    """The job server has delivered the job to another worker.

    :param noticed: whether this worker has noticed that the connection broke
    """
    state = FakeSettings(state=str(tmp_path / "cloud.db"))
    message, job = {"action": "BUILD_DEVICE"}, Job("u", "H:a:1")
    with (
        closing(EndlessBoots(state)) as endless,
        closing(FakeCloud(state)) as cloud,
    ):
        first = PoolManager(endless, PoolSettings(long_timeout=seconds))
        lost = first.submit(message, job)
        until(lambda: cloud.list_devices(10.0))
        if noticed:
            lost.connection_lost()

        answer = PoolManager(cloud).run(message, job)
        if seconds == 60.0:
            first.stop()
        failed = lost.future.result(60.0).answer
        first.close()

        assert (failed["response"], answer["response"]) == ("FAIL", "PASS")
        (device,) = cloud.list_devices(10.0)
        assert device.name == answer["name"]
        assert states(cloud) == ["handed over"]


def states(cloud: FakeCloud) -> list[str]:
    """Return the states in the marks of all devices and floating IPs."""
    marks = [device.mark for device in cloud.list_devices(10.0)]
    marks += [ip.mark for ip in cloud.list_ips(10.0)]
    return [mark.state for mark in marks if mark is not None]


def test_progress_is_reported_to_the_submitter(
    make_manager: Callable[..., PoolManager],
) -> None:
    def report(context: BlockingContext) -> dict[str, int]:
        context.report(1, 4)
        return {}

    reports: list[tuple[int, int]] = []
    manager = make_manager(action_from(report))

    manager.submit(
        {"action": "ACT"}, progress=lambda *done: reports.append(done)
    ).future.result(60.0)

    assert reports == [(1, 4)]


# -- the library ------------------------------------------------------------


def test_execute_returns_fields_and_raises_errors(
    manager: PoolManager,
) -> None:
    device = manager.execute("BUILD_DEVICE")

    assert device["name"].startswith("libra-stg-haproxy-")
    with pytest.raises(errors.NotFound) as caught:
        manager.execute("DELETE_DEVICE", name="libra-none")
    assert caught.value.code == "not_found"
    assert "libra-none" in str(caught.value)


def test_many_threads_can_share_a_manager(
    manager: PoolManager, cloud: FakeCloud
) -> None:
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
        # Threads of earlier tests may end meanwhile.
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


def test_the_log_line_of_a_pass_has_the_name_and_the_address(
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
    fields = [end.partition(" ")[2] for end in ends]
    assert fields[0] == f"name={name} addr={addr}"
    assert fields[1] == f"ip={ip}"
    assert fields[2] == f"name={name} ip={ip}"
    assert fields[3].startswith("ip=")


def test_an_unknown_driver_is_named_in_the_error() -> None:
    with pytest.raises(errors.PluginNotFound, match="'nope'.*fake"):
        PoolManager("nope")


def test_a_deeply_nested_message_does_not_change_the_recursion_limit() -> None:
    limit = sys.getrecursionlimit()
    with PoolManager("fake") as manager:
        manager.run("[" * 100_000)
    assert sys.getrecursionlimit() == limit


class ExitingAction(Action[NoFields]):
    """Raise SystemExit when it is created."""

    takes = NoFields

    def __init__(self) -> None:
        raise SystemExit(3)

    def run(self, request: NoFields, context: Any) -> dict[str, str]:
        return {}


def test_an_action_that_exits_when_it_is_created_fails_only_its_job() -> None:
    with PoolManager("fake", actions={"EXIT": ExitingAction}) as manager:
        assert manager.run({"action": "EXIT"})["response"] == "FAIL"
        assert manager.run({"action": "BUILD_IP"})["response"] == "PASS"

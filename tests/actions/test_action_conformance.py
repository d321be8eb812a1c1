"""Tests of the actions with the public conformance suite, and of the suite."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from poolmgr import PoolManager
from poolmgr.actions.assign_ip import AssignIp
from poolmgr.actions.base import (
    Action,
    BlockingContext,
    Context,
    NoFields,
    text,
)
from poolmgr.actions.build_device import BuildDevice
from poolmgr.actions.build_ip import BuildIp
from poolmgr.actions.delete_device import DeleteDevice
from poolmgr.actions.delete_ip import DeleteIp
from poolmgr.actions.remove_ip import RemoveIp
from poolmgr.drivers.fake import FakeCloud, FakeSettings
from poolmgr.errors import NotOwned
from poolmgr.settings import PoolSettings
from poolmgr.testing import ActionConformance


class TestBuildDevice(ActionConformance):
    action = BuildDevice


class TestBuildIp(ActionConformance):
    action = BuildIp


class TestDeleteDevice(ActionConformance):
    action = DeleteDevice

    def prepare(self, manager: PoolManager) -> Mapping[str, object]:
        return {"name": manager.execute("BUILD_DEVICE")["name"]}


class TestDeleteIp(ActionConformance):
    action = DeleteIp

    def prepare(self, manager: PoolManager) -> Mapping[str, object]:
        return {"ip": manager.execute("BUILD_IP")["ip"]}


class _DeviceAndIp(ActionConformance):
    def prepare(self, manager: PoolManager) -> Mapping[str, object]:
        name = manager.execute("BUILD_DEVICE")["name"]
        return {"name": name, "ip": manager.execute("BUILD_IP")["ip"]}


class TestAssignIp(_DeviceAndIp):
    action = AssignIp


class TestRemoveIp(_DeviceAndIp):
    action = RemoveIp


# -- the suite --------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """A request."""

    whom: str = field(metadata=text("whom to greet"))


@dataclass(frozen=True)
class Unchecked:
    """A request whose values are not checked."""

    whom: Any


class Correct(Action[Request]):
    """Greet."""

    takes = Request
    answers: ClassVar[tuple[str, ...]] = ("greeting",)

    def run(
        self, request: Request, context: BlockingContext
    ) -> Mapping[str, Any]:
        return {"greeting": f"Hello {request.whom}"}


class Undocumented(Correct):
    __doc__ = None


class TakesNoDataclass(Correct):
    """Greet."""

    takes = str  # type: ignore[assignment]


class UnannouncedField(Correct):
    """Greet."""

    answers: ClassVar[tuple[str, ...]] = ()


class NotJson(Correct):
    """Greet."""

    def run(
        self, request: Request, context: BlockingContext
    ) -> Mapping[str, Any]:
        return {"greeting": {request.whom}}


class Unvalidated(Action[Unchecked]):
    """Greet."""

    takes = Unchecked
    answers = ("greeting",)

    def run(
        self, request: Unchecked, context: BlockingContext
    ) -> Mapping[str, Any]:
        return {"greeting": request.whom.upper()}


class Async(Correct):
    """Greet."""

    async def run(  # type: ignore[override]
        self, request: Request, context: Context
    ) -> Mapping[str, Any]:
        await context.cloud.list_devices()
        return {"greeting": f"Hello {request.whom}"}


class Unprotected(Correct):
    """Delete every device through the driver, without the cloud's checks."""

    def run(
        self, request: Request, context: BlockingContext
    ) -> Mapping[str, Any]:
        for device in context.cloud.list_devices():
            context.cloud.driver.delete_device(device, 10.0)
        return {"greeting": "Gone"}


class Refused(Correct):
    """Try to delete every device."""

    def run(
        self, request: Request, context: BlockingContext
    ) -> Mapping[str, Any]:
        for device in context.cloud.list_devices():
            with suppress(NotOwned):
                context.cloud.delete_device(device)
        return {"greeting": "Not gone"}


class Failing(Action[NoFields]):
    """Fail."""

    takes = NoFields

    def run(
        self, request: NoFields, context: BlockingContext
    ) -> Mapping[str, Any]:
        raise ValueError("never")


SUITE = {
    name: test
    for name, test in vars(ActionConformance).items()
    if name.startswith("test_")
}


def failures(action_: type[Action[Any]]) -> set[str]:
    """Return the tests of the suite that an action fails."""

    class Suite(ActionConformance):
        action = action_
        message: ClassVar = {"whom": "Ada"}

    suite = Suite()
    settings = PoolSettings(explain_failures=True)
    failed = set()
    for name, test in SUITE.items():
        cloud = FakeCloud(FakeSettings())
        with PoolManager(cloud, settings, {suite.NAME: action_}) as manager:
            arguments = [suite, manager][: test.__code__.co_argcount]
            try:
                test(*arguments)
            except Exception:
                failed.add(name)
        cloud.close()
    return failed


@pytest.mark.parametrize("action", [Correct, Async, Refused])
def test_a_correct_action_passes_the_suite(action: type[Action[Any]]) -> None:
    assert len(SUITE) >= 7
    assert failures(action) == set()


VALID = "test_the_class_is_valid"
HELP = "test_its_command_has_help"
ANSWERED = "test_the_answer_has_all_announced_fields"
FOREIGN = "test_resources_of_other_pools_are_not_touched"
VALUES = "test_wrong_values_are_refused_or_accepted"


@pytest.mark.parametrize(
    ("action", "failed"),
    [
        (Undocumented, HELP),
        (TakesNoDataclass, VALID),
        (UnannouncedField, ANSWERED),
        (NotJson, ANSWERED),
        (Unvalidated, HELP),
        (Unvalidated, VALUES),
        (Failing, ANSWERED),
        (Unprotected, FOREIGN),
    ],
)
def test_a_faulty_action_fails_the_right_test(
    action: type[Action[Any]], failed: str
) -> None:
    assert failed in failures(action)

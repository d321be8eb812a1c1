"""Actions with bugs: each job is answered, and a manager closes in time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, cast

import pytest

from poolmgr import PoolSettings
from poolmgr.actions.base import Action, Context, NoFields
from poolmgr.errors import DeviceNotDeleted, PoolmgrError
from poolmgr.jobs import message as wire
from poolmgr.jobs.manager import AsyncPoolManager
from tests.cloud.scripted import ScriptedDriver, cloud_of

Run = Callable[[Context], Awaitable[None]]


def make_manager(run: Run, **attributes: Any) -> AsyncPoolManager:
    """Return a manager that explains failures and has the action ACT.

    :param run: what the action does
    :param attributes: attributes of the action's class
    """

    class Act(Action[NoFields]):
        """Do what a test wants."""

        takes = NoFields

        async def run(
            self, request: NoFields, context: Context
        ) -> Mapping[str, str]:
            await run(context)
            return {}

    for name, value in attributes.items():
        setattr(Act, name, value)
    return AsyncPoolManager(
        cloud_of(ScriptedDriver()),
        PoolSettings(explain_failures=True),
        {"ACT": Act},
    )


async def fail(manager: AsyncPoolManager) -> dict[str, Any]:
    """Return the error in the answer, as a client reads it."""
    async with asyncio.timeout(1000.0):
        answer = await manager.run({"action": "ACT"})
    wire.encode(answer)
    assert answer["response"] == "FAIL"
    return cast(dict[str, Any], answer["error"])


async def succeed(context: Context) -> None:
    """Return at once."""


class Unprintable(PoolmgrError):
    """An error whose code is not text."""

    code = cast(str, {"a", "set"})


@pytest.mark.parametrize(
    "error", [Unprintable("why"), DeviceNotDeleted("why", {"name": object()})]
)
async def test_an_error_that_is_not_json_is_a_failure_of_the_plugin(
    error: PoolmgrError,
) -> None:
    async def run(context: Context) -> None:
        raise error

    failed = await fail(make_manager(run))

    assert failed["code"] == "plugin_failed"
    assert (
        f"action Act raised {type(error).__name__}: why" in (failed["message"])
    )


async def test_the_deadline_of_an_action_that_sets_a_foreign_error() -> None:
    async def run(context: Context) -> None:
        context.failing(cast(PoolmgrError, ValueError("why")))
        await asyncio.sleep(10_000.0)

    failed = await fail(make_manager(run))

    assert failed["code"] == "plugin_failed"
    assert "ValueError: why" in failed["message"]


@pytest.mark.parametrize("timeout", [float("nan"), 1e300, "x", -1.0])
async def test_a_timeout_that_becomes_invalid_is_a_fail(
    timeout: object,
) -> None:
    manager = make_manager(succeed)
    assert (await manager.run({"action": "ACT"}))["response"] == "PASS"

    manager.actions.load("ACT").timeout = cast(float, timeout)

    failed = await fail(manager)
    assert failed["code"] == "plugin_broken"
    assert "action Act: 'timeout' must be a number" in failed["message"]


async def test_an_undo_that_hangs_does_not_keep_a_manager_open() -> None:
    is_over = False

    async def undo(*_args: object) -> None:
        while not is_over:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(10_000.0)

    manager = make_manager(succeed, undo=undo)
    delivery = manager.submit({"action": "ACT"})
    await delivery.future
    delivery.undo()
    async with asyncio.timeout(1000.0):
        await manager.close()

    assert asyncio.get_running_loop().time() < 100.0
    assert delivery.undo_failed
    assert not manager.is_idle
    is_over = True

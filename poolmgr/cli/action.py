"""A command for an action, made from the action's own description."""

import asyncio
import dataclasses
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from poolmgr.actions.base import (
    action_plugins,
    description,
    field_from_text,
    is_required,
)
from poolmgr.cli.base import PoolmgrLister, PoolmgrShowOne, Table
from poolmgr.cli.usage import UsageError, positive
from poolmgr.drivers.verbs import close_driver
from poolmgr.errors import DeviceNotDeleted
from poolmgr.events import Outcome
from poolmgr.jobs.delivery import Delivery
from poolmgr.jobs.manager import AsyncPoolManager
from poolmgr.worker.signals import Interrupted

# Not the plain name of a field: it could be one that cliff uses.
_FIELD = "field_"


class ActionCommand(PoolmgrShowOne):
    """Run an action without a job server, once or many times.

    :cvar action: its name
    """

    action = ""
    _many: "_Many | None" = None

    def get_parser(self, prog_name: str) -> ArgumentParser:
        """The action's fields: the required ones are arguments."""
        self.plugin = plugin = action_plugins().load(self.action)
        self._description = description(plugin)
        fields = dataclasses.fields(plugin.takes)
        names = (field.name for field in fields)
        self.columns = ("action", *names, *plugin.answers, "response")
        self._of_one = self._formatter_plugins.names()
        if plugin.answers and not fields:
            self._many = _Many(self.app, None, self.cmd_name)
            self._many.one = self
            self._many.columns = (*plugin.answers, "response", "error")
            formats: Iterable[Any] = self._many._formatter_plugins
            more = [each for each in formats if each.name not in self._of_one]
            self._formatter_plugins.extensions += more
        parser = super().get_parser(prog_name)
        # The rows of many come in the order in which they were asked for.
        parser.set_defaults(count=None, sort_columns=[])
        if plugin.answers:
            parser.epilog = f"Answers {', '.join(plugin.answers)}."
        if self._many:
            help_ = "run it N times and show a row for each"
            parser.add_argument(
                "--count", type=positive, metavar="N", help=help_
            )
        for field in fields:
            self._add(parser, field)
        return parser

    def _add(
        self, parser: ArgumentParser, field: "dataclasses.Field[Any]"
    ) -> None:
        add = partial(
            parser.add_argument,
            type=partial(field_from_text, self.plugin, field),
            metavar=field.name.upper(),
            help=field.metadata.get("help", "").replace("%", "%%"),
        )
        option, dest = field.name.replace("_", "-"), _FIELD + field.name
        # cliff's formatters have options of their own, as --prefix.
        if f"--{option}" in parser._option_string_actions:
            option = f"field-{option}"
        if is_required(field):
            add(dest)
        else:
            add(f"--{option}", dest=dest)

    def run(self, parsed_args: Namespace) -> int:
        """Run it; refuse a format that cannot show it beforehand."""
        format_ = parsed_args.formatter
        if self._many and parsed_args.count is not None:
            if format_ not in self._many._formatter_plugins:
                raise UsageError(f"-f {format_} cannot show --count")
            return self._many.run(parsed_args)
        if format_ not in self._of_one:
            raise UsageError(f"-f {format_} is for lists: give --count N")
        return super().run(parsed_args)

    def take_action(self, parsed_args: Namespace) -> Table:
        """Run it; a FAIL is an error."""
        (outcome,) = self.outcomes(parsed_args, 1)
        if outcome.error is not None:
            raise outcome.error
        return self.dict2columns(outcome.answer)

    def outcomes(self, given: Namespace, count: int) -> Sequence[Outcome]:
        """Run it so many times."""
        message: dict[str, object] = {"action": self.action}
        for name, value in vars(given).items():
            if name.startswith(_FIELD) and value is not None:
                message[name.removeprefix(_FIELD)] = value
        driver = self.configuration.make_driver()  # names all wrong values
        batch = Batch(message, count, self.configuration.worker().long_jobs)
        # A signal that comes when the last has ended is too late.
        self.app.interruption.hold()
        try:
            with self.progress(batch.step):
                manager = AsyncPoolManager(driver, self.configuration.pool())
                return self.app.interruption.run(batch.run(manager))
        except Interrupted as interrupted:
            if self.plugin.answers:
                interrupted.detail += f"; {batch.cleared_up()}"
            raise
        finally:
            close_driver(driver)


class _Many(PoolmgrLister):
    """Run an action many times: a row for each.

    :ivar one: the command that runs it once
    """

    one: ActionCommand
    # What all have in common can go; why one failed cannot.
    spare = ("az", "type")

    def take_action(self, parsed_args: Namespace) -> Table:
        """Run it; a FAIL is a row."""
        outcomes = self.one.outcomes(parsed_args, parsed_args.count)
        if failed := sum(outcome.error is not None for outcome in outcomes):
            self.failed = True
            self.app.LOG.error("%d of %d failed", failed, len(outcomes))
        answers = [{**o.answer, "error": o.reason or None} for o in outcomes]
        return self.columns, [[*map(a.get, self.columns)] for a in answers]


@dataclasses.dataclass
class Batch:
    """Copies of a message, run here.

    :ivar message: what is asked for
    :ivar count: how many times
    :ivar at_once: how many of them at a time
    """

    message: Mapping[str, object]
    count: int
    at_once: int
    _deliveries: list[Delivery] = dataclasses.field(default_factory=list)
    _stopping = False

    async def run(self, manager: AsyncPoolManager) -> Sequence[Outcome]:
        """Run all; nothing of them is left when it is cancelled.

        :returns: the outcomes, in the order in which they were asked for
        """
        slots = asyncio.Semaphore(self.at_once)

        async def run_one() -> None:
            async with slots:
                delivery = manager.submit(self.message)
                self._deliveries.append(delivery)
                await asyncio.wait([delivery.future])

        try:
            async with manager:
                try:
                    await asyncio.gather(
                        *(run_one() for _ in range(self.count))
                    )
                except asyncio.CancelledError:
                    await self._clear_up(manager)
                    raise
        except asyncio.CancelledError:
            # When the last has ended it is too late.
            if self._stopping:
                raise
        return self._ended()

    async def _clear_up(self, manager: AsyncPoolManager) -> None:
        """Undo all: nobody would ever hear of what was made."""
        self._stopping = True
        manager.stop()
        # One may pass at this very moment.
        seconds = manager.longest_cleanup() + 1.0
        if futures := [each.future for each in self._deliveries]:
            await asyncio.wait(futures, timeout=seconds)
        for each in self._deliveries:
            if each.future.done():
                each.undo()

    def cleared_up(self) -> str:
        """How it was cleared up after an interruption, for a line; only once
        the manager is closed."""
        started = f"{len(self._deliveries)} of {self.count} had started"
        left = sum(map(_may_be_left, self._deliveries))
        if not left:
            return f"{started}; everything created was deleted"
        return (
            f"{started}; {left} could not be deleted: see 'poolmgr device "
            "list --all' and 'poolmgr ip list --all'"
        )

    def step(self) -> str:
        """What it is doing."""
        if self._stopping:
            return "cleaning up"
        ended = self._ended()
        running = len(self._deliveries) - len(ended)
        failed = sum(outcome.error is not None for outcome in ended)
        words = f"{len(ended)}/{self.count} done, {running} running"
        return f"{words}, {failed} failed" if failed else words

    def _ended(self) -> list[Outcome]:
        futures = [each.future for each in self._deliveries]
        return [future.result() for future in futures if future.done()]


def _may_be_left(delivery: Delivery) -> bool:
    """Whether something that a job made may still be there."""
    future = delivery.future
    if not future.done() or delivery.undo_failed:
        return True
    return isinstance(future.result().error, DeviceNotDeleted)


def command_for(action: str) -> type[ActionCommand]:
    """The class of an action's command."""
    return type("ActionCommand", (ActionCommand,), {"action": action})

"""A command for an action, made from the action's own description."""

import asyncio
import dataclasses
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import compress
from typing import Any

from cliff.formatters.base import ListFormatter, SingleFormatter

from poolmgr.actions.base import (
    action_plugins,
    description,
    field_from_text,
    is_required,
)
from poolmgr.cli.base import PoolmgrShowOne, Table
from poolmgr.cli.options import positive
from poolmgr.cli.usage import UsageError
from poolmgr.drivers.base import Driver
from poolmgr.drivers.lifecycle import close_driver
from poolmgr.errors import DeviceNotDeleted
from poolmgr.events import Outcome
from poolmgr.jobs.delivery import Delivery
from poolmgr.jobs.manager import AsyncPoolManager
from poolmgr.plugins import stevedore
from poolmgr.worker.signals import Interrupted

# Not the plain name of a field: it could be one that cliff uses.
_FIELD = "field_"


class ActionCommand(PoolmgrShowOne):
    """Run an action without a job server, once or many times.

    :cvar action: its name
    """

    action = ""
    # What all of many have in common can go; why one failed cannot.
    spare = ("az", "type")

    def get_parser(self, prog_name: str) -> ArgumentParser:
        """The action's fields: the required ones are arguments."""
        self.plugin = plugin = action_plugins().load(self.action)
        self._description = description(plugin)
        fields = dataclasses.fields(plugin.takes)
        names = (field.name for field in fields)
        self.columns = ("action", *names, *plugin.answers, "response")
        repeats = plugin.answers and not fields
        if repeats:
            self._add_formats_of_lists()
        parser = super().get_parser(prog_name)
        parser.set_defaults(count=None)
        if plugin.answers:
            parser.epilog = f"Answers {', '.join(plugin.answers)}."
        if repeats:
            help_ = "run it N times and show a row for each"
            parser.add_argument(
                "--count", type=positive, metavar="N", help=help_
            )
        for field in fields:
            self._add(parser, field)
        return parser

    def _add_formats_of_lists(self) -> None:
        formats: stevedore.ExtensionManager[Any] = stevedore.ExtensionManager(
            "cliff.formatter.list", invoke_on_load=True
        )
        known = self._formatter_plugins.names()
        more = [each for each in formats if each.name not in known]
        self._formatter_plugins.extensions += more

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
        formatter = self._formatter_plugins[format_].obj
        if parsed_args.count is not None:
            self.columns = (*self.plugin.answers, "response", "error")
            if not isinstance(formatter, ListFormatter):
                raise UsageError(f"-f {format_} cannot show --count")
        elif not isinstance(formatter, SingleFormatter):
            raise UsageError(f"-f {format_} is for lists: give --count N")
        return super().run(parsed_args)

    def take_action(self, parsed_args: Namespace) -> Table:
        """Run it; a FAIL is an error, or of many a row."""
        message: dict[str, object] = {"action": self.action}
        for name, value in vars(parsed_args).items():
            if name.startswith(_FIELD) and value is not None:
                message[name.removeprefix(_FIELD)] = value
        driver = self.configuration.make_driver()  # names all wrong values
        at_once = self.configuration.worker().long_jobs
        batch = Batch(message, parsed_args.count or 1, at_once)
        outcomes = self._run(batch, driver)
        if parsed_args.count is None:
            if outcomes[0].error is not None:
                raise outcomes[0].error
            return self.dict2columns(outcomes[0].answer)
        if failed := sum(outcome.error is not None for outcome in outcomes):
            self.failed = True
            self.app.LOG.error("%d of %d failed", failed, len(outcomes))
        answers = [
            {**outcome.answer, "error": outcome.reason or None}
            for outcome in outcomes
        ]
        return self.columns, [[*map(a.get, self.columns)] for a in answers]

    def produce_output(
        self, parsed_args: Namespace, column_names: Sequence[str], data: Any
    ) -> int:
        """Show an answer, or a row for each of many."""
        if parsed_args.count is None:
            return super().produce_output(parsed_args, column_names, data)
        rows = self.rows(parsed_args, column_names, data)
        chosen, _selector = self._generate_columns_and_selector(
            parsed_args, column_names
        )
        wanted = [name in chosen for name in column_names]
        rows = [[*compress(row, wanted)] for row in rows]
        self.formatter.emit_list(chosen, rows, self.app.stdout, parsed_args)
        return 0

    def _run(self, batch: "Batch", driver: Driver) -> Sequence[Outcome]:
        # A signal that comes when the last has ended is too late.
        self.app.interruption.hold()
        try:
            with self.progress(batch.step):
                manager = AsyncPoolManager(driver, self.configuration.pool())
                return self.app.interruption.run(batch.run(manager))
        except Interrupted as interrupted:
            if self.plugin.answers:
                interrupted.said += f"; {batch.cleared_up()}"
            raise
        finally:
            close_driver(driver)


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

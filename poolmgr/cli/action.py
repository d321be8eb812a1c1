"""A command for an action, made from the action's own description."""

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any

from cliff.formatters.base import ListFormatter, SingleFormatter

from poolmgr.actions.base import (
    description,
    field_from_text,
    is_required,
)
from poolmgr.cli.arguments import positive
from poolmgr.cli.base import PoolmgrLister, PoolmgrShowOne, Table
from poolmgr.cli.batch import Batch
from poolmgr.cli.columns import Text
from poolmgr.cli.usage import UsageError
from poolmgr.drivers.lifecycle import close_driver
from poolmgr.events import Outcome
from poolmgr.jobs.manager import action_plugins, driver_plugins
from poolmgr.jobs.pool_manager import PoolManager
from poolmgr.plugins import stevedore
from poolmgr.worker.signals import Interrupted


class ActionCommand(PoolmgrShowOne):
    """Run an action without a job server.

    :cvar action: its name
    """

    action = ""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The action's fields: the required ones are arguments."""
        self.plugin = action_plugins().load(self.action)
        self._description = description(self.plugin)
        fields = [field.name for field in self._fields]
        answers = self.plugin.answers
        self.columns = ["action", *fields, *answers, "response"]
        repeats = answers and not self._fields
        if repeats:
            self._formatter_plugins.extensions += _list_formats()
        parser = super().get_parser(prog_name)
        parser.set_defaults(count=None)
        if answers:
            parser.epilog = f"Answers {', '.join(answers)}."
        if repeats:
            parser.add_argument(
                "--count",
                type=positive,
                metavar="N",
                help="so many at once; a row for each, with the reason of "
                "one that failed, and exit code 1 if any did",
            )
        for field in self._fields:
            _add(parser, field)
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run it; refuse a format that cannot show it beforehand."""
        format_ = parsed_args.formatter
        formatter = self._formatter_plugins[format_].obj
        if parsed_args.count is None:
            if not isinstance(formatter, SingleFormatter):
                raise UsageError(f"-f {format_} is for lists: give --count N")
            return super().run(parsed_args)
        if not isinstance(formatter, ListFormatter):
            raise UsageError(f"-f {format_} shows one thing, not --count")
        return _Many(self).run(parsed_args)

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Run it; a FAIL is an error."""
        (outcome,) = self.outcomes(parsed_args)
        if outcome.error is not None:
            raise outcome.error
        return self.dict2columns(outcome.answer)

    @property
    def _fields(self) -> "Sequence[dataclasses.Field[Any]]":
        return dataclasses.fields(self.plugin.takes)

    def outcomes(self, given: argparse.Namespace) -> Sequence[Outcome]:
        """Run it as often as the command line says."""
        conf = self.configuration
        message: dict[str, object] = {"action": self.action}
        for field in self._fields:
            text = getattr(given, _dest(field))
            if text is not None:
                message[field.name] = field_from_text(self.plugin, field, text)
        driver = conf.make_driver(driver_plugins())
        batch = Batch(message, given.count or 1, conf.worker().long_jobs)
        bar = batch.done if batch.count > 1 else None
        try:
            with (
                self.progress(batch.step, bar),
                PoolManager(driver, conf.pool()) as manager,
            ):
                return batch.run(manager, self.app.interruption)
        except Interrupted as interrupted:
            if self.plugin.answers:
                interrupted.said += f"; {batch.cleared_up()}"
            raise
        finally:
            close_driver(driver)


class _Many(PoolmgrLister):
    """A row for each of many answers."""

    # What all have in common can go; whether one failed, and why, cannot.
    spare = ("az", "type")

    def __init__(self, command: ActionCommand) -> None:
        super().__init__(command.app, command.app_args, command.cmd_name)
        self._command = command
        self.columns = [*command.plugin.answers, "response", "error"]

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Run all."""
        parsed_args.sort_columns = []
        outcomes = self._command.outcomes(parsed_args)
        failed = sum(outcome.error is not None for outcome in outcomes)
        if failed:
            self.failed = True
            self.app.LOG.error("%d of %d failed", failed, len(outcomes))
        answers = [
            {**outcome.answer, "error": Text(outcome.reason or None)}
            for outcome in outcomes
        ]
        return self.columns, [
            [answer.get(name, Text(None)) for name in self.columns]
            for answer in answers
        ]


def command_for(action: str) -> type[ActionCommand]:
    """The class of an action's command."""
    return type("ActionCommand", (ActionCommand,), {"action": action})


def _list_formats() -> "list[stevedore.extension.Extension[Any]]":
    """The formats that can show many answers only."""
    formats: stevedore.ExtensionManager[Any] = stevedore.ExtensionManager(
        "cliff.formatter.list", invoke_on_load=True
    )
    return [
        each for each in formats if not isinstance(each.obj, SingleFormatter)
    ]


def _add(
    parser: argparse.ArgumentParser, field: "dataclasses.Field[Any]"
) -> None:
    metavar = field.name.upper()
    help_ = field.metadata.get("help", "").replace("%", "%%")
    if is_required(field):
        parser.add_argument(_dest(field), metavar=metavar, help=help_)
        return
    option = field.name.replace("_", "-")
    # cliff's formatters have options of their own, as --prefix.
    if f"--{option}" in parser._option_string_actions:
        option = f"field-{option}"
    parser.add_argument(
        f"--{option}", dest=_dest(field), metavar=metavar, help=help_
    )


def _dest(field: "dataclasses.Field[Any]") -> str:
    # Not the plain name: it could be one that cliff uses.
    return f"field_{field.name}"

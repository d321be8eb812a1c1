"""A command for an action, made from the action's own description."""

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any

from poolmgr.actions.base import (
    Action,
    description,
    field_from_text,
    is_required,
)
from poolmgr.cli.base import (
    PoolmgrShowOne,
    Row,
    Table,
    positive,
    require_columns,
)
from poolmgr.cli.batch import Batch
from poolmgr.cli.columns import Text
from poolmgr.cli.many import ManyOutput
from poolmgr.cli.progress import progress
from poolmgr.drivers.lifecycle import close_driver
from poolmgr.events import Outcome
from poolmgr.jobs.manager import action_plugins, driver_plugins
from poolmgr.jobs.pool_manager import PoolManager
from poolmgr.worker.signals import Interrupted


class ActionCommand(PoolmgrShowOne):
    """Run an action here and now, without a job server.

    :cvar action: its name
    """

    action = ""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The action's fields: the required ones are arguments."""
        action = action_plugins().load(self.action)
        self._description = description(action)
        parser = super().get_parser(prog_name)
        parser.epilog = _answers(action)
        self._many = ManyOutput(parser) if _repeats(action) else None
        if self._many is not None:
            parser.add_argument(
                "--count",
                type=positive,
                metavar="N",
                help="so many at once; a row for each, with the reason of "
                "one that failed, and exit code 1 if any did",
            )
        for field in dataclasses.fields(action.takes):
            _add(parser, field)
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run it; exit code 1 if one of many failed."""
        self._check(parsed_args)
        if self._many is None or parsed_args.count is None:
            return super().run(parsed_args)
        outcomes = self._outcomes(parsed_args)
        columns = _columns(action_plugins().load(self.action))
        rows = [_row(outcome, columns) for outcome in outcomes]
        self._many.produce(self, parsed_args, columns, rows)
        failed = sum(outcome.error is not None for outcome in outcomes)
        if failed:
            self.app.LOG.error("%d of %d failed", failed, len(outcomes))
        return 1 if failed else 0

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Run it; a FAIL is an error."""
        (outcome,) = self._outcomes(parsed_args)
        if outcome.error is not None:
            raise outcome.error
        return self.dict2columns(outcome.answer)

    def _check(self, given: argparse.Namespace) -> None:
        """Find out before anything is made, not when it is to be printed.

        :raises UsageError: there is no such column, or no such format
        """
        action = action_plugins().load(self.action)
        many = self._many is not None and given.count is not None
        if many:
            columns = _columns(action)
        else:
            fields = [f.name for f in dataclasses.fields(action.takes)]
            columns = ["action", *fields, *action.answers, "response"]
        require_columns(given.columns, columns)
        if self._many is not None:
            self._many.check(given.formatter, many)

    def _outcomes(self, given: argparse.Namespace) -> Sequence[Outcome]:
        conf = self.configuration
        message = {"action": self.action, **_fields(self.action, given)}
        driver = conf.make_driver(driver_plugins())
        batch = Batch(
            self.cmd_name or self.action,
            message,
            getattr(given, "count", None) or 1,
            conf.worker().long_jobs,
        )
        try:
            with (
                progress(self.app.stderr, batch.line, self.quiet),
                PoolManager(driver, conf.pool()) as manager,
            ):
                return batch.run(manager, self.app.interruption)
        except Interrupted as interrupted:
            if action_plugins().load(self.action).answers:
                interrupted.said += f"; {batch.cleared_up()}"
            raise
        finally:
            close_driver(driver)


def command_for(action: str) -> type[ActionCommand]:
    """The class of an action's command."""
    return type("ActionCommand", (ActionCommand,), {"action": action})


def _repeats(action: type[Action[Any]]) -> bool:
    """Whether it makes something new each time, out of nothing."""
    return bool(action.answers) and not dataclasses.fields(action.takes)


def _columns(action: type[Action[Any]]) -> list[str]:
    """The columns of many answers."""
    return [*action.answers, "response", "error"]


def _row(outcome: Outcome, columns: Sequence[str]) -> Row:
    cells = {**outcome.answer, "error": Text(outcome.reason or None)}
    return [cells.get(name, Text(None)) for name in columns]


def _add(
    parser: argparse.ArgumentParser, field: "dataclasses.Field[Any]"
) -> None:
    help_ = field.metadata.get("help", "").replace("%", "%%")
    if is_required(field):
        metavar = field.name.upper()
        parser.add_argument(_dest(field), metavar=metavar, help=help_)
    else:
        option = field.name.replace("_", "-")
        # cliff's formatters have options of their own, as --prefix.
        taken = f"--{option}" in parser._option_string_actions
        option = f"--field-{option}" if taken else f"--{option}"
        metavar = field.name.upper()
        parser.add_argument(
            option, dest=_dest(field), metavar=metavar, help=help_
        )


def _dest(field: "dataclasses.Field[Any]") -> str:
    # Not the plain name: it could be one that cliff uses.
    return f"field_{field.name}"


def _fields(action: str, given: argparse.Namespace) -> dict[str, object]:
    """The message's fields, from the texts on the command line."""
    found = {}
    plugin = action_plugins().load(action)
    for field in dataclasses.fields(plugin.takes):
        text = getattr(given, _dest(field))
        if text is not None:
            found[field.name] = field_from_text(plugin, field, text)
    return found


def _answers(action: type[Action[Any]]) -> str:
    if not action.answers:
        return ""
    return f"Answers {', '.join(action.answers)}."

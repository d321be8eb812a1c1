"""A command for an action, made from the action's own description."""

import argparse
import dataclasses
from concurrent import futures
from typing import Any

from poolmgr.actions.base import Action, description, is_required
from poolmgr.cli.base import PoolmgrShowOne, Table
from poolmgr.manager import PoolManager, action_plugins, driver_plugins

#: Seconds after which Ctrl-C is seen in any case.
_TICK = 0.5


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
        for field in dataclasses.fields(action.takes):
            _add(parser, field)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Run it; a FAIL is an error."""
        conf = self.configuration
        message = {"action": self.action, **_fields(self.action, parsed_args)}
        driver = conf.make_driver(driver_plugins())
        try:
            with PoolManager(driver, conf.pool()) as manager:
                future = manager.submit(message).future
                # A Ctrl-C that comes just before a wait is only seen at its
                # end, so there is none without one.
                while not futures.wait([future], _TICK).done:
                    pass
                outcome = future.result()
        finally:
            driver.close()
        if outcome.error is not None:
            raise outcome.error
        return self.dict2columns(outcome.answer)


def command_for(action: str) -> type[ActionCommand]:
    """The class of an action's command."""
    return type("ActionCommand", (ActionCommand,), {"action": action})


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
    for field in dataclasses.fields(action_plugins().load(action).takes):
        text = getattr(given, _dest(field))
        if text is not None:
            found[field.name] = field.metadata.get("from_text", str)(text)
    return found


def _answers(action: type[Action[Any]]) -> str:
    if not action.answers:
        return ""
    return f"Answers {', '.join(action.answers)}."

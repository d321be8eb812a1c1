"""The application: global options, help, logging, exit codes."""

import argparse
import atexit
import importlib.metadata
import itertools
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cliff.app import App
from cliff.command import Command
from cliff.help import HelpCommand, HelpExit

from poolmgr.cli.commands import Commands
from poolmgr.cli.global_options import option_parser
from poolmgr.cli.usage import (
    EXIT_USAGE as EXIT_USAGE,
)
from poolmgr.cli.usage import (
    UsageError,
    complaint,
    no_command,
    no_option,
    prepare,
    require_driver,
)
from poolmgr.errors import PluginError, RequestError
from poolmgr.text import one_line
from poolmgr.worker.signals import (
    EARLY,
    ENDING,
    Interrupted,
    Interruption,
    Signals,
)

if TYPE_CHECKING:
    from poolmgr.config.options import Configuration

EXIT_INTERRUPTED = 130
EXIT_SIGPIPE = 141

#: Errors that the command line is to blame for.
_MISTAKES = (UsageError, RequestError)

DESCRIPTION = "Pool Manager of Libra, the OpenStack load-balancer service."


class PoolmgrApp(App):
    """``poolmgr``.

    :param signals: the process's, if they are to end commands
    :ivar interruption: how they do
    """

    NAME = "poolmgr"
    LOG = logging.getLogger("poolmgr.cli")
    command_manager: Commands

    def __init__(self, signals: Signals | None = None) -> None:
        self.signals = signals
        self.interruption = Interruption()
        super().__init__(
            description=DESCRIPTION,
            version=importlib.metadata.version("poolmgr"),
            command_manager=Commands(),
            # So that "poolmgr worker --help" is about the worker.
            deferred_help=True,
        )
        self.command_manager.add_command("help", Help)
        self._configuration: Configuration | None = None
        self._error: BaseException | None = None

    @property
    def configuration(self) -> "Configuration":
        """What the files and the global options say.

        :raises ConfigError: a file cannot be read
        :raises UsageError: there is no driver of the name that is given
        """
        if self._configuration is None:
            from poolmgr.config.options import Configuration

            given = self.options
            conf = Configuration(given.config_file, given.config_dir)
            if given.driver is not None:
                require_driver(given.driver)
                conf.use_driver(given.driver)
            if given.os_cloud is not None:
                conf.use_cloud(given.os_cloud)
            if given.gearman_server:
                conf.use_servers(given.gearman_server)
            self._configuration = conf
        return self._configuration

    def build_option_parser(
        self,
        description: str | None,
        version: str | None,
        argparse_kwargs: dict[str, Any] | None = None,
    ) -> argparse.ArgumentParser:
        """The options that stand before the command."""
        parser = option_parser(self.NAME, f"{self.NAME} {version}")
        parser.description = description
        prepare(parser)
        return parser

    def configure_logging(self) -> None:
        """Everything that is not data goes to stderr, a line an event."""
        from poolmgr.cli.logs import configure

        configure(self.options, self.stderr)

    def prepare_to_run_command(self, cmd: Command) -> None:
        """Have services log more than single commands."""
        from poolmgr.cli.logs import set_level

        set_level(self.options, service=getattr(cmd, "service", False))

    def interact(self) -> None:
        """With no command there is help, not a shell."""
        self.print_help()
        raise HelpExit

    def print_help(self) -> None:
        """Print the options and a line for every command.

        Nothing is imported for it.
        """
        formatter = self.parser._get_formatter()
        for title, summaries in self.command_manager.groups().items():
            formatter.start_section(title)
            for name, summary in summaries.items():
                text = one_line(summary).replace("%", "%%")
                formatter.add_argument(
                    argparse.Action([], name, metavar=name, help=text)
                )
            formatter.end_section()
        formatter.add_text(f"'{self.NAME} help COMMAND' explains a command.")
        self.parser.print_help(self.stdout)
        self.stdout.write(f"\n{formatter.format_help()}")

    def print_help_if_requested(self) -> None:
        """``--help`` without a command."""
        if self.options.deferred_help:
            self.print_help()
            raise HelpExit

    def run(self, argv: list[str]) -> int:
        """Run a command line; returns the exit code."""
        self._said = EARLY
        try:
            self._end_on(signal.SIGINT, signal.SIGTERM)
            try:
                code = super().run(argv)
            finally:
                self.stdout.flush()
        except Interrupted:
            code = EXIT_INTERRUPTED
        except BrokenPipeError:
            # Who read the output has gone; Python would complain of it
            # once more when it flushes stdout at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stdout.fileno())
            return EXIT_SIGPIPE
        number = self.interruption.number
        if code != EXIT_INTERRUPTED or number is None:
            return code
        self.LOG.warning("%s: %s", number.name, self._said)
        return 128 + number

    def run_subcommand(self, argv: list[str]) -> int:
        """Run a command; say so in one line if there is no such one."""
        try:
            command, _name, _rest = self.command_manager.find_command(argv)
        except ValueError:
            return self.refuse(argv)
        try:
            if getattr(command, "ends_on_hangup", True):
                self._end_on(signal.SIGHUP)
            code = super().run_subcommand(argv)
        except Interrupted as interrupted:
            # cliff only tells that there was one.
            self._said = interrupted.said
            raise
        return EXIT_USAGE if isinstance(self._error, _MISTAKES) else code

    def clean_up(
        self, cmd: Command, result: int, err: BaseException | None
    ) -> None:
        """Keep the error: the exit code depends on it."""
        self._error = err

    def _end_on(self, *numbers: signal.Signals) -> None:
        if self.signals is not None:
            self.interruption.begin(self.signals, *numbers)

    def refuse(self, argv: list[str]) -> int:
        """Say that words begin with no command; returns the exit code."""
        self.stderr.write(complaint(self._no_command(argv), self.NAME))
        return EXIT_USAGE

    def _no_command(self, argv: list[str]) -> str:
        """What is wrong with words that begin with no command."""
        if argv[0].startswith("-"):
            option = argv[0].partition("=")[0]
            return no_option(option, [*self.parser._option_string_actions])
        words = itertools.takewhile(lambda word: word[:1] != "-", argv)
        names = [name for name, _point in self.command_manager]
        return no_command(list(words), names)


class Help(HelpCommand):
    """Show what a command does and takes."""

    app: PoolmgrApp

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Help on a command, or on all of them."""
        words: list[str] = parsed_args.cmd
        if not words:
            self.app.print_help()
            return 0
        # "help device" lists what there is.
        names = self.app.command_manager.names()
        if not any(name.startswith(words[0]) for name in names):
            return self.app.refuse(words)
        return super().take_action(parsed_args)


def _open_standard_files() -> None:
    """Have what was closed at the start be /dev/null.

    Else the next file that is opened would be standard error: a job server
    would read what is meant for the log.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            opened = open(number, mode, closefd=False)  # noqa: SIM115
            setattr(sys, name, opened)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of a process; returns the exit code."""
    _open_standard_files()
    atexit.register(_ignore_signals)
    signals = Signals(*ENDING)
    from poolmgr.cli.logs import log_all
    from poolmgr.cli.output import Stream

    log_all()
    # What is said before the log is configured.
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(
            logging.Formatter(f"{PoolmgrApp.NAME}: %(message)s")
        )
    # For all that writes by itself, too: argparse, Python at its end.
    sys.stdout, sys.stderr = Stream(sys.stdout), Stream(sys.stderr)
    try:
        app = PoolmgrApp(signals)
    except PluginError as error:
        sys.stderr.write(f"{PoolmgrApp.NAME}: {error}\n")
        return 1
    try:
        return app.run(list(sys.argv[1:] if argv is None else argv))
    finally:
        app.interruption.hold()


def _ignore_signals() -> None:
    """Keep the exit code: Python takes its handlers away before it ends."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)

"""The application: options, help, logging, signals, exit codes."""

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

from poolmgr.cli import logs, usage
from poolmgr.cli.commands import Commands
from poolmgr.cli.options import add_options
from poolmgr.cli.terminal import Stream
from poolmgr.errors import PluginError, RequestError
from poolmgr.text import one_line
from poolmgr.worker.signals import ENDING, Interrupted, Interruption, handle

if TYPE_CHECKING:
    from poolmgr.config.configuration import Configuration

EXIT_INTERRUPTED = 130
EXIT_SIGPIPE = 141

DESCRIPTION = "Pool Manager of Libra, the OpenStack load-balancer service."


class PoolmgrApp(App):
    """``poolmgr``.

    :param ends_on_signals: whether the process's signals end commands
    :ivar interruption: how they do
    """

    NAME = "poolmgr"
    LOG = logging.getLogger("poolmgr.cli")
    command_manager: Commands

    def __init__(self, ends_on_signals: bool = False) -> None:
        self.ends_on_signals = ends_on_signals
        self.interruption = Interruption()
        super().__init__(
            description=DESCRIPTION,
            version=importlib.metadata.version("poolmgr"),
            command_manager=Commands(),
            # So that "poolmgr worker --help" is about the worker.
            deferred_help=True,
        )
        self._configuration: Configuration | None = None
        self._error: BaseException | None = None

    @property
    def configuration(self) -> "Configuration":
        """What the files and the global options say.

        :raises ConfigError: a file cannot be read
        """
        if self._configuration is None:
            from poolmgr.config.configuration import Configuration

            given = self.options
            conf = Configuration(given.config_file, given.config_dir)
            if given.driver is not None:
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
        parser = super().build_option_parser(
            description,
            version,
            {
                "prog": self.NAME,
                "usage": "%(prog)s [options] command [arguments]",
                # "--d" would be --driver today, and --debug tomorrow.
                "allow_abbrev": False,
                "conflict_handler": "resolve",
            },
        )
        add_options(parser, f"{self.NAME} {version}")
        usage.prepare(parser)
        return parser

    def configure_logging(self) -> None:
        """Everything that is not data goes to stderr, a line an event."""
        logs.configure(self.options)

    def prepare_to_run_command(self, cmd: Command) -> None:
        """Have services log more than single commands."""
        logs.adjust(self.options, service=getattr(cmd, "service", False))
        if getattr(cmd, "ends_on_hangup", True):
            self._end_on(signal.SIGHUP)

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
            self.interact()

    def run(self, argv: list[str]) -> int:
        """Run a command line; returns the exit code."""
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
        ended = self._error
        if not isinstance(ended, Interrupted):
            ended = Interrupted(number)
        self.LOG.warning("%s: %s", number.name, ended.said)
        return 128 + number

    def run_subcommand(self, argv: list[str]) -> int:
        """Run a command; say so in one line if there is no such one."""
        try:
            self.command_manager.find_command(argv)
        except ValueError:
            return self.refuse(argv)
        code = super().run_subcommand(argv)
        # Errors that the command line is to blame for.
        is_mistake = isinstance(self._error, (usage.UsageError, RequestError))
        return usage.EXIT_USAGE if is_mistake else code

    def clean_up(
        self, cmd: Command, result: int, err: BaseException | None
    ) -> None:
        """Keep the error: the exit code depends on it."""
        self._error = err

    def _end_on(self, *numbers: signal.Signals) -> None:
        if self.ends_on_signals:
            for number in numbers:
                # Who started us may want it to be ignored, as nohup does.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    handle(self.interruption, number)

    def refuse(self, argv: list[str]) -> int:
        """Say that words begin with no command; returns the exit code."""
        if argv[0].startswith("-"):
            option = argv[0].partition("=")[0]
            known = self.parser._option_string_actions
            wrong = usage.no_option(option, known)
        else:
            words = itertools.takewhile(lambda w: w[:1] != "-", argv)
            wrong = usage.no_command([*words], self.command_manager.commands)
        self.stderr.write(usage.complaint(wrong, self.NAME))
        return usage.EXIT_USAGE


class Help(HelpCommand):
    """Explain a command."""

    app: PoolmgrApp

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Help on a command, or on all of them."""
        words: list[str] = parsed_args.cmd
        if not words:
            self.app.print_help()
            return 0
        # "help device" lists what there is.
        names = self.app.command_manager.commands
        if not any(name.startswith(words[0]) for name in names):
            return self.app.refuse(words)
        return super().take_action(parsed_args)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of a process; returns the exit code."""
    _open_standard_files()
    atexit.register(_ignore_signals)
    logs.log_all()
    try:
        app = PoolmgrApp(ends_on_signals=True)
    except PluginError as error:
        sys.stderr.write(f"{PoolmgrApp.NAME}: {error}\n")
        return 1
    try:
        code = app.run(list(sys.argv[1:] if argv is None else argv))
    finally:
        app.interruption.hold()
    if app.interruption.left:
        logging.shutdown()
        os._exit(code)
    return code


def _open_standard_files() -> None:
    """Have standard files in which nothing acts on a terminal.

    One that was closed is /dev/null: else the next file that is opened would
    be standard error, and a job server would read what is meant for the log.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    # For all that writes by itself, too: argparse, Python at its end.
    sys.stdout = Stream(sys.stdout or open(1, "w", closefd=False))  # noqa: SIM115
    sys.stderr = Stream(sys.stderr or open(2, "w", closefd=False))  # noqa: SIM115


def _ignore_signals() -> None:
    """Keep the exit code: Python takes its handlers away before it ends."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)

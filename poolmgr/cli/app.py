"""The application: options, help, logging, signals, exit codes."""

import atexit
import importlib.metadata
import logging
import os
import signal
import sys
from argparse import Action, ArgumentParser, Namespace
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cliff.app import App
from cliff.help import HelpCommand

from poolmgr.cli import logs
from poolmgr.cli.commands import Commands
from poolmgr.cli.terminal import Stream
from poolmgr.cli.usage import (
    UNKNOWN,
    UsageError,
    add_options,
    report_in_one_line,
)
from poolmgr.errors import PluginError, RequestError
from poolmgr.text import one_line
from poolmgr.worker.signals import ENDING, Interrupted, Interruption, handle

if TYPE_CHECKING:
    from poolmgr.config.configuration import Configuration

#: The exit code of a mistake on the command line.
EXIT_USAGE = 2
#: That when who reads the output has gone.
EXIT_SIGPIPE = 141


class PoolmgrApp(App):
    """``poolmgr``.

    :ivar interruption: how signals end a command
    :ivar options: those before the command; the defaults until :meth:`run`
    """

    NAME = "poolmgr"
    LOG = logging.getLogger("poolmgr.cli")
    command_manager: Commands

    def __init__(self) -> None:
        self.interruption = Interruption()
        version = importlib.metadata.version("poolmgr")
        super().__init__(
            description="Pool Manager of Libra, the OpenStack load-balancer "
            "service.",
            version=version,
            command_manager=Commands(),
            # So that "poolmgr worker --help" is about the worker.
            deferred_help=True,
        )
        parser = self.parser
        parser.prog = self.NAME
        parser.usage = "%(prog)s [options] command [arguments]"
        # "--d" would be --driver today, and --debug tomorrow.
        parser.allow_abbrev = False
        add_options(parser, f"{self.NAME} {version}")
        report_in_one_line(parser)
        self.options = parser.parse_args([])

    @cached_property
    def configuration(self) -> "Configuration":
        """What the files and the global options say.

        :raises ConfigError: a file cannot be read
        """
        from poolmgr.config.configuration import Configuration

        given = self.options
        conf = Configuration(given.config_file, given.config_dir)
        if given.driver is not None:
            conf.use("--driver", ("poolmgr", "driver"), given.driver)
        if given.os_cloud is not None:
            conf.use("--os-cloud", ("nova", "cloud"), given.os_cloud)
            # Whatever credentials are configured.
            conf.use("--os-cloud", ("nova", "auth_url"), "")
        if given.gearman_server:
            servers = ", ".join(given.gearman_server)
            conf.use("--gearman-server", ("gearman", "servers"), servers)
        return conf

    def build_option_parser(self, *args: Any, **kwargs: Any) -> ArgumentParser:
        """cliff's options, which ours can replace."""
        kwargs["argparse_kwargs"] = {"conflict_handler": "resolve"}
        return super().build_option_parser(*args, **kwargs)

    def run(self, argv: list[str]) -> int:
        """Run a command line; returns the exit code.

        Here and nowhere else an error becomes a line and an exit code.
        """
        try:
            self._end_on(signal.SIGINT, signal.SIGTERM)
            try:
                return self._run(argv)
            finally:
                self.stdout.flush()
        except Interrupted as ended:
            self.LOG.warning("%s: %s", ended.number.name, ended.detail)
            return 128 + ended.number
        except BrokenPipeError:
            # Who read the output has gone; Python would complain of it
            # once more when it flushes stdout at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stdout.fileno())
            return EXIT_SIGPIPE
        except Exception as error:
            is_mistake = isinstance(error, (UsageError, RequestError))
            traced = self.options.debug and not is_mistake
            self.LOG.error("%s", error, exc_info=traced)
            return EXIT_USAGE if is_mistake else 1

    def _run(self, argv: list[str]) -> int:
        self.options, words = self.parser.parse_known_args(argv)
        logs.configure(self.options)
        if not words:
            self.print_help()
            return 0
        if self.options.deferred_help:
            words = ["help", *words]
        if words[0].startswith("-"):
            self.parser.error(f"{UNKNOWN}{words[0]}")
        factory, name, arguments = self.command_manager.find_command(words)
        command = factory(self, self.options, cmd_name=name)
        is_service = getattr(command, "service", False)
        if not is_service:
            self._end_on(signal.SIGHUP)
        parser = command.get_parser(f"{self.NAME} {name}")
        given = parser.parse_args(arguments)
        # What is wrong with the command line is told as other commands do.
        logs.adjust(self.options, service=is_service)
        return command.run(given)

    def _end_on(self, *numbers: signal.Signals) -> None:
        for number in numbers:
            # Who started us may want it to be ignored, as nohup does.
            if signal.getsignal(number) is not signal.SIG_IGN:
                handle(self.interruption, number)

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
                    Action([], name, metavar=name, help=text)
                )
            formatter.end_section()
        formatter.add_text(f"'{self.NAME} help COMMAND' explains a command.")
        self.parser.print_help(self.stdout)
        self.stdout.write(f"\n{formatter.format_help()}")


class Help(HelpCommand):
    """Explain a command."""

    app: PoolmgrApp

    def take_action(self, parsed_args: Namespace) -> int:
        """Help on a command, or on all of them."""
        if not parsed_args.cmd:
            self.app.print_help()
            return 0
        return super().take_action(parsed_args)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of a process; returns the exit code."""
    _open_standard_files()
    atexit.register(_ignore_signals)
    logs.log_all()
    try:
        app = PoolmgrApp()
    except PluginError as error:
        PoolmgrApp.LOG.error("%s", error)
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

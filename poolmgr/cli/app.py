"""The application: options, help, logging, signals, exit codes."""

import atexit
import gc
import importlib.metadata
import logging
import os
import signal
import sys
from argparse import Action
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TextIO

from cliff.app import App
from cliff.help import HelpCommand

from poolmgr.cli import logs
from poolmgr.cli.commands import Commands
from poolmgr.cli.usage import (
    UNKNOWN,
    UsageError,
    add_options,
    report_in_one_line,
)
from poolmgr.errors import PluginError, RequestError
from poolmgr.text import lines, one_line
from poolmgr.worker.signals import ENDING, Interrupted, Interruption, handle

#: Exit code if the command line is wrong.
EXIT_USAGE = 2
#: Exit code if the reader of the output has gone.
EXIT_SIGPIPE = 141


class Stream:
    """A stream that keeps foreign text from controlling the terminal.

    :param raw: the stream to write to
    :ivar put: writes text without escaping it
    """

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw
        self.put: Callable[[str], object] = raw.write

    def write(self, text: str) -> int:
        """Write text with its control characters escaped."""
        self.put(lines(text))
        return len(text)

    def writelines(self, texts: Iterable[str]) -> None:
        """Write several texts."""
        self.write("".join(texts))

    def is_terminal(self) -> bool:
        """Return whether it is a terminal whose cursor can be moved."""
        known = os.environ.get("TERM", "") not in ("", "dumb")
        return known and self.raw.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


class PoolmgrApp(App):
    """The application ``poolmgr``.

    :ivar interruption: ends the command on a signal
    :ivar options: the global options; defaults until :meth:`run`
    """

    NAME = "poolmgr"
    LOG = logging.getLogger("poolmgr.cli")
    command_manager: Commands

    def __init__(self) -> None:
        self.interruption = Interruption()
        super().__init__(
            description="Pool Manager of Libra, the OpenStack load-balancer "
            "service.",
            version=importlib.metadata.version("poolmgr"),
            command_manager=Commands(),
            # "poolmgr worker --help" shows the help of the worker.
            deferred_help=True,
        )
        self.parser.prog = self.NAME
        self.parser.usage = "%(prog)s [options] command [arguments]"
        # A new option would make the abbreviation of another ambiguous.
        self.parser.allow_abbrev = False
        add_options(self.parser)
        report_in_one_line(self.parser)
        self.options = self.parser.parse_args([])

    def run(self, argv: list[str]) -> int:
        """Run a command line and return the exit code.

        All errors of commands are reported here.
        """
        try:
            self._end_on(signal.SIGINT, signal.SIGTERM)
            try:
                return self._run_command(argv)
            finally:
                # Here the error of a broken pipe is still handled.
                self.stdout.flush()
        except Interrupted as ended:
            self.LOG.warning("%s: %s", ended.number.name, ended.detail)
            return 128 + ended.number
        except BrokenPipeError:
            return EXIT_SIGPIPE
        except Exception as error:
            is_mistake = isinstance(error, (UsageError, RequestError))
            traced = self.options.debug and not is_mistake
            self.LOG.error("%s", error, exc_info=traced)
            return EXIT_USAGE if is_mistake else 1

    def _run_command(self, argv: list[str]) -> int:
        self.options, words = self.parser.parse_known_args(argv)
        logs.configure(self.options)
        if words in ([], ["help"]):
            self.print_help()
            return 0
        if self.options.deferred_help:
            words = ["help", *words]
        # Otherwise it would be reported as an unknown command.
        if words[0].startswith("-"):
            self.parser.error(f"{UNKNOWN}{words[0]}")
        factory, name, arguments = self.command_manager.find_command(words)
        command = factory(self, self.options, cmd_name=name)
        is_service = getattr(command, "service", False)
        if not is_service:
            self._end_on(signal.SIGHUP)
        given = command.get_parser(f"{self.NAME} {name}").parse_args(arguments)
        # Until here, a service reports errors like any other command.
        logs.adjust(self.options, service=is_service)
        return command.run(given)

    def _end_on(self, *numbers: signal.Signals) -> None:
        for number in numbers:
            # nohup, for instance, ignores SIGHUP for its command.
            if signal.getsignal(number) is not signal.SIG_IGN:
                handle(self.interruption, number)

    def print_help(self) -> None:
        """Print the options and one line for each command.

        No command or plugin is imported.
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of a process and return the exit code."""
    _open_standard_files()
    atexit.register(_keep_exit_code)
    # Else Python looks through all objects at its end, which takes 0.1 s.
    atexit.register(gc.freeze)
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
    """Open closed standard files, and escape control characters in output.

    If standard error were closed, the next file opened would take its place,
    and a job server might receive the log.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    out: Any = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    # Else a name that the terminal cannot show would cost the whole answer.
    out.reconfigure(errors="backslashreplace")
    # argparse and Python itself write to these, too.
    sys.stdout = Stream(out)
    sys.stderr = Stream(sys.stderr or open(2, "w", closefd=False))  # noqa: SIM115


def _keep_exit_code() -> None:
    """Keep the exit code of a command that has printed its result.

    At exit Python removes its handlers, and a signal would kill the process.
    It exits with 120 if it cannot write the rest of the output or the log.
    """
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

"""Checks of a page's commands by the real parsers."""

import argparse
import contextlib
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from functools import cache

from poolmgr.cli.app import PoolmgrApp
from poolmgr.cli.usage import UsageError
from tests.docs.blocks import ROOT

#: Commands of the tutorial's package, which is not installed here; see
#: tests/plugins/test_plugins.py.
PLUGINS = ("count-devices", "hello")
_OURS = re.compile(r"(etc|doc|benchmarks|tools|testcloud|examples)/[\w./-]+")


def fault(words: list[str]) -> str | None:
    """Return what is wrong with a simple command, or None."""
    for word in words:
        if _OURS.fullmatch(word) and not (ROOT / word).exists():
            return f"there is no {word}"
    match words:
        case ["poolmgr", *arguments]:
            return problem(shlex.join(arguments))
        case ["./dev", "fuzz", *arguments]:
            return _of_module("fuzz", arguments)
        case ["python" | "python3", "-m", module, *arguments]:
            return _of_module(module, arguments)
    return None


def _of_module(module: str, arguments: Sequence[str]) -> str | None:
    """Check the options of a Python module against its help."""
    if module in ("venv", "pip", "pytest"):
        return None
    known = set(re.findall(r"--[\w-]+", _help_of(module)))
    for word in arguments:
        if word.startswith("--") and word.partition("=")[0] not in known:
            return f"{module} has no {word}"
    return None


@cache
def _help_of(module: str) -> str:
    return subprocess.check_output(
        [sys.executable, "-m", module, "--help"],
        text=True,
        timeout=300,
        cwd=ROOT,
    )


def problem(line: str) -> str | None:
    """Return why poolmgr rejects a command line, or None.

    :param line: the words after ``poolmgr``
    """
    output = io.StringIO()
    try:
        with (
            contextlib.redirect_stderr(output),
            contextlib.redirect_stdout(output),
        ):
            # The example's driver is not installed here.
            command = line.replace("--driver rack", "--driver fake")
            _parse(shlex.split(command, comments=True))
    except SystemExit:  # a command's --help
        return None
    except (UsageError, ValueError) as error:
        return str(error)
    return None


def _parse(words: list[str]) -> argparse.Namespace:
    app = PoolmgrApp()
    options, rest = app.parser.parse_known_args(words)
    if not rest or rest[0] in PLUGINS:
        return options
    factory, name, arguments = app.command_manager.find_command(rest)
    parser = factory(app, None, cmd_name=name).get_parser(name)
    parser.allow_abbrev = False  # pages use full names
    return parser.parse_args(arguments)

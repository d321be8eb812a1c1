"""Command lines as the pages show them, read by the real parsers."""

import argparse
import contextlib
import io
import re
import shlex

from poolmgr.cli.app import PoolmgrApp
from tests.docs.blocks import ROOT

#: Commands of the package that the tutorial makes, which is not installed
#: where the tests run; see tests/test_plugins.py.
PLUGINS = ("count-devices", "hello")


def problem(line: str) -> str | None:
    """What poolmgr has against a command line; None if it can be read.

    :param line: what stands after ``poolmgr``
    """
    said = io.StringIO()
    try:
        with (
            contextlib.redirect_stderr(said),
            contextlib.redirect_stdout(said),
        ):
            _parse(shlex.split(line, comments=True))
    except SystemExit as ended:
        if ended.code:
            return said.getvalue().strip().rpartition("\n")[2]
    except ValueError as error:
        return str(error)
    return None


def _parse(words: list[str]) -> argparse.Namespace:
    app = PoolmgrApp()
    options, rest = app.parser.parse_known_args(words)
    if not rest or rest[0] in PLUGINS:
        return options
    factory, name, arguments = app.command_manager.find_command(rest)
    parser = factory(app, None, cmd_name=name).get_parser(name)
    parser.allow_abbrev = False  # a page shows whole names
    return parser.parse_args(arguments)


def dev_problem(words: list[str]) -> str | None:
    """What ``./dev`` has against its arguments."""
    script = (ROOT / "dev").read_text()
    start = script.index("case $command in")
    labels = re.findall(r"^([a-z| ]+)\)$", script[start:], re.MULTILINE)
    known = {name.strip() for label in labels for name in label.split("|")}
    if words[0] not in known:
        return f"./dev knows no {words[0]!r}"
    if words[0] == "cloud" and len(words) > 1:
        usage = re.findall(r"\./dev cloud (\S+)", script)[0].split("|")
        if words[1] not in usage:
            return f"./dev cloud knows no {words[1]!r}"
    if words[0] == "sample" and words[1:] not in ([], ["--write"]):
        return f"./dev sample knows no {words[1:]}"
    return None

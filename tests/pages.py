"""The pages of the documentation, and what they show."""

import argparse
import re
import shlex
import textwrap
from pathlib import Path

from poolmgr.cli.app import PoolmgrApp

SOURCE = Path(__file__).parent.parent / "doc" / "source"


def read(page: str) -> str:
    """The source of a page, by its name."""
    return (SOURCE / f"{page}.rst").read_text()


def blocks(language: str, text: str) -> list[str]:
    """The code blocks of a language, without their options."""
    start = re.compile(
        rf"( *)\.\. code-block:: {language}\n(?: *:.*\n)*\n", re.MULTILINE
    )
    return [_indented(text, m.end(), m[1]) for m in start.finditer(text)]


def captioned(caption: str, text: str) -> str:
    """The one code block with this caption."""
    start = re.compile(
        rf"( *)\.\. code-block:: .*\n *:caption: {re.escape(caption)}\n\n"
    )
    (found,) = start.finditer(text)
    return _indented(text, found.end(), found[1])


def _indented(text: str, begin: int, indent: str) -> str:
    lines = []
    for line in text[begin:].split("\n"):
        if line and not line.startswith(indent + "   "):
            break
        lines.append(line)
    return textwrap.dedent("\n".join(lines)).strip() + "\n"


def commands(text: str) -> list[str]:
    """The command lines of poolmgr that are shown."""
    shown = "\n".join(blocks("console", text)).replace("\\\n", " ")
    return re.findall(r"^\$ poolmgr (.*)", shown, re.MULTILINE)


def parsed(line: str) -> argparse.Namespace:
    """The arguments of a command line; exits if it cannot be read."""
    app = PoolmgrApp()
    options, rest = app.parser.parse_known_args(shlex.split(line))
    assert options is not None
    factory, name, arguments = app.command_manager.find_command(rest)
    found: argparse.Namespace = (
        factory(app, None).get_parser(name).parse_args(arguments)
    )
    return found

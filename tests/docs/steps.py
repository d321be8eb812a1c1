"""The commands of a page, in order."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import dropwhile, groupby
from pathlib import Path, PurePath

from tests.docs.blocks import LITERAL, Block, blocks_of

SHELLS = ("console", "shell", "sh", "bash")


@dataclass(frozen=True)
class Step:
    """A command and its output on the page.

    :ivar line: its line on the page
    :ivar command: its text, with continued lines
    :ivar shown: its output; empty if the page shows none
    :ivar fresh: whether it runs in another terminal than the one before
    """

    page: Path
    line: int
    command: str
    shown: str = ""
    fresh: bool = False

    @property
    def where(self) -> str:
        """Its place, as ``nova.rst:17``."""
        return f"{self.page.name}:{self.line}"

    @property
    def simple(self) -> list[list[str]]:
        """The words of each simple command, without variables, redirections
        and the paths of programs."""
        return list(_simple(self.command))

    @property
    def stays(self) -> bool:
        """Whether it stays until the end of the page."""
        words = self.simple[0]
        return (
            self.command.endswith("&")
            or (words[-1] == "worker" and not self.shown)
            or "--watch" in words
            or "poolmgr.testing.openstack" in words
        )

    @property
    def shows_progress(self) -> bool:
        """Whether a terminal shows something in spite of a redirection."""
        return bool(self.shown) and ">" in self.command


def is_shell(block: Block) -> bool:
    """Return whether a block contains commands."""
    prompt = block.language == LITERAL and block.text.startswith("$ ")
    return prompt or block.language in SHELLS


def steps_of(page: Path) -> list[Step | Block]:
    """Return the commands of a page and the other blocks between them."""
    found: list[Step | Block] = []
    for block in blocks_of(page):
        steps = list(steps_in(block)) if is_shell(block) else []
        if "another terminal" in " ".join(block.before.split()):
            steps[0] = replace(steps[0], fresh=True)
        found += steps or [block]
    return found


#: A command with its continued lines, and its output up to the next prompt.
_PROMPTED = re.compile(r"^[$#] ((?:.*\\\n)*.*)\n((?:(?![$#] ).*\n)*)", re.M)
#: A command without a prompt, and no output.
_BARE = re.compile(r"^(?!#)((?:.*\\\n)*.+)\n()", re.M)


def steps_in(block: Block) -> Iterator[Step]:
    """Return the commands of a block."""
    prompted = block.language in ("console", LITERAL)
    for found in (_PROMPTED if prompted else _BARE).finditer(block.text):
        line = block.line + block.text.count("\n", 0, found.start())
        yield Step(block.page, line, found[1], found[2].strip("\n"))


#: A file that a command reads or writes, unless another command does.
_REDIRECTION = re.compile(r"\d?[<>]+ *(?!\()\S+")
_OPERATORS = frozenset("();<>|&")
_VARIABLE = re.compile(r"\w+=")


def _simple(command: str) -> Iterator[list[str]]:
    text = _REDIRECTION.sub("", command.replace("\\\n", " "))
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    for ends, tokens in groupby(lexer, _OPERATORS.issuperset):
        words = [*dropwhile(_VARIABLE.match, tokens)]
        if words and not ends:
            path = PurePath(words[0])
            is_program = {"bin", "sbin"} & {*path.parts}
            yield [path.name if is_program else words[0], *words[1:]]

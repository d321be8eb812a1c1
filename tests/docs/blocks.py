"""The documentation's pages and their code blocks."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

ROOT = Path(__file__).parent.parent.parent
SOURCE = ROOT / "doc" / "source"

#: The language of a literal block after ``::``.
LITERAL = "literal"
#: The language of a ``literalinclude``; its text is the file's name.
INCLUDE = "include"

_DIRECTIVE = re.compile(
    r"( *)\.\. (code-block|code|sourcecode|highlight|literalinclude)::"
    r" *(.*)"
)
_OPTION = re.compile(r" +:([\w-]+): *(.*)")


@dataclass(frozen=True)
class Block:
    """A code block.

    :ivar page: the page's file
    :ivar line: first line of its text, counted from 1
    :ivar language: as the page names it, or :data:`LITERAL`,
        or :data:`INCLUDE`
    :ivar text: its text without indentation
    :ivar before: the paragraph before it
    :ivar options: the directive's options
    """

    page: Path
    line: int
    language: str
    text: str
    before: str = ""
    options: dict[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """Its place, as ``nova.rst:17``."""
        return f"{self.page.name}:{self.line}"


def pages() -> list[Path]:
    """Return all pages."""
    return [*sorted(ROOT.glob("*.rst")), *sorted(SOURCE.glob("**/*.rst"))]


def blocks(*languages: str) -> list[Block]:
    """Return the code blocks of all pages.

    :param languages: only blocks in these languages
    """
    return [block for page in pages() for block in blocks_of(page, *languages)]


def blocks_of(page: Path, *languages: str) -> list[Block]:
    """Return the code blocks of a page in order.

    :param languages: only blocks in these languages
    """
    return [
        block
        for block in _all(page)
        if not languages or block.language in languages
    ]


def captioned(page: Path, caption: str) -> Block:
    """Return the page's code block with this caption."""
    (block,) = (
        block
        for block in blocks_of(page)
        if block.options.get("caption") == caption
    )
    return block


def of(found: list[Block]) -> pytest.MarkDecorator:
    """Parametrize a test by ``block``, with page and line as its id."""
    parameters: list[ParameterSet] = [
        pytest.param(block, id=block.where) for block in found
    ]
    return pytest.mark.parametrize("block", parameters)


@cache
def _all(page: Path) -> list[Block]:
    return list(_found(page, page.read_text().split("\n")))


def _found(page: Path, lines: list[str]) -> Iterator[Block]:
    at = 0
    while at < len(lines):
        line = lines[at]
        directive = _DIRECTIVE.fullmatch(line)
        at += 1
        if directive is None and not _introduces_block(line):
            continue
        before = _paragraph_before(lines, at - 1)
        options = {}
        if directive:
            while option := _OPTION.fullmatch(lines[at]):
                options[option[1]] = option[2]
                at += 1
            if directive[2] == "highlight":
                continue
            if directive[2] == "literalinclude":
                yield Block(page, at, INCLUDE, directive[3], before, options)
                continue
            indent, language = len(directive[1]), directive[3]
        else:
            indent, language = _indent(line), LITERAL
            before = (before + "\n" + line).strip()
        start, end = _indented(lines, at, indent)
        text = textwrap.dedent("\n".join(lines[start:end])) + "\n"
        yield Block(page, start + 1, language, text, before, options)
        at = end


def _introduces_block(line: str) -> bool:
    """Return whether a literal block follows this line."""
    return line.endswith("::") and not re.match(r" *\.\. ", line)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _indented(lines: list[str], at: int, indent: int) -> tuple[int, int]:
    """Return the range of the lines that are indented further."""
    while at < len(lines) and not lines[at].strip():
        at += 1
    start = end = at
    while at < len(lines):
        if lines[at].strip():
            if _indent(lines[at]) <= indent:
                break
            end = at + 1
        at += 1
    return start, end


def _paragraph_before(lines: list[str], at: int) -> str:
    end = at
    while end and not lines[end - 1].strip():
        end -= 1
    start = end
    while start and lines[start - 1].strip():
        start -= 1
    return "\n".join(lines[start:end])

"""The pages of the documentation, and the code blocks in them."""

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

#: What a literal block after ``::`` counts as where nothing else is said.
LITERAL = "literal"
#: What ``literalinclude`` shows: its text is the file's name.
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
    :ivar line: where its text begins, counted from 1
    :ivar language: as the page names it, or :data:`LITERAL`,
        or :data:`INCLUDE`
    :ivar text: what is in it, without its indentation
    :ivar before: the paragraph before it
    :ivar options: those of the directive
    """

    page: Path
    line: int
    language: str
    text: str
    before: str = ""
    options: dict[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """For people: ``nova.rst:17``."""
        return f"{self.page.name}:{self.line}"


def pages() -> list[Path]:
    """Every page there is."""
    return [*sorted(ROOT.glob("*.rst")), *sorted(SOURCE.glob("**/*.rst"))]


def blocks(*languages: str) -> list[Block]:
    """The code blocks of all pages.

    :param languages: only those in one of these
    """
    return [block for page in pages() for block in blocks_of(page, *languages)]


def blocks_of(page: Path, *languages: str) -> list[Block]:
    """The code blocks of a page, in their order.

    :param languages: only those in one of these
    """
    return [
        block
        for block in _all(page)
        if not languages or block.language in languages
    ]


def captioned(page: Path, caption: str) -> Block:
    """The one code block of a page that has this caption."""
    (block,) = (
        block
        for block in blocks_of(page)
        if block.options.get("caption") == caption
    )
    return block


def of(found: list[Block]) -> pytest.MarkDecorator:
    """Parametrises a test by ``block``, each named by page and line."""
    given: list[ParameterSet] = [
        pytest.param(block, id=block.where) for block in found
    ]
    return pytest.mark.parametrize("block", given)


@cache
def _all(page: Path) -> list[Block]:
    return list(_found(page, page.read_text().split("\n")))


def _found(page: Path, lines: list[str]) -> Iterator[Block]:
    at = 0
    while at < len(lines):
        line = lines[at]
        directive = _DIRECTIVE.fullmatch(line)
        at += 1
        if directive is None and not _announces(line):
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


def _announces(line: str) -> bool:
    """Whether a literal block follows this line of text."""
    return line.endswith("::") and not re.match(r" *\.\. ", line)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _indented(lines: list[str], at: int, indent: int) -> tuple[int, int]:
    """From where to where lines are that are indented by more than this."""
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

"""The documentation's pages and their code blocks, as docutils reads them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
from docutils import nodes
from docutils.core import publish_doctree
from docutils.parsers.rst import directives
from sphinx.directives.code import CodeBlock, LiteralInclude
from sphinx.ext.graphviz import Graphviz
from sphinx.util.typing import OptionSpec

ROOT = Path(__file__).parent.parent.parent
SOURCE = ROOT / "doc" / "source"

#: The language of a literal block after ``::``.
LITERAL = "literal"
#: The language of a ``literalinclude``; its text is the file's name.
INCLUDE = "include"


@dataclass(frozen=True)
class Block:
    """A code block.

    :ivar page: the page's file
    :ivar line: first line of its text, counted from 1
    :ivar language: as the page names it, or :data:`LITERAL`,
        or :data:`INCLUDE`
    :ivar text: its text without indentation
    :ivar before: the paragraph or block before it
    :ivar options: the directive's options
    """

    page: Path
    line: int
    language: str
    text: str
    before: str = ""
    options: dict[str, Any] = field(default_factory=dict)

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
    found = _all(page)
    return [b for b in found if not languages or b.language in languages]


def of(found: list[Block]) -> pytest.MarkDecorator:
    """Parametrize a test by ``block``, with page and line as its id."""
    return pytest.mark.parametrize(
        "block", [pytest.param(block, id=block.where) for block in found]
    )


class _Code(CodeBlock):
    """A code block of any language, a diagram, or an included file."""

    option_spec: ClassVar[OptionSpec] = (
        CodeBlock.option_spec
        | LiteralInclude.option_spec
        | Graphviz.option_spec
    )

    def run(self) -> list[nodes.Node]:
        text, language = "\n".join(self.content), self.name
        if self.arguments:
            (language,) = self.arguments
        if self.name == "literalinclude":
            language, text = INCLUDE, language
        node = nodes.literal_block(
            text, text, language=language, options=self.options
        )
        node.line = self.content_offset + 1
        return [node]


for _name in ("code-block", "graphviz", "literalinclude"):
    directives.register_directive(_name, _Code)


@cache
def _all(page: Path) -> list[Block]:
    return list(_found(page))


def _found(page: Path) -> Iterator[Block]:
    # Sphinx complains about faults; the other directives are only its own.
    document = publish_doctree(
        page.read_text(),
        settings_overrides={"report_level": 5, "file_insertion_enabled": 0},
    )
    for node in document.findall(nodes.literal_block):
        text = node.astext()
        if isinstance(node.parent, nodes.system_message):
            # It would hide a block from the tests.
            assert "code-block::" not in text, f"{page}: {text}"
            continue
        before = node.previous_sibling()
        yield Block(
            page,
            node.line or 0,
            node.get("language", LITERAL),
            f"{text}\n" if text else text,
            before.rawsource if isinstance(before, nodes.Element) else "",
            node.get("options", {}),
        )

"""HTML, in which nothing from outside can be anything but text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from poolmgr.text import one_line


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


@dataclass(frozen=True)
class Column:
    """A column of a table.

    :ivar title: its head
    :ivar style: a class of the style sheet: "n" for numbers, "k" for what is
        not to be broken, "w" for what has the room that the others leave
    """

    title: str
    style: str = ""


def html(value: object) -> Html:
    """A value as HTML: escaped, unless it is HTML already."""
    if isinstance(value, Html):
        return value
    return Html(escape(one_line(str(value), 500)))


def tag(name: str, *content: object, style: str = "") -> Html:
    """An element.

    :param style: its class
    """
    inner = "".join(map(html, content))
    attribute = f' class="{escape(style)}"' if style else ""
    return Html(f"<{name}{attribute}>{inner}</{name}>")


def table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> Html:
    """A table; on narrow screens each row becomes a list."""
    heads = (tag("th", c.title, style=c.style) for c in columns)
    lines = [tag("thead", tag("tr", *heads))]
    body = [tag("tr", *map(_cell, columns, row)) for row in rows]
    lines.append(tag("tbody", *body))
    return tag("table", *lines)


def _cell(column: Column, value: object) -> Html:
    inner = html(value)
    style = column.style if inner else f"{column.style} none"
    return Html(
        f'<td class="{escape(style)}" data-l="{escape(column.title)}">'
        f"<span>{inner}</span></td>"
    )

"""The view of ``status --watch``: lines that fit."""

import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from poolmgr.cli.looks import Function, Seen
from poolmgr.text import format_duration

#: A line, and the colour it has on a terminal; empty for none.
Line = tuple[str, str]

BOLD, RED = "1", "31;1"

_LONG = ("Function", "Waiting", "Running", "Workers", "Change/s")
_SHORT = ("Function", "Wait", "Run", "Work", "+-/s")
#: Columns from which on there is room for whole words.
_ROOM = 60
#: Most columns of a function's name.
_NAME = 40


def view(seen: Iterable[Seen], columns: int, every: float) -> list[Line]:
    """Everything there is to be seen.

    :param seen: the job servers
    :param columns: how wide a line may be
    :param every: seconds between two looks
    """
    servers = list(seen)
    now = time.time()
    lines = [(f"{_clock(now)}, every {every:g}s", "")]
    for server in servers:
        lines.append(("", ""))
        lines += _server(server, columns, now)
    if len(servers) > 1:
        lines += [("", ""), (_total(servers), BOLD)]
    return lines


def fitted(lines: Sequence[Line], columns: int, rows: int) -> list[Line]:
    """As many lines, and as much of each, as there is room for; the last
    says what is missing."""
    if len(lines) > rows:
        kept = max(rows - 1, 0)
        lines = [*lines[:kept], (f"({len(lines) - kept} more)", "")]
    return [(cut(text, columns), colour) for text, colour in lines]


def cut(text: str, columns: int) -> str:
    """As much of a text as fits; ideographs take two columns each."""
    width = 0
    for at, character in enumerate(text):
        width += _width(character)
        if width > columns:
            return text[:at]
    return text


def _server(seen: Seen, columns: int, now: float) -> Iterator[Line]:
    if seen.problem:
        since = _clock(now - seen.down)
        down = format_duration(int(seen.down))
        yield f"{seen.server} DOWN since {since} ({down})", RED
        yield f"  {seen.problem}", ""
        return
    yield seen.server, BOLD
    if not seen.functions:
        yield "  no functions: no worker is connected", ""
        return
    rows = [_LONG if columns >= _ROOM else _SHORT]
    rows += [_cells(function) for function in seen.functions]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = columns - sum(widths[1:]) - 2 * len(widths)
    widths[0] = max(min(widths[0], room, _NAME), 1)
    for row in rows:
        yield "  " + "  ".join(_padded(row, widths)), ""


def _cells(function: Function) -> tuple[str, str, str, str, str]:
    change = function.change
    return (
        function.name,
        str(function.waiting),
        str(function.running),
        str(function.workers),
        # Without the "-" that a small number would have before its 0.0.
        "" if change is None else f"{round(change, 1) + 0.0:+.1f}",
    )


def _padded(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    name = cut(row[0], widths[0])
    yield name + " " * (widths[0] - sum(map(_width, name)))
    for cell, width in zip(row[1:], widths[1:], strict=True):
        yield cell.rjust(width)


def _total(servers: Sequence[Seen]) -> str:
    functions = [f for server in servers for f in server.functions]
    down = sum(bool(server.problem) for server in servers)
    words = (
        f"all: {sum(f.waiting for f in functions)} waiting, "
        f"{sum(f.running for f in functions)} running"
    )
    return f"{words}, {down} of {len(servers)} down" if down else words


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1

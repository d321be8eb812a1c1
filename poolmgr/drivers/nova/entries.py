"""Entries of the cloud's lists, whose fields may be anything.

Clouds show null, or nothing, where their documents promise a text. An entry
that cannot be used is left out, a field is read as if it was empty, and all
else is as it would be without. The log says so once for each field.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from poolmgr.text import one_line

LOG = logging.getLogger(__name__)

Entry = Mapping[str, Any]
T = TypeVar("T")

#: What reading an answer of another form than documented may raise.
MISREAD = (
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)

_told: set[str] = set()


def usable(
    what: str, entries: Iterable[object], read: Callable[[Entry], T]
) -> Iterator[T]:
    """What is read of those entries that can be read.

    :param what: what they are, for the log: "servers"
    :param read: raises ValueError for an entry that cannot be used; what else
        it trips over is caught, too
    """
    for entry in entries:
        try:
            if not isinstance(entry, Mapping):
                raise ValueError("it is no object")
            found = read(entry)
        except MISREAD as error:
            tell_once(what, f"an entry is left out: {one_line(str(error))}")
        else:
            yield found


def needed(entry: Entry, field: str) -> str:
    """A field that has to be a text.

    :raises ValueError: it is none
    """
    value = entry.get(field)
    if not isinstance(value, str):
        raise ValueError(f"its {field!r} is no text")
    return value


def text(what: str, entry: Entry, field: str) -> str:
    """A field that should be a text; empty if it is none."""
    value = entry.get(field)
    if isinstance(value, str):
        return value
    tell_once(what, f"{field!r} is no text", entry)
    return ""


def objects(value: object) -> list[Entry]:
    """Those in a list that are objects; none if it is no list."""
    if not isinstance(value, list):
        return []
    return [entry for entry in value if isinstance(entry, Mapping)]


def tell_once(what: str, problem: str, entry: Entry | None = None) -> None:
    """Log what is wrong, unless that was done before.

    :param entry: one that it is wrong with, for its id
    """
    if f"{what}: {problem}" in _told:
        return
    _told.add(f"{what}: {problem}")
    which = f" (of {one_line(str(entry.get('id')), 80)})" if entry else ""
    LOG.warning(
        "the cloud's list of %s is odd: %s%s; not said again",
        what,
        problem,
        which,
    )

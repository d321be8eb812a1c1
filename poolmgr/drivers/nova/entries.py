"""Entries of the cloud's lists, whose fields may be anything.

Clouds show null, or nothing, where their documents promise a text. An entry
that cannot be used is left out, a field is read as if it was empty, and all
else is as it would be without. The log says so once for each field.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from poolmgr.text import one_line

LOG = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

#: What reading an answer of another form than documented may raise.
MISREAD = (
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    msgspec.MsgspecError,
)

_warned: set[str] = set()


class Entry(msgspec.Struct, gc=False):
    """An entry of a list; the garbage collector need not look at it.

    :ivar id: the cloud's id; what has none cannot be used
    """

    id: str


class Named(Entry, gc=False):
    """What has a name: an image, a flavor, a network and so on."""

    name: Any = None
    status: Any = None
    project_id: Any = None


def read_entries(
    what: str, entries: Iterable[T], read: Callable[[T], R]
) -> Iterator[R]:
    """What is read of those entries that can be read.

    :param what: what they are, for the log: "servers"
    :param read: raises ValueError for an entry that cannot be used; what else
        it trips over is caught, too
    """
    for entry in entries:
        try:
            found = read(entry)
        except MISREAD as error:
            warn_once(what, f"an entry is left out: {one_line(str(error))}")
        else:
            yield found


def required_text(value: object, field: str) -> str:
    """The value of a field that has to be a text.

    :raises ValueError: it is none
    """
    if not isinstance(value, str):
        raise ValueError(f"its {field!r} is no text")
    return value


def text(what: str, entry: Entry, field: str) -> str:
    """A field that should be a text; empty if it is none."""
    value = getattr(entry, field)
    if isinstance(value, str):
        return value
    warn_once(what, f"{field!r} is no text (of {one_line(entry.id, 80)})")
    return ""


def objects(value: object) -> list[Mapping[str, Any]]:
    """Those in a list that are objects; none if it is no list."""
    if not isinstance(value, list):
        return []
    return [entry for entry in value if isinstance(entry, Mapping)]


def warn_once(what: str, problem: str) -> None:
    """Log what is wrong, unless that was done before."""
    said = f"{what}: {problem.partition(' (of ')[0]}"
    if said not in _warned:
        _warned.add(said)
        LOG.warning(
            "the cloud's list of %s is odd: %s; not said again", what, problem
        )

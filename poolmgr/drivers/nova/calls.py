"""A call of a service of the cloud, and how its answer is read.

Clouds show null, or nothing, where their documents promise a text.  An entry
of a list that cannot be used is left out, which is logged once; a field is
read as if it was empty, and all else is as it would be without.
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import msgspec

from poolmgr.errors import CloudRefused, CloudUnavailable
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)

Service = Literal["identity", "compute", "network", "image"]
#: The fields of an answer, each still JSON: most of it is never looked at.
Answer = Mapping[str, msgspec.Raw]
T = TypeVar("T")

#: What reading an answer of another form than documented may raise.
MISREAD = (
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    msgspec.MsgspecError,
)
# Ids are uuids, mostly; names of key pairs have blanks and "@", too.
_SEGMENT = re.compile(r"(?!\.+\Z)[A-Za-z0-9_@. -]{1,255}")
_warned: set[str] = set()


@dataclass(frozen=True)
class Call:
    """A call of a service.

    :ivar expects: the field that the answer has to have: what stands between
        us and the cloud may answer 200 and mean nothing
    :ivar creates: whether it creates something, so that it must not be
        repeated when nobody knows if it took effect
    """

    method: str
    service: Service
    path: str
    params: Mapping[str, Any] | None = None
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None
    expects: str | None = None
    creates: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Entry(msgspec.Struct, gc=False):
    """An entry of a list; the garbage collector need not look at it.

    :ivar id: the cloud's id; what has none cannot be used
    """

    id: str


def is_id(text: str) -> bool:
    """Whether a thing can have this id, or name."""
    return _SEGMENT.fullmatch(text) is not None


def path_of(collection: str, which: str, *rest: str) -> str:
    """The path of a thing in a collection, and perhaps of a part of it.

    An id comes from the cloud, a name from the configuration.  A path with
    ``..`` in it would be another path, and quoting does not help, for what
    stands between may undo it.

    :param collection: as "/servers"
    :param which: its id, or its name
    :raises CloudRefused: no thing can have such an id or name
    """
    if not is_id(which):
        raise CloudRefused(
            f"there can be no {collection}/{one_line(which, 80)!r}"
        )
    return "/".join((collection, quote(which, safe=""), *rest))


def parse_answer(call: Call, body: bytes) -> Answer:
    """The fields of the answer, {} if it is empty.

    :raises CloudUnavailable: it is not what the call expects
    """
    try:
        answer = _fields(body or b"{}")
    except (ValueError, msgspec.MsgspecError, RecursionError):
        # What it is may have secrets in it.
        what = f"the answer to {call} is no JSON object"
        raise CloudUnavailable(what) from None
    field = bytes(answer.get(call.expects or "", b"{"))
    if not field.startswith((b"{", b"[")) or (
        call.expects and call.expects not in answer
    ):
        raise CloudUnavailable(f"the answer to {call} has no {call.expects!r}")
    return answer


def _fields(body: bytes) -> Answer:
    form = dict[str, msgspec.Raw]
    try:
        return msgspec.json.decode(body, type=form)
    except (UnicodeDecodeError, msgspec.DecodeError):
        # One name that somebody spoilt must not hide all the others: halves
        # of characters can be written in JSON, and nowhere else.
        value = json.loads(body.decode("utf-8", "replace"))
        again = json.dumps(value, ensure_ascii=False)
        return msgspec.json.decode(again.encode("utf-8", "replace"), type=form)


def object_field(answer: Answer, field: str) -> dict[str, Any]:
    """A field that is an object; empty if it is none."""
    try:
        return msgspec.json.decode(answer[field], type=dict[str, Any])
    except (LookupError, msgspec.MsgspecError):
        return {}


def read_entries(
    what: str, entries: Iterable[msgspec.Raw], form: type[T]
) -> Iterator[T]:
    """Those entries of a list that can be read.

    :param what: what they are, for the log: "servers"
    :param form: what is read of each
    """
    for entry in entries:
        try:
            yield msgspec.json.decode(entry, type=form)
        except (ValueError, msgspec.MsgspecError) as error:
            if what not in _warned:
                _warned.add(what)
                why = one_line(str(error))
                LOG.warning("left out of the cloud's %s: %s", what, why)


def text(value: object) -> str:
    """A field that should be a text; empty if it is none."""
    return value if isinstance(value, str) else ""


def objects(value: object) -> list[Mapping[str, Any]]:
    """Those in a list that are objects; none if it is no list."""
    entries = value if isinstance(value, list) else []
    return [entry for entry in entries if isinstance(entry, Mapping)]

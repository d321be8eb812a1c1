"""One call of a service of the cloud, and what it is answered."""

import functools
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast
from urllib.parse import quote

import msgspec

from poolmgr.errors import CloudRefused, CloudUnavailable
from poolmgr.text import one_line
from poolmgr.text.secrecy import masked

Service = Literal["compute", "network", "image"]
#: The fields of an answer, each still JSON: most of it is never looked at.
Answer = Mapping[str, msgspec.Raw]
T = TypeVar("T")

# Ids are uuids, mostly; names of key pairs have blanks and "@", too.
_SEGMENT = re.compile(r"(?!\.+\Z)[A-Za-z0-9_@. -]{1,255}")


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

    @property
    def is_list(self) -> bool:
        """Whether it reads a list from its beginning."""
        is_first = "marker" not in (self.params or {})
        segments = self.path.removesuffix("/detail").count("/")
        return self.method == "GET" and is_first and segments == 1

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def checked_id(value: object) -> str:
    """The id of a thing that was just made.

    :raises ValueError: it is none
    """
    text = str(value)
    if not _SEGMENT.fullmatch(text):
        raise ValueError(f"{one_line(text, 80)!r} is no id")
    return text


def path_of(collection: str, which: str, *rest: str) -> str:
    """The path of a thing in a collection, and perhaps of a part of it.

    An id comes from the cloud, a name from the configuration.  A path with
    ``..`` in it would be another path, and quoting does not help, for what
    stands between may undo it.

    :param collection: as "/servers"
    :param which: its id, or its name
    :raises CloudRefused: no thing can have such an id or name
    """
    if not _SEGMENT.fullmatch(which):
        raise CloudRefused(
            f"there can be no {collection}/{one_line(which, 80)!r}"
        )
    return "/".join((collection, quote(which, safe=""), *rest))


def decoded_text(body: bytes) -> str:
    """A body as text, with a sign in place of what is none."""
    return body.decode("utf-8", "replace")


def parse_answer(call: Call, body: bytes) -> Answer:
    """The fields of the answer, {} if it is empty.

    :raises CloudUnavailable: it is not what the call expects
    """
    answer = _fields(body or b"{}")
    if answer is None:
        # A page may say why; JSON that broke off may have secrets in it.
        page = ""
        if body.startswith(b"<"):
            page = f": {one_line(masked(decoded_text(body)), 60)!r}"
        raise CloudUnavailable(f"the answer to {call} is no JSON object{page}")
    if call.expects is not None:
        field = memoryview(answer.get(call.expects, b""))
        if bytes(field[:1]) not in (b"{", b"["):
            raise CloudUnavailable(
                f"the answer to {call} has no {call.expects!r}"
            )
    return answer


def decoded(field: msgspec.Raw, form: type[T]) -> T:
    """What the JSON of a field is.

    :param form: its type
    :raises msgspec.MsgspecError: it is of another one
    """
    value: T = _decoder(cast(Any, form)).decode(field)
    return value


def object_field(answer: Answer, field: str) -> dict[str, Any]:
    """A field that is an object; empty if it is none."""
    try:
        return decoded(answer[field], dict[str, Any])
    except (LookupError, msgspec.MsgspecError):
        return {}


def _fields(body: bytes) -> Answer | None:
    """The fields of the JSON object that a body is; None if it is none."""
    decoder = _decoder(dict[str, msgspec.Raw])
    answer: Answer | None = None
    with suppress(ValueError, msgspec.DecodeError, RecursionError):
        try:
            answer = decoder.decode(body)
        except (UnicodeDecodeError, msgspec.DecodeError):
            # One name that somebody spoilt must not hide all the others:
            # halves of characters can be written in JSON, and nowhere else.
            text = json.dumps(
                json.loads(decoded_text(body)), ensure_ascii=False
            )
            answer = decoder.decode(text.encode("utf-8", "replace"))
    return answer


@functools.cache
def _decoder(form: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(form)

"""One call of a service of the cloud, and what it is answered."""

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from poolmgr.drivers.nova.failures import Unavailable
from poolmgr.secrecy import masked
from poolmgr.text import one_line

Service = Literal["compute", "network", "image"]
Kind = Literal["reading", "changing", "making"]
Params = Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """A call of a service.

    :ivar expects: the field that the answer has to have: what stands between
        us and the cloud may answer 200 and mean nothing
    :ivar form: a TypedDict of what is read of the answer: the rest is skipped,
        which is most of the cost of a list of thousands
    :ivar once: whether it must not be repeated when nobody knows if it took
        effect, as what creates something must not
    """

    method: str
    service: Service
    path: str
    params: Params | None = None
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None
    expects: str | None = None
    form: Any = dict[str, Any]
    once: bool = False

    @property
    def kind(self) -> Kind:
        """What may fail while the other kinds work."""
        if self.once:
            return "making"
        return "reading" if self.method == "GET" else "changing"

    @property
    def is_list(self) -> bool:
        """Whether it reads a list from its beginning."""
        is_first = "marker" not in (self.params or {})
        segments = self.path.removesuffix("/detail").count("/")
        return self.method == "GET" and is_first and segments == 1

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def text_of(body: bytes) -> str:
    """A body as text, with a sign in place of what is none."""
    return body.decode("utf-8", "replace")


def parsed(call: Call, body: bytes) -> dict[str, Any]:
    """The answer's JSON, {} if there is none.

    :raises Unavailable: it is not what the call expects
    """
    answer = _decoded(call.form, body or b"{}")
    if answer is None:
        answer = _reread(body)
    if answer is None:
        # A page may say why; JSON that broke off may have secrets in it.
        page = ""
        if body.startswith(b"<"):
            page = f": {one_line(masked(text_of(body)), 60)!r}"
        raise Unavailable(f"the answer to {call} is no JSON object{page}")
    expected = call.expects and answer.get(call.expects)
    if call.expects and not isinstance(expected, (dict, list)):
        raise Unavailable(f"the answer to {call} has no {call.expects!r}")
    return answer


def _decoded(form: Any, body: bytes) -> dict[str, Any] | None:
    """The JSON object in a body; None if it is none, or not of the form."""
    try:
        answer: dict[str, Any] = _decoder(form).decode(body)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return None
    return answer


def _reread(body: bytes) -> dict[str, Any] | None:
    """The same of a body with something odd in it, read more patiently.

    One entry that is no object, or one name that somebody spoilt, must not
    hide all the others.
    """
    try:
        answer = json.loads(
            text_of(body), parse_float=_finite, parse_constant=lambda _n: None
        )
        # Halves of characters can be written in JSON, and nowhere else.
        written = json.dumps(answer, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    return _decoded(dict[str, Any], written.encode("utf-8", "replace"))


def _finite(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


@functools.cache
def _decoder(form: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(form)

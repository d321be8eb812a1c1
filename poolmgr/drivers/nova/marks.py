"""How poolmgr's marks are written on servers and floating IPs.

A server has its mark in its metadata, and two tags to be found by: Nova can
filter by tags, not by metadata.  A floating IP has it in its description,
because its tags would need a second call.
"""

import base64
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from urllib.parse import quote, unquote

from poolmgr.ownership import Mark, State

#: The mark of a resource that may have one, which cannot be read: no pool's.
UNREADABLE = Mark("", "", "", "", state="unreadable")
#: Metadata of a server that has a floating IP of its own.
OWN_IP = {"poolmgr_floating_ip": "own"}
_FIELDS = ("pool", "unique", "handle", "made", "state", "taken", "answer")
#: Longest description of a floating IP that Neutron takes, in characters.
_LONGEST_DESCRIPTION = 255
# ASCII without blanks: databases of clouds refuse more than that.
_escaped = partial(quote, safe="!$&'()*+,-./:;@[]^_{|}~", errors="replace")
_INTRODUCTION = "poolmgr"
# In a server's metadata, what became of the answer stands beside the state,
# with the number of the hand-over that it is about: the two are changed by
# different workers, perhaps at once, and Nova keeps both.
_ANSWERS: tuple[State, ...] = ("withdrawn", "unconfirmed")


def metadata_of(mark: Mark) -> dict[str, str]:
    """A mark as a server's metadata."""
    fields = _fields(mark)
    if mark.state in _ANSWERS:
        fields["state"] = "handed-over"
        fields["answer"] = f"{mark.state}-{mark.taken}"
    return {f"poolmgr_{name}": _escaped(fields[name]) for name in fields}


def changes(mark: Mark, before: Mark | None) -> dict[str, str]:
    """The metadata to write to have a mark where there was another."""
    old = metadata_of(before) if before is not None else {}
    return dict(metadata_of(mark).items() - old.items())


def mark_in(metadata: object) -> Mark | None:
    """The mark in a server's metadata, None if there is none."""
    if not isinstance(metadata, Mapping):
        return UNREADABLE
    found = {}
    for field in _FIELDS:
        value = metadata.get(f"poolmgr_{field}", "")
        if isinstance(value, str):
            found[field] = unquote(value) if "%" in value else value
        elif field in ("pool", "state"):
            return UNREADABLE
    return _mark(found)


def says_own_ip(metadata: object) -> bool:
    """Whether a server's metadata say that it has a floating IP of its own."""
    return isinstance(metadata, Mapping) and OWN_IP.items() <= metadata.items()


def pool_tag(pool: str) -> str:
    """The tag that every server of a pool has."""
    return f"poolmgr-pool-{_digest(pool)}"


def job_tag(unique: str) -> str:
    """The tag that every server has that was made for a job."""
    return f"poolmgr-job-{_digest(unique)}"


def own_tag(mark: Mark, name: str) -> str:
    """The tag that the servers of one job have, and no others.

    :param name: the server's name; what is made for a job without a unique
        has a tag of its own
    """
    return job_tag(mark.unique or f"name:{name}")


def tags_of(mark: Mark, name: str) -> list[str]:
    """The tags of a server with this mark and name."""
    return [pool_tag(mark.pool), own_tag(mark, name)]


def description_of(mark: Mark, device_id: str = "") -> str:
    """A mark as a floating IP's description.

    :param device_id: the device it comes and goes with, if it does
    """
    fields = _fields(mark)
    if device_id:
        fields["device"] = device_id
    text = _line(fields)
    if len(text) > _LONGEST_DESCRIPTION:
        # Other writings than Latin are longer when escaped.
        unique = fields.pop("unique").encode("utf-8", "replace")
        fields["unique64"] = base64.urlsafe_b64encode(unique).decode()
        text = _line(fields)
    if len(text) > _LONGEST_DESCRIPTION:
        # Long names of pool, job server and device: least depends on this.
        text = _line({**fields, "handle": ""})
    return text


def mark_in_description(description: object) -> tuple[Mark | None, str]:
    """The mark in a floating IP's description, and its device's id."""
    if not isinstance(description, str):
        return UNREADABLE, ""
    introduction, *words = description.split(" ")
    if introduction != _INTRODUCTION:
        return None, ""
    pairs = (word.partition("=") for word in words)
    found = {key: unquote(value) for key, _equals, value in pairs}
    with suppress(ValueError):
        encoded = base64.urlsafe_b64decode(found.get("unique64", ""))
        found.setdefault("unique", encoded.decode())
    return _mark(found), found.get("device", "")


def _fields(mark: Mark) -> dict[str, str]:
    fields = {
        "pool": mark.pool,
        "unique": mark.unique,
        "handle": mark.handle,
        "made": mark.made,
        # Without the blank of "handed over".
        "state": mark.state.replace("handed over", "handed-over"),
    }
    if mark.taken:
        fields["taken"] = str(mark.taken)
    return fields


def _mark(found: Mapping[str, str]) -> Mark | None:
    state = found.get("state", "").replace("handed-over", "handed over")
    mark = Mark.read({**found, "state": state})
    answered = found.get("answer")
    if mark is not None and answered and mark.state == "handed over":
        for answer in _ANSWERS:
            if answered == f"{answer}-{mark.taken}":
                return replace(mark, state=answer)
    return mark


def _line(fields: Mapping[str, str]) -> str:
    pairs = (f"{key}={_escaped(value)}" for key, value in fields.items())
    return " ".join([_INTRODUCTION, *pairs])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:24]

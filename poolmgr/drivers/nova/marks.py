"""How marks are written on servers and floating IPs.

The mark of a server is in its metadata.  Nova can filter servers by tags but
not by metadata, so a server also has two tags.  The mark of a floating IP is
in its description, because tags would need a second request.
"""

import base64
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from urllib.parse import quote, unquote

from poolmgr.ownership import Mark, State

#: Metadata of a server that has a floating IP of its own.
OWN_IP = {"poolmgr_floating_ip": "own"}
#: Longest description of a floating IP that Neutron accepts, in characters.
_LONGEST_DESCRIPTION = 255
_INTRODUCTION = "poolmgr"
# The metadata of a server have these states in a field of their own, with the
# number of the hand-over. Two workers may write the state and this field at
# the same time, and Nova keeps both.
_ANSWERS: tuple[State, ...] = ("withdrawn", "unconfirmed")
# Databases of some clouds accept only ASCII; blanks separate the fields.
_escape = partial(quote, safe="!$&'()*+,-./:;@[]^_{|}~", errors="replace")


def metadata_of(mark: Mark) -> dict[str, str]:
    """Return a mark as a server's metadata."""
    fields = _fields_of(mark)
    if mark.state in _ANSWERS:
        fields["state"] = "handed-over"
        fields["answer"] = f"{mark.state}-{mark.taken}"
    return {f"poolmgr_{name}": _escape(fields[name]) for name in fields}


def changes(mark: Mark, before: Mark | None) -> dict[str, str]:
    """Return the metadata to write to replace one mark by another."""
    # Nova merges them, so what another worker writes meanwhile is kept.
    old = metadata_of(before) if before is not None else {}
    return dict(metadata_of(mark).items() - old.items())


def mark_in(metadata: Mapping[str, str]) -> Mark | None:
    """Return the mark in a server's metadata, or None."""
    return _mark_of(
        {
            key.removeprefix("poolmgr_"): unquote(value)
            for key, value in metadata.items()
            if key.startswith("poolmgr_")
        }
    )


def pool_tag(pool: str) -> str:
    """Return the tag of all servers of a pool."""
    return f"poolmgr-pool-{_digest(pool)}"


def job_tag(unique: str) -> str:
    """Return the tag of all servers that were created for a job."""
    return f"poolmgr-job-{_digest(unique)}"


def own_tag(mark: Mark, name: str) -> str:
    """Return the tag that only the servers of one job have.

    :param name: the server's name, which identifies a job without a unique
    """
    return job_tag(mark.unique or f"name:{name}")


def tags_of(mark: Mark, name: str) -> list[str]:
    """Return the tags of a server with this mark and name."""
    return [pool_tag(mark.pool), own_tag(mark, name)]


def description_of(mark: Mark, device_id: str = "") -> str:
    """Return a mark as a floating IP's description.

    :param device_id: the device that the floating IP belongs to, if any
    """
    fields = _fields_of(mark)
    if device_id:
        fields["device"] = device_id
    description = _join(fields)
    if len(description) > _LONGEST_DESCRIPTION:
        # Base64 is shorter than percent-encoding for non-Latin scripts.
        unique = fields.pop("unique").encode("utf-8", "replace")
        fields["unique64"] = base64.urlsafe_b64encode(unique).decode()
        description = _join(fields)
    if len(description) > _LONGEST_DESCRIPTION:
        # The handle is the least important field.
        description = _join({**fields, "handle": ""})
    return description


def mark_in_description(description: str) -> tuple[Mark | None, str]:
    """Return the mark in a floating IP's description, and the device's id."""
    introduction, *words = description.split(" ")
    if introduction != _INTRODUCTION:
        return None, ""
    pairs = (word.partition("=") for word in words)
    fields = {key: unquote(value) for key, _equals, value in pairs}
    # Anybody may have edited the description.
    with suppress(ValueError):
        encoded = base64.urlsafe_b64decode(fields.get("unique64", ""))
        fields.setdefault("unique", encoded.decode())
    return _mark_of(fields), fields.get("device", "")


def _fields_of(mark: Mark) -> dict[str, str]:
    fields = {
        "pool": mark.pool,
        "unique": mark.unique,
        "handle": mark.handle,
        "made": mark.made,
        "state": mark.state.replace("handed over", "handed-over"),
    }
    if mark.taken:
        fields["taken"] = str(mark.taken)
    return fields


def _mark_of(fields: Mapping[str, str]) -> Mark | None:
    state = fields.get("state", "").replace("handed-over", "handed over")
    mark = Mark.read({**fields, "state": state})
    if mark is not None and mark.state == "handed over":
        for answer in _ANSWERS:
            if fields.get("answer") == f"{answer}-{mark.taken}":
                return replace(mark, state=answer)
    return mark


def _join(fields: Mapping[str, str]) -> str:
    pairs = (f"{key}={_escape(value)}" for key, value in fields.items())
    return " ".join([_INTRODUCTION, *pairs])


def _digest(text: str) -> str:
    # A tag of Nova has at most 60 characters, and no comma or slash.
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:24]

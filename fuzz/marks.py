"""Marks, read from a cloud and written to it."""

import re
from dataclasses import replace
from typing import get_args

from poolmgr.drivers.nova import marks
from poolmgr.ownership import Job, Mark, State

SEEDS = [
    b"poolmgr pool=p unique=u handle=H:x:1 made=2026-01-01 state=building",
    b"poolmgr pool=p unique64=dQ== state=handed-over taken=2 device=d",
    b"pool\0u\0h\0m\0handed over",
    b"pool\0" + b"\xc3\xa9" * 40 + b"\0h\0m\0unconfirmed",
]


def one(data: bytes) -> None:
    """The data is a description, or a mark's fields between NULs."""
    text = data.decode("utf-8", "surrogateescape")
    _understood(text)
    fields = text.split("\0")
    names = ("pool", "unique", "handle", "made", "state", "taken", "answer")
    metadata = {
        f"poolmgr_{name}": value
        for name, value in zip(names, fields, strict=False)
    }
    read = marks.mark_in(metadata)
    if read is not None:
        assert marks.mark_in(marks.metadata_of(read)) == _written(read)
        _on_an_ip(read)
    if len(fields) >= 4 and fields[0]:
        job = Job(fields[1], fields[2])
        mark = Mark(fields[0], job.unique, job.handle, fields[3])
        assert marks.mark_in(marks.metadata_of(mark)) == _written(mark)
        _on_an_ip(mark)


def _understood(description: str) -> None:
    mark, device = marks.mark_in_description(description)
    assert isinstance(device, str)
    assert mark is None or mark.pool


def _on_an_ip(mark: Mark) -> None:
    text = marks.description_of(mark)
    assert text.isascii()
    assert text.isprintable()
    if not re.fullmatch("[A-Za-z0-9._-]{1,40}", mark.pool) or (
        len(mark.made) > 25
        or not mark.made.isascii()
        or mark.state not in get_args(State)
        or len(mark.unique.encode("utf-8", "replace")) > 63
    ):
        return  # poolmgr does not write such marks
    assert len(text) <= 255
    read, _device = marks.mark_in_description(text)
    assert read is not None
    assert read.unique == _written(mark).unique


def _written(mark: Mark) -> Mark:
    """Return a mark as a cloud returns it, with "?" for invalid text."""
    return replace(
        mark,
        pool=_encodable(mark.pool),
        unique=_encodable(mark.unique),
        handle=_encodable(mark.handle),
        made=_encodable(mark.made),
        state=_encodable(mark.state),
    )


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()

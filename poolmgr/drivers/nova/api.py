"""Reads answers of the services.

The SDK's resource objects cost many times the JSON that they are made from,
so calls are plain requests.

An entry of a list that is not as documented is left out, which is logged once.
"""

import logging
import re
from collections.abc import Iterable, Iterator
from typing import TypeVar
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from poolmgr.drivers.nova.calls import ApiCall, Refused
from poolmgr.drivers.nova.session import Answer, CloudSession
from poolmgr.errors import Busy, CloudRefused, CloudUnavailable
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)

#: Maximum number of pages of a list.
MOST_PAGES = 1000

# Most ids are UUIDs; names of key pairs may have blanks and "@".
_SEGMENT = re.compile(r"(?!\.+\Z)[A-Za-z0-9_@. -]{1,255}")
_warned: set[str] = set()


class Entry(msgspec.Struct, gc=False):
    """An entry of a list; the garbage collector can ignore it.

    :ivar id: the cloud's id; an entry without one cannot be used
    """

    id: str


T = TypeVar("T")
E = TypeVar("E", bound=Entry)


class Api(CloudSession):
    """Makes calls and reads their answers."""

    def read(self, call: ApiCall, form: type[T], timeout: float) -> T:
        """Make a call; return the field of its answer that it expects.

        :param form: the field's type
        :raises CloudUnavailable: the field has another type; see
            :meth:`CloudSession.run`
        """
        return _decode(call, self.run(call, timeout), form)

    def exists(self, call: ApiCall, timeout: float) -> bool:
        """Make a call about a resource; return whether it exists."""
        try:
            self.run(call, timeout)
        except Refused as error:
            if error.status != 404:
                raise
            return False
        return True

    def read_list(
        self, call: ApiCall, form: type[E], timeout: float
    ) -> list[E]:
        """Read all pages of a list.

        The next page starts after the last entry; links are not followed.

        :param form: the type of the entries; others are left out
        :raises Busy: the list changed while it was read
        :raises CloudUnavailable: the list has no end; see
            :meth:`CloudSession.run`
        """
        key = call.path.split("/")[1].removeprefix("os-").replace("-", "_")
        query = dict(call.params or {})
        call = replace(call, params=query, expects=key)
        found: dict[str, E] = {}
        for _page in range(MOST_PAGES):
            try:
                answer = self.run(call, timeout)
            except Refused as error:
                if "marker" in query and error.status in (400, 404):
                    # The last entry of the previous page was deleted.
                    why = f"{call}: the list changed while it was read"
                    raise Busy(why) from error
                raise
            entries = _decode(call, answer, list[msgspec.Raw])
            known = len(found)
            for entry in _skip_unreadable(key, entries, form):
                found.setdefault(entry.id, entry)
                query["marker"] = entry.id
            links = bytes(answer.get(f"{key}_links", b"[]"))
            if not entries or links in (b"[]", b"null"):
                return list(found.values())
            if len(found) == known:
                break
        raise CloudUnavailable(
            f"the answers to {call} have no end: given up after {len(found)} "
            "entries"
        )


def path_of(collection: str, which: str, *rest: str) -> str:
    """Return the path of a resource, or of a part of it.

    Ids come from the cloud, names from the configuration. One with ``..`` in
    it could lead to another resource, even if it is quoted: servers between
    here and the cloud may undo that.

    :param collection: such as "/servers"
    :param which: the resource's id or name
    :raises CloudRefused: the id or name is not valid
    """
    if not _SEGMENT.fullmatch(which):
        raise CloudRefused(
            f"{collection}/{one_line(which, 80)!r} is not a valid id"
        )
    return "/".join((collection, quote(which, safe=""), *rest))


def _decode(call: ApiCall, answer: Answer, form: type[T]) -> T:
    """Return the field of an answer that a call expects."""
    try:
        return msgspec.json.decode(answer[call.expects], type=form)
    except (LookupError, ValueError, msgspec.MsgspecError) as error:
        why = f"has no {call.expects!r}, or not as documented"
        raise call.failed(f"the answer to {call} {why}") from error


def _skip_unreadable(
    kind: str, entries: Iterable[msgspec.Raw], form: type[T]
) -> Iterator[T]:
    """Yield the entries of a list that can be read.

    :param kind: what they are, for the log: "servers"
    """
    for entry in entries:
        try:
            yield msgspec.json.decode(entry, type=form)
        except (ValueError, msgspec.MsgspecError) as error:
            if kind not in _warned:
                _warned.add(kind)
                why = one_line(str(error))
                LOG.warning("ignored in the cloud's %s: %s", kind, why)

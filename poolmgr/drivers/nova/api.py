"""What the driver asks of the services, and how their answers are read.

They are plain calls on the SDK's session: its resource objects cost many times
the JSON they are made from, and its cloud layer does more than it is asked.

Clouds show null, or nothing, where their documents promise a text.  An entry
of a list that cannot be used is left out, which is logged once; a field is
read as if it was empty, and all else is as it would be without.
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from poolmgr.drivers.nova.calls import Call, Refused, error_of_answer
from poolmgr.drivers.nova.session import Session
from poolmgr.errors import CloudRefused, CloudUnavailable
from poolmgr.text import one_line

LOG = logging.getLogger(__name__)

#: Pages of one list that are read at most.
MOST_PAGES = 1000
#: How often a list is read again from its beginning.
_MOST_RESTARTS = 5

# Ids are uuids, mostly; names of key pairs have blanks and "@", too.
_SEGMENT = re.compile(r"(?!\.+\Z)[A-Za-z0-9_@. -]{1,255}")
_warned: set[str] = set()

#: The fields of an answer, each still JSON: most of it is never looked at.
Answer = dict[str, msgspec.Raw]


class Entry(msgspec.Struct, gc=False):
    """An entry of a list; the garbage collector need not look at it.

    :ivar id: the cloud's id; what has none cannot be used
    """

    id: str


T = TypeVar("T")
E = TypeVar("E", bound=Entry)


class Api(Session):
    """Makes calls, and reads their answers."""

    def run(self, call: Call, timeout: float) -> Answer:
        """Make a call; the fields of its answer.

        :param timeout: seconds that each request may take
        :raises Refused: the cloud says no
        :raises CloudUnavailable: it does not work at the moment
        :raises OutcomeUnknown: the call creates something, and whether it has
            is not known
        """
        access = self.log_in(timeout)
        response = self.send(call, access, timeout)
        if response.status_code == 401:
            # keystoneauth would have one of many threads log in again, and
            # the others give up.
            self.forget(access)
            access = self.log_in(timeout)
            response = self.send(call, access, timeout)
        is_unknown = response.status_code == 406 and call.service == "compute"
        if is_unknown and self.takes_another_microversion(response.text):
            response = self.send(call, access, timeout)
        if response.status_code < 300:
            return _parse(call, response.content)
        where = ""
        if response.status_code in (404, 405, 410) and call.expects:
            # Perhaps another service is there.
            where = self.described(call.service)
        raise error_of_answer(call, response, where)

    def exists(self, call: Call, timeout: float) -> bool:
        """Make a call about a resource; False if the cloud has none."""
        try:
            self.run(call, timeout)
        except Refused as error:
            if error.status != 404:
                raise
            return False
        return True

    def read_list(self, call: Call, form: type[E], timeout: float) -> list[E]:
        """The entries of a list, each once; see :meth:`run`.

        The next page is asked for by the id of the last entry; where links
        lead does not matter.

        :param form: what is read of each; what is of another form is left out
        :raises CloudUnavailable: the list has no end, or changes too fast
        """
        key = call.path.split("/")[1].removeprefix("os-").replace("-", "_")
        query = dict(call.params or {})
        call = replace(call, params=query, expects=key)
        found: dict[str, E] = {}
        restarts = pages = 0
        while pages < MOST_PAGES and restarts <= _MOST_RESTARTS:
            pages += 1
            try:
                answer = self.run(call, timeout)
            except Refused as error:
                if "marker" not in query or error.status not in (400, 404):
                    raise
                # The entry that the page was to follow is deleted.
                del query["marker"]
                found.clear()
                restarts += 1
                continue
            before = len(found)
            entries = _decode(call, answer[key], list[msgspec.Raw])
            for entry in _readable(key, entries, form):
                found.setdefault(entry.id, entry)
                query["marker"] = entry.id
            if _is_last(answer, key, entries):
                return list(found.values())
            if len(found) == before:
                break
        raise CloudUnavailable(
            f"the answers to {call} have no end, or change faster than they "
            f"can be read: given up after {len(found)} entries"
        )

    def read(self, call: Call, form: type[T], timeout: float) -> T:
        """Make a call; the field of its answer that it expects.

        :param form: of the field
        :raises CloudUnavailable: it has another form; see :meth:`run`
        """
        return _decode(call, self.run(call, timeout)[call.expects], form)

    def create(self, call: Call, form: type[E], timeout: float) -> E:
        """Create something; what the answer shows of it.

        :raises OutcomeUnknown: whether it was created is not known
        """
        # The list's name without its "s" is that of what is in it.
        field = call.path[1:-1]
        call = replace(call, expects=field, creates=True)
        made = _decode(call, self.run(call, timeout)[field], form)
        if not _SEGMENT.fullmatch(made.id):
            # It is there all the same, and has to be found by its mark.
            raise call.failed(f"the answer to {call} has an id that is none")
        return made


def path_of(collection: str, which: str, *rest: str) -> str:
    """The path of a resource in a collection, and perhaps of a part of it.

    An id comes from the cloud, a name from the configuration.  A path with
    ``..`` in it would be another path, and quoting does not help, for what
    stands between may undo it.

    :param collection: as "/servers"
    :param which: its id, or its name
    :raises CloudRefused: no resource can have such an id or name
    """
    if not _SEGMENT.fullmatch(which):
        raise CloudRefused(
            f"{collection}/{one_line(which, 80)!r} is not a valid id"
        )
    return "/".join((collection, quote(which, safe=""), *rest))


def _is_last(answer: Answer, key: str, entries: Sequence[object]) -> bool:
    links = bytes(answer.get(f"{key}_links", b"[]"))
    return not entries or links in (b"[]", b"null")


def _parse(call: Call, body: bytes) -> Answer:
    try:
        answer = _fields(body or b"{}")
    except (ValueError, msgspec.MsgspecError, RecursionError):
        # What it is may have secrets in it.
        why = f"the answer to {call} is not a JSON object"
        raise call.failed(why) from None
    field = bytes(answer.get(call.expects, b""))
    if call.expects and not field.startswith((b"{", b"[")):
        raise call.failed(f"the answer to {call} has no {call.expects!r}")
    return answer


def _fields(body: bytes) -> Answer:
    try:
        return msgspec.json.decode(body, type=Answer)
    except (UnicodeDecodeError, msgspec.DecodeError):
        # One name that somebody spoilt must not hide all the others: halves
        # of characters can be written in JSON, and nowhere else.
        value = json.loads(body.decode("utf-8", "replace"))
        again = json.dumps(value, ensure_ascii=False).encode(errors="replace")
        return msgspec.json.decode(again, type=Answer)


def _decode(call: Call, part: msgspec.Raw, form: type[T]) -> T:
    try:
        return msgspec.json.decode(part, type=form)
    except (ValueError, msgspec.MsgspecError) as error:
        why = "a part of it is missing, or has another form than documented"
        raise call.failed(f"the answer to {call}: {why}") from error


def _readable(
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
                LOG.warning("ignored in the cloud's %s: %s", what, why)

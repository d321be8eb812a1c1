"""What one verb of the driver asks of the cloud."""

from dataclasses import replace
from typing import TypeVar

import msgspec
from msgspec import Raw

from poolmgr.drivers.nova import failures
from poolmgr.drivers.nova.calls import (
    Answer,
    Call,
    Entry,
    is_id,
    parse_answer,
    read_entries,
)
from poolmgr.drivers.nova.failures import NotSent, Refused
from poolmgr.drivers.nova.services import Services
from poolmgr.errors import Busy, CloudUnavailable, OutcomeUnknown

#: Pages of one list that are read, and entries, at most.
MOST_PAGES = 1000
MOST_ENTRIES = 200_000
#: How often a list is read again from its beginning.
_MOST_RESTARTS = 5

T = TypeVar("T", bound=Entry)


class _Link(msgspec.Struct):
    """A link of a page; where it leads does not matter."""

    rel: str = "next"


class Api:
    """Makes the calls of one verb of the driver.

    :param services: the cloud's
    :ivar timeout: seconds that each request may take
    :ivar calls: how many were made
    """

    def __init__(self, services: Services, timeout: float) -> None:
        self._services = services
        self.timeout = timeout
        self.calls = 0

    def run(self, call: Call) -> Answer:
        """Make a call; the fields of its answer.

        :raises Refused: the cloud says no
        :raises CloudUnavailable: it does not work at the moment
        :raises OutcomeUnknown: the call creates something, and whether it has
            is not known
        """
        self.calls += 1
        try:
            response = self._services.send(call, self.timeout)
            if response.status_code < 300:
                return parse_answer(call, response.content)
            where = ""
            if response.status_code in (404, 405, 410) and call.expects:
                # Perhaps another service is there.
                where = self._services.described(call.service)
            raise failures.error_of_answer(call, response, where)
        except (Busy, NotSent):
            raise
        except CloudUnavailable as error:
            if not call.creates:
                raise
            raise OutcomeUnknown(str(error), error.retry_after) from error

    def run_if_there(self, call: Call) -> Answer | None:
        """Make a call about one thing; None if the cloud has no such thing."""
        try:
            return self.run(call)
        except Refused as error:
            if error.status != 404:
                raise
            return None

    def read_list(self, call: Call, form: type[T]) -> list[T]:
        """The entries of a list, each once; see :meth:`run`.

        The next page is asked for by the id of the last entry; where links
        lead does not matter.

        :param form: what is read of each; what is of another form is left out
        :raises CloudUnavailable: the list has no end, or changes too fast
        """
        key = call.path.split("/")[1].removeprefix("os-").replace("-", "_")
        query = dict(call.params or {})
        found: dict[str, T] = {}
        restarts = 0
        for _page in range(MOST_PAGES):
            try:
                page = replace(call, params=query, expects=key)
                entries, has_more = self._read_page(page, key)
            except Refused as error:
                if "marker" not in query or error.status not in (400, 404):
                    raise
                # The entry that the page was to follow is deleted.
                del query["marker"]
                found.clear()
                restarts += 1
                if restarts > _MOST_RESTARTS:
                    break
                continue
            before = len(found)
            for entry in read_entries(key, entries, form):
                found.setdefault(entry.id, entry)
                query["marker"] = entry.id
            if not has_more:
                return list(found.values())
            if len(found) == before or len(found) > MOST_ENTRIES:
                break
        raise CloudUnavailable(
            f"the answers to {call} have no end, or change faster than they "
            f"can be read: given up after {len(found)} entries"
        )

    def create(self, call: Call, form: type[T]) -> T:
        """Create something; what the answer shows of it.

        :raises OutcomeUnknown: whether it was created is not known
        """
        # The list's name without its "s" is that of what is in it.
        field = call.path[1:-1]
        call = replace(call, expects=field, creates=True)
        with failures.understood(call, creates=True):
            made = msgspec.json.decode(self.run(call)[field], type=form)
            if not is_id(made.id):
                # It is there all the same, and has to be found by its mark.
                raise ValueError(made.id)
            return made

    def project_id(self) -> str:
        """The project whose things are ours; raises as :meth:`run` does."""
        return self._services.project_id(self.timeout)

    # -- inside -------------------------------------------------------------

    def _read_page(self, call: Call, key: str) -> tuple[list[Raw], bool]:
        """The entries of a page, and whether there is another page."""
        answer = self.run(call)
        with failures.understood(call):
            entries = msgspec.json.decode(answer[key], type=list[Raw])
            given = answer.get(f"{key}_links", b"[]")
            links = msgspec.json.decode(given, type=list[_Link] | None)
        has_next = any(link.rel != "previous" for link in links or ())
        return entries, bool(entries) and has_next

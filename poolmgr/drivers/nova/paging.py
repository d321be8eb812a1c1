"""Lists that come in pages."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from poolmgr.drivers.nova.calls import Call
from poolmgr.drivers.nova.failures import Refused, Unavailable
from poolmgr.waiting import Deadline

Run = Callable[[Call, Deadline], Mapping[str, Any]]

#: Pages of one list that are read, and entries, at most.
MOST_PAGES = 1000
MOST_ENTRIES = 200_000
#: How often a list is read again from its beginning.
_MOST_RESTARTS = 5


def read_pages(run: Run, call: Call, deadline: Deadline) -> Iterator[Any]:
    """The entries of a list, each once.

    The next page is asked for by the id of the last entry. If that was
    deleted meanwhile, the list is read again from its beginning.

    :param run: makes a call
    :raises Unavailable: the list has no end, or changes too fast
    """
    key = call.path.split("/")[1].removeprefix("os-").replace("-", "_")
    query = dict(call.params or {})
    seen: set[str] = set()
    markers: set[str] = set()
    restarts = 0
    for _page in range(MOST_PAGES):
        try:
            page = replace(call, params=query, expects=key)
            answer = run(page, deadline)
        except Refused as error:
            if "marker" not in query or error.status not in (400, 404):
                raise
            if restarts == _MOST_RESTARTS:
                raise Unavailable(
                    f"the answers to {call} change faster than they can be "
                    f"read: {error}"
                ) from None
            restarts += 1
            markers.clear()
            del query["marker"]
            continue
        entries = answer[key]
        if not isinstance(entries, list):
            raise Unavailable(
                f"the answer to {call} is not understood: {key!r} is no list"
            )
        for entry in entries:
            id_ = _id_of(entry)
            if id_ not in seen:
                yield entry
            if id_ is not None:
                seen.add(id_)
        if not entries or not _has_more(answer.get(f"{key}_links")):
            return
        marker = next(filter(None, map(_id_of, reversed(entries))), None)
        if marker is None or marker in markers or len(seen) > MOST_ENTRIES:
            break
        markers.add(marker)
        query["marker"] = marker
    raise Unavailable(
        f"the answers to {call} have no end: given up after "
        f"{len(seen)} entries"
    )


def _id_of(entry: object) -> str | None:
    id_ = entry.get("id") if isinstance(entry, Mapping) else None
    return id_ if isinstance(id_, str) else None


def _has_more(links: object) -> bool:
    """Whether there is another page; where the links lead does not matter."""
    if not isinstance(links, list):
        return bool(links)
    return any(
        not isinstance(link, Mapping) or link.get("rel") != "previous"
        for link in links
    )

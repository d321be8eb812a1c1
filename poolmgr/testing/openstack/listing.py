"""Filters and pagination of server lists, like Nova."""

import re
from collections.abc import Callable
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from poolmgr.testing.openstack.server import Server
from poolmgr.testing.openstack.service import Json, Refused, Request
from poolmgr.testing.openstack.state import State

Test = Callable[[Server], Any]

_STATUSES = {"ACTIVE", "BUILD", "ERROR", "SHUTOFF", "SOFT_DELETED"}
#: Parameters that are not filters; "deleted" is only for administrators.
_NO_FILTERS = {"limit", "marker", "deleted"}
_STRICT_SINCE = (2, 75)


def page_of_servers(
    request: Request, state: State
) -> tuple[list[Server], Json]:
    """Return the servers of a page, the newest first.

    :returns: the servers, and the link to the next page if there is one
    :raises Refused: the query is invalid
    """
    limit = _limit(request, state.settings.max_limit)
    tests = _tests(request)
    found = (
        server
        for server in reversed(state.servers.values())
        if server.status != "SOFT_DELETED"
    )
    marker = request.http.query.get("marker")
    # The search for the marker consumes the servers up to it.
    if marker is not None and not any(s.id == marker for s in found):
        raise Refused(400, f"marker [{marker}] not found")
    matching = (s for s in found if all(test(s) for test in tests))
    page = list(islice(matching, limit))
    if not page or len(page) < limit:
        return page, {}
    kept = [(k, v) for k, v in request.http.query.items() if k != "marker"]
    query = urlencode([*kept, ("marker", page[-1].id)])
    href = f"{request.url}/compute/v2.1{request.call.path}?{query}"
    return page, {"servers_links": [{"rel": "next", "href": href}]}


def _limit(request: Request, most: int) -> int:
    text = request.http.query.get("limit")
    if text is None:
        return most
    if re.fullmatch("[0-9]+", text) is None:
        raise _bad_query("limit", text, "does not match '^[0-9]*$'")
    return min(int(text), most)


def _tests(request: Request) -> list[Test]:
    names = dict.fromkeys(
        n for n in request.http.query if n not in _NO_FILTERS
    )
    unknown = [name for name in names if name not in _FILTERS]
    if unknown and request.microversion >= _STRICT_SINCE:
        raise Refused(
            400, f"{unknown[0]!r} does not match any of the regexes: '^_'"
        )
    return [
        _FILTERS[name](request.http.query.getall(name))
        for name in names
        if name in _FILTERS
    ]


def _by_name(values: list[str]) -> Test:
    # The database's REGEXP matches anywhere, in upper and lower case. Nova
    # escapes "|" before it asks the database.
    try:
        pattern = re.compile(values[-1].replace("|", r"\|"), re.IGNORECASE)
    except re.error:
        raise _bad_query("name", values[-1], "is not a 'regex'") from None
    return lambda server: pattern.search(server.name)


def _by_status(values: list[str]) -> Test:
    wanted = {value.upper() for value in values}
    if not wanted <= _STATUSES:
        raise Refused(400, "Invalid status value")
    return lambda server: server.status in wanted


def _tagged(choose: Callable[[set[str], set[str]], bool]) -> Any:
    def make(values: list[str]) -> Test:
        wanted = {tag for value in values for tag in value.split(",")}
        return lambda server: choose(wanted, set(server.tags))

    return make


def _equal(of: Callable[[Server], str]) -> Any:
    return lambda values: lambda server: of(server) == values[-1]


def _bad_query(name: str, value: str, problem: str) -> Refused:
    return Refused(
        400,
        f"Invalid input for query parameters {name}. Value: {value}. "
        f"{value!r} {problem}",
    )


_FILTERS: dict[str, Callable[[list[str]], Test]] = {
    "name": _by_name,
    "status": _by_status,
    "tags": _tagged(lambda wanted, has: wanted <= has),
    "tags-any": _tagged(lambda wanted, has: bool(wanted & has)),
    "image": _equal(lambda server: server.image_id),
    "flavor": _equal(lambda server: server.flavor["id"]),
}

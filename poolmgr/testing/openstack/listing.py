"""Which servers a list shows: Nova's filters and pages."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from poolmgr.testing.openstack.errors import Refused, bad_request
from poolmgr.testing.openstack.server import Server
from poolmgr.testing.openstack.service import Request
from poolmgr.testing.openstack.state import State

Test = Callable[[Server], Any]

_STATUSES = {"ACTIVE", "BUILD", "DELETED", "ERROR", "SHUTOFF", "SOFT_DELETED"}
_STRICT_SINCE = (2, 75)


def page_of_servers(
    request: Request, state: State
) -> tuple[list[Server], str | None]:
    """The servers that a list shows, the newest first.

    :returns: and, when there may be more, the query of the next page
    :raises Refused: for a query that Nova does not take
    """
    limit = _limit(request, state.settings.max_limit)
    tests = _tests(request)
    found = _from_marker(request.one("marker"), _candidates(request, state))
    matching = (s for s in found if all(test(s) for test in tests))
    page = list(islice(matching, limit))
    if not page or len(page) < limit:
        return page, None
    kept = [(k, v) for k, v in request.query if k != "marker"]
    return page, urlencode([*kept, ("marker", page[-1].id)])


def _limit(request: Request, most: int) -> int:
    text = request.one("limit")
    if text is None:
        return most
    if re.fullmatch("[0-9]+", text) is None:
        raise _bad_query("limit", text, "does not match '^[0-9]*$'")
    return min(int(text), most)


def _candidates(request: Request, state: State) -> Iterable[Server]:
    servers = (
        server
        for server in reversed(state.servers.values())
        if server.status != "SOFT_DELETED"
    )
    if request.one("changes-since") is None:
        return servers
    return [*servers, *reversed(state.gone)]


def _from_marker(
    marker: str | None, servers: Iterable[Server]
) -> Iterable[Server]:
    remaining = iter(servers)
    if marker is not None and not any(s.id == marker for s in remaining):
        raise bad_request(f"marker [{marker}] not found")
    return remaining


def _tests(request: Request) -> list[Test]:
    tests = []
    for name in dict.fromkeys(key for key, _value in request.query):
        if name in _FILTERS:
            tests.append(_FILTERS[name](request.all(name)))
        elif name not in ("limit", "marker") and (
            request.microversion >= _STRICT_SINCE
        ):
            raise bad_request(
                f"{name!r} does not match any of the regexes: '^_'"
            )
    return tests


def _by_name(values: list[str]) -> Test:
    # The database's REGEXP: anywhere in the name, in any case. There are no
    # alternatives: Nova takes a "|" for itself before it asks the database.
    try:
        pattern = re.compile(values[-1].replace("|", r"\|"), re.IGNORECASE)
    except re.error:
        raise _bad_query("name", values[-1], "is not a 'regex'") from None
    return lambda server: pattern.search(server.name)


def _by_status(values: list[str]) -> Test:
    wanted = {value.upper() for value in values}
    if not wanted <= _STATUSES:
        raise bad_request("Invalid status value")
    return lambda server: server.status in wanted


def _by_change(values: list[str]) -> Test:
    try:
        since = datetime.fromisoformat(values[-1])
    except ValueError:
        raise _bad_query(
            "changes-since", values[-1], "is not a 'date-time'"
        ) from None
    if since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    return lambda server: datetime.fromisoformat(server.updated) >= since


def _tagged(choose: Callable[[set[str], set[str]], bool]) -> Any:
    def make(values: list[str]) -> Test:
        wanted = {tag for value in values for tag in value.split(",")}
        return lambda server: choose(wanted, set(server.tags))

    return make


def _equal(of: Callable[[Server], str | None]) -> Any:
    return lambda values: lambda server: of(server) == values[-1]


def _bad_query(name: str, value: str, problem: str) -> Refused:
    return bad_request(
        f"Invalid input for query parameters {name}. Value: {value}. "
        f"{value!r} {problem}"
    )


_FILTERS: dict[str, Callable[[list[str]], Test]] = {
    "name": _by_name,
    "status": _by_status,
    "changes-since": _by_change,
    "tags": _tagged(lambda wanted, has: wanted <= has),
    "tags-any": _tagged(lambda wanted, has: bool(wanted & has)),
    "not-tags": _tagged(lambda wanted, has: not wanted <= has),
    "not-tags-any": _tagged(lambda wanted, has: not wanted & has),
    "uuid": _equal(lambda server: server.id),
    "image": _equal(lambda server: server.image_id),
    "flavor": _equal(lambda server: server.flavor["id"]),
    "availability_zone": _equal(lambda server: server.availability_zone),
}

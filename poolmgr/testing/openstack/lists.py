"""Lists and single things as Neutron answers them."""

from collections.abc import Iterable, Sequence
from urllib.parse import urlencode

from poolmgr.testing.openstack.errors import Refused
from poolmgr.testing.openstack.service import Answer, Json, Request
from poolmgr.testing.openstack.settings import CloudSettings

_PAGING = {"fields", "limit", "marker", "sort_key", "sort_dir", "page_reverse"}


def listed(
    request: Request,
    kind: str,
    items: Sequence[Json],
    settings: CloudSettings,
) -> Answer:
    """A list: filtered, in pages, of some fields.

    :param kind: its name in the answer
    :param items: everything there is, as Neutron shows it
    :param settings: say how long a page is
    :raises Refused: for a query that Neutron does not take
    """
    wanted: dict[str, set[str]] = {}
    for name, value in request.query:
        if name not in _PAGING:
            wanted.setdefault(name, set()).add(value.lower())
    _check_filters(wanted, items)
    found = [item for item in items if _matches(item, wanted)]
    page, links = _page(request, kind, found, settings.max_limit_network)
    fields = request.all("fields")
    shown = [_only(item, fields) for item in page]
    return Answer(200, {kind: shown, **links})


def _check_filters(wanted: Iterable[str], items: Sequence[Json]) -> None:
    unknown = [name for name in wanted if items and name not in items[0]]
    if unknown:
        raise Refused(
            400,
            f"{unknown} is invalid attribute for filtering",
            "HTTPBadRequest",
        )


def _matches(item: Json, wanted: dict[str, set[str]]) -> bool:
    return all(
        ("" if item[name] is None else str(item[name])).lower() in values
        for name, values in wanted.items()
    )


def _page(
    request: Request, kind: str, items: list[Json], most: int | None
) -> tuple[list[Json], Json]:
    limit, marker = request.one("limit"), request.one("marker")
    if limit is None and most is not None:
        limit = str(most)
    if limit is None:
        return items, {}
    if not limit.isdigit():
        message = (
            "Bad limit request: Limit must be an integer 0 or greater and "
            f"not '{limit}'."
        )
        raise Refused(400, message, "BadRequest")
    if marker is not None:
        ids = [item["id"] for item in items]
        if marker not in ids:
            raise Refused(404, f"{marker} could not be found.", "NotFound")
        items = items[ids.index(marker) + 1 :]
    size = int(limit) or len(items)
    page = items[:size]
    if not page or len(page) < size:
        return page, {}
    kept = [(k, v) for k, v in request.query if k != "marker"]
    query = urlencode([*kept, ("marker", page[-1]["id"])])
    href = f"{request.url}/network/v2.0{request.path}?{query}"
    return page, {f"{kind}_links": [{"rel": "next", "href": href}]}


def _only(item: Json, fields: list[str]) -> Json:
    if not fields:
        return item
    return {name: item[name] for name in fields if name in item}


def one(request: Request, kind: str, item: Json) -> Answer:
    """A single thing, of some fields."""
    return Answer(200, {kind: _only(item, request.all("fields"))})

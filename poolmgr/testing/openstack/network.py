"""The network service, like Neutron."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from aiohttp.web import Response

from poolmgr.testing.openstack.floating_ips import FloatingIPs, not_found
from poolmgr.testing.openstack.service import (
    Handler,
    Json,
    Refused,
    Request,
    Service,
    json_answer,
)
from poolmgr.testing.openstack.state import State

#: The resources by path: the name in responses, and in types of errors.
_KINDS = {
    "networks": ("network", "Network"),
    "subnets": ("subnet", "Subnet"),
    "ports": ("port", "Port"),
    "security-groups": ("security_group", "SecurityGroup"),
    "floatingips": ("floatingip", "FloatingIP"),
}
_PAGING = {"fields", "limit", "marker", "sort_key", "sort_dir", "page_reverse"}
_EXTENSIONS = ("external-net", "security-group", "revision-if-match")


class Network(Service):
    """Networks, ports and floating IPs."""

    name, version, version_id = "network", "/v2.0", "v2.0"

    def __init__(self, state: State) -> None:
        self._resources: dict[str, Mapping[str, Any]] = {
            "networks": state.networks,
            "subnets": state.subnets,
            "ports": state.ports,
            "security-groups": state.security_groups,
        }
        if state.settings.routers:
            self._resources["floatingips"] = state.floating_ips
        super().__init__(state)

    def routes(self) -> list[tuple[str, str, Handler]]:
        """See :meth:`Service.routes`."""
        path = f"/({'|'.join(self._resources)})"
        routers = self._state.settings.routers
        return [
            ("GET", path, self._list),
            ("GET", f"{path}/([^/]+)", self._show),
            ("GET", "/extensions", self._extensions),
            *(FloatingIPs(self._state).routes() if routers else ()),
        ]

    def refusal(self, error: Refused) -> Response:
        """See :meth:`Service.refusal`."""
        body = {"type": error.kind, "message": error.message, "detail": ""}
        return json_answer({"NeutronError": body}, error.status, error.headers)

    def _list(self, request: Request, kind: str) -> Response:
        items = [_shown(each) for each in self._resources[kind].values()]
        most = self._state.settings.max_limit_network
        return _list_answer(request, f"{_KINDS[kind][0]}s", items, most)

    def _show(self, request: Request, kind: str, id_: str) -> Response:
        name, label = _KINDS[kind]
        resource = self._resources[kind].get(id_)
        if resource is None:
            raise not_found(label, id_)
        return _one_answer(request, name, _shown(resource))

    def _extensions(self, _request: Request) -> Response:
        routers = ("router",) if self._state.settings.routers else ()
        names = [*routers, *_EXTENSIONS]
        return json_answer({"extensions": [{"alias": n} for n in names]})


def _shown(resource: Any) -> Json:
    shown: Json = resource if isinstance(resource, dict) else resource.shown()
    return shown


def _list_answer(
    request: Request, name: str, items: Sequence[Json], most: int | None
) -> Response:
    """Return a list with filters, pagination and a selection of fields.

    :param name: the name of the list in the response
    :param items: all resources, in Neutron's JSON
    :param most: the longest page
    :raises Refused: the query is invalid
    """
    wanted = {
        name: {value.lower() for value in request.http.query.getall(name)}
        for name in request.http.query
        if name not in _PAGING
    }
    unknown = [key for key in wanted if items and key not in items[0]]
    if unknown:
        message = f"{unknown} is invalid attribute for filtering"
        raise Refused(400, message, "HTTPBadRequest")
    found = [item for item in items if _matches(item, wanted)]
    page, links = _page(request, name, found, most)
    shown = [_chosen_fields(request, item) for item in page]
    return json_answer({name: shown, **links})


def _one_answer(request: Request, name: str, item: Json) -> Response:
    """Return a resource with a selection of fields."""
    return json_answer({name: _chosen_fields(request, item)})


def _matches(item: Json, wanted: dict[str, set[str]]) -> bool:
    return all(
        ("" if item[name] is None else str(item[name])).lower() in values
        for name, values in wanted.items()
    )


def _page(
    request: Request, name: str, items: list[Json], most: int | None
) -> tuple[list[Json], Json]:
    limit = request.http.query.get("limit", str(most or 0))
    marker = request.http.query.get("marker")
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
    size = int(limit)
    if not size or len(items) < size:
        return items, {}
    page = items[:size]
    kept = [(k, v) for k, v in request.http.query.items() if k != "marker"]
    query = urlencode([*kept, ("marker", page[-1]["id"])])
    href = f"{request.url}/network/v2.0{request.call.path}?{query}"
    return page, {f"{name}_links": [{"rel": "next", "href": href}]}


def _chosen_fields(request: Request, item: Json) -> Json:
    fields = request.http.query.getall("fields", [])
    return {name: item[name] for name in fields or item if name in item}

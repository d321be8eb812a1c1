"""Compute, as Nova is."""

import secrets

from poolmgr.testing.openstack.creating import (
    check_quota,
    clean_metadata,
    clean_tags,
    new_server,
)
from poolmgr.testing.openstack.errors import Refused, bad_request
from poolmgr.testing.openstack.listing import page_of_servers
from poolmgr.testing.openstack.offers import Offers
from poolmgr.testing.openstack.server import Server
from poolmgr.testing.openstack.service import (
    Answer,
    Handler,
    Json,
    Request,
    Service,
    page,
)
from poolmgr.testing.openstack.state import State

_SHAPES = {
    400: "badRequest",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    429: "overLimit",
    503: "serviceUnavailable",
}
#: States in which a server's metadata and tags can be changed.
_CHANGEABLE = ("ACTIVE", "SHUTOFF")
_ONE = "/servers/([^/]+)"


class Compute(Service):
    """Servers and what they are made from."""

    name, prefix, version = "compute", "/compute", "/v2.1"

    def __init__(self, state: State) -> None:
        self._state = state
        self._offers = Offers(state)
        super().__init__()
        self._max = _version(state.settings.max_microversion)

    def routes(self) -> list[tuple[str, str, Handler]]:
        """See :meth:`Service.routes`."""
        return [
            ("POST", "/servers", self._create),
            ("GET", "/servers", self._list),
            ("GET", "/servers/detail", self._list_details),
            ("GET", _ONE, self._show),
            ("DELETE", _ONE, self._delete),
            ("GET", f"{_ONE}/metadata", self._metadata),
            ("POST", f"{_ONE}/metadata", self._merge_metadata),
            ("PUT", f"{_ONE}/metadata", self._replace_metadata),
            ("GET", f"{_ONE}/tags", self._tags),
            ("PUT", f"{_ONE}/tags", self._replace_tags),
            ("DELETE", f"{_ONE}/tags", self._drop_tags),
            ("GET", f"{_ONE}/tags/([^/]+)", self._has_tag),
            ("PUT", f"{_ONE}/tags/([^/]+)", self._add_tag),
            ("DELETE", f"{_ONE}/tags/([^/]+)", self._drop_tag),
            ("POST", f"{_ONE}/action", self._act),
            *self._offers.routes(),
        ]

    # -- the protocol -------------------------------------------------------

    def versions(self, url: str, whole: bool) -> Answer:
        """See :meth:`Service.versions`."""
        version = {
            "id": "v2.1",
            "status": "CURRENT",
            "version": self._state.settings.max_microversion,
            "min_version": "2.1",
            "updated": "2013-07-23T11:33:21Z",
            "links": [{"rel": "self", "href": f"{url}/compute/v2.1/"}],
        }
        if whole:
            return Answer(200, {"versions": [version]})
        return Answer(200, {"version": version})

    def refusal(self, error: Refused) -> Answer:
        """See :meth:`Service.refusal`."""
        shape = _SHAPES.get(error.status, "computeFault")
        body: Json = {"code": error.status, "message": error.message}
        if "Retry-After" in error.headers:
            body["retryAfter"] = error.headers["Retry-After"]
        return Answer(error.status, {shape: body}, dict(error.headers))

    def not_found(self) -> Answer:
        """See :meth:`Service.not_found`."""
        return page("Not Found", "The resource could not be found.", 404)

    def answer(self, request: Request) -> Answer:
        """See :meth:`Service.answer`; in the microversion asked for."""
        asked = _asked(request)
        version = self._max if asked == "latest" else _version(asked)
        if not (2, 1) <= version <= self._max:
            most = self._state.settings.max_microversion
            return self.refusal(
                Refused(
                    406,
                    f"Version {asked} is not supported by the API. Minimum "
                    f"is 2.1 and maximum is {most}.",
                )
            )
        request.microversion = version
        answer = super().answer(request)
        shown = f"{version[0]}.{version[1]}"
        answer.headers["OpenStack-API-Version"] = f"compute {shown}"
        answer.headers["X-OpenStack-Nova-API-Version"] = shown
        return answer

    # -- servers ------------------------------------------------------------

    def _create(self, request: Request) -> Answer:
        server = new_server(request, self._state)
        check_quota(self._state)
        self._state.add_server(server)
        links = server.links(f"{request.url}/compute")
        made = {
            "id": server.id,
            "links": links,
            "OS-DCF:diskConfig": "MANUAL",
            "security_groups": [{"name": n} for n in server.security_groups],
            "adminPass": secrets.token_urlsafe(9),
        }
        where = {"Location": links[0]["href"]}
        return Answer(202, {"server": made}, where)

    def _list(self, request: Request) -> Answer:
        servers, following = page_of_servers(request, self._state)
        url = f"{request.url}/compute"
        shown = [
            {"id": s.id, "name": s.name, "links": s.links(url)}
            for s in servers
        ]
        body: Json = {"servers": shown}
        if following is not None:
            href = f"{url}/v2.1/servers?{following}"
            body["servers_links"] = [{"rel": "next", "href": href}]
        return Answer(200, body)

    def _list_details(self, request: Request) -> Answer:
        servers, following = page_of_servers(request, self._state)
        url = f"{request.url}/compute"
        # A thousand servers are put together from what is written already.
        text = ", ".join(server.text(url) for server in servers)
        links = ""
        if following is not None:
            href = f"{url}/v2.1/servers/detail?{following}"
            links = f', "servers_links": [{{"rel": "next", "href": "{href}"}}]'
        return Answer(200, f'{{"servers": [{text}]{links}}}')

    def _show(self, request: Request, server_id: str) -> Answer:
        server = self._server(server_id)
        text = server.text(f"{request.url}/compute")
        return Answer(200, f'{{"server": {text}}}')

    def _delete(self, request: Request, server_id: str) -> Answer:
        server = self._server(server_id)
        if request.fate.error is not None:
            server.fail(request.fate.error)
        elif not request.fate.lost:
            self._state.delete_server(server)
        return Answer(204)

    def _act(self, request: Request, server_id: str) -> Answer:
        server = self._server(server_id)
        action = next(iter(request.body or {}), None)
        if action in ("addFloatingIp", "removeFloatingIp"):
            raise Refused(404, "The resource could not be found.")
        if action != "os-getConsoleOutput":
            raise bad_request(f"There is no such action: {action}")
        if server.launched_at is None:
            raise Refused(409, f"Instance {server_id} is not ready")
        return Answer(200, {"output": f"{server.name} login:"})

    def _server(self, server_id: str) -> Server:
        server = self._state.servers.get(server_id)
        if server is None:
            message = f"Instance {server_id} could not be found."
            raise Refused(404, message)
        return server

    # -- metadata and tags --------------------------------------------------

    def _changeable(self, server_id: str, what: str) -> Server:
        server = self._server(server_id)
        if server.status not in _CHANGEABLE:
            raise Refused(
                409,
                f"Cannot '{what}' instance {server_id} while it is in "
                f"vm_state {server.vm_state}",
            )
        return server

    def _metadata(self, _request: Request, server_id: str) -> Answer:
        return Answer(200, {"metadata": self._server(server_id).metadata})

    def _merge_metadata(self, request: Request, server_id: str) -> Answer:
        given = clean_metadata((request.body or {}).get("metadata"))
        server = self._changeable(server_id, "update metadata")
        merged = clean_metadata({**server.metadata, **given})
        server.change(metadata=merged)
        return Answer(200, {"metadata": merged})

    def _replace_metadata(self, request: Request, server_id: str) -> Answer:
        given = clean_metadata((request.body or {}).get("metadata"))
        server = self._changeable(server_id, "update metadata")
        server.change(metadata=given)
        return Answer(200, {"metadata": given})

    def _tags(self, _request: Request, server_id: str) -> Answer:
        return Answer(200, {"tags": self._server(server_id).tags})

    def _replace_tags(self, request: Request, server_id: str) -> Answer:
        tags = clean_tags((request.body or {}).get("tags"))
        self._changeable(server_id, "update tag").change(tags=tags)
        return Answer(200, {"tags": tags})

    def _drop_tags(self, _request: Request, server_id: str) -> Answer:
        self._changeable(server_id, "delete tag").change(tags=[])
        return Answer(204)

    def _has_tag(self, _request: Request, server_id: str, tag: str) -> Answer:
        if tag not in self._server(server_id).tags:
            raise Refused(404, f"Server {server_id} has no tag '{tag}'")
        return Answer(204)

    def _add_tag(self, request: Request, server_id: str, tag: str) -> Answer:
        clean_tags([tag])
        server = self._changeable(server_id, "update tag")
        if tag in server.tags:
            return Answer(204)
        server.change(tags=[*server.tags, tag])
        return Answer(201, None, {"Location": request.url + request.path})

    def _drop_tag(self, _request: Request, server_id: str, tag: str) -> Answer:
        server = self._changeable(server_id, "delete tag")
        if tag not in server.tags:
            raise Refused(404, f"Instance {server_id} has no tag '{tag}'")
        server.change(tags=[t for t in server.tags if t != tag])
        return Answer(204)


def _asked(request: Request) -> str:
    """The microversion that a request asks for, as text."""
    kind, _blank, version = request.headers.get(
        "OpenStack-API-Version", ""
    ).partition(" ")
    if kind == "compute" and version:
        return version.strip()
    return request.headers.get("X-OpenStack-Nova-API-Version", "2.1")


def _version(text: str) -> tuple[int, int]:
    major, _dot, minor = text.partition(".")
    if not (major.isdigit() and minor.isdigit()):
        return (0, 0)
    return int(major), int(minor)

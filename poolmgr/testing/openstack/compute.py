"""The compute service, like Nova."""

import json
import re
import secrets

from aiohttp.web import Response

from poolmgr.testing.openstack.creating import (
    clean_metadata,
    clean_tags,
    new_server,
)
from poolmgr.testing.openstack.listing import page_of_servers
from poolmgr.testing.openstack.offers import Offers
from poolmgr.testing.openstack.server import Server
from poolmgr.testing.openstack.service import (
    Handler,
    Json,
    Refused,
    Request,
    Service,
    html_answer,
    json_answer,
)

_SHAPES = {
    400: "badRequest",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    429: "overLimit",
    503: "serviceUnavailable",
}
#: The states in which metadata and tags of a server can be changed.
_CHANGEABLE = ("ACTIVE", "SHUTOFF")
_ONE = "/servers/([^/]+)"


class Compute(Service):
    """Servers, flavors, key pairs, zones and server groups."""

    name, version, version_id = "compute", "/v2.1", "v2.1"

    def routes(self) -> list[tuple[str, str, Handler]]:
        """See :meth:`Service.routes`."""
        return [
            ("POST", "/servers", self._create),
            ("GET", "/servers", self._list),
            ("GET", "/servers/detail", self._list_details),
            ("GET", _ONE, self._show),
            ("DELETE", _ONE, self._delete),
            ("POST", f"{_ONE}/metadata", self._merge_metadata),
            ("PUT", f"{_ONE}/tags/([^/]+)", self._add_tag),
            ("DELETE", f"{_ONE}/tags/([^/]+)", self._drop_tag),
            ("POST", f"{_ONE}/action", self._act),
            *Offers(self._state).routes(),
        ]

    # -- the protocol -------------------------------------------------------

    def version_document(self, url: str) -> Json:
        """See :meth:`Service.version_document`."""
        return {
            **super().version_document(url),
            "version": self._state.settings.max_microversion,
            "min_version": "2.1",
        }

    def refusal(self, error: Refused) -> Response:
        """See :meth:`Service.refusal`."""
        shape = _SHAPES.get(error.status, "computeFault")
        body: Json = {"code": error.status, "message": error.message}
        if "Retry-After" in error.headers:
            body["retryAfter"] = error.headers["Retry-After"]
        return json_answer({shape: body}, error.status, error.headers)

    def unknown_path(self) -> Response:
        """See :meth:`Service.unknown_path`; Nova returns HTML."""
        return html_answer("The resource could not be found.", 404)

    def answer(self, request: Request) -> Response:
        """See :meth:`Service.answer`; checks the microversion."""
        most = self._state.settings.max_microversion
        header = request.http.headers.get("OpenStack-API-Version", "")
        kind, _blank, asked = header.partition(" ")
        asked = asked.strip() if kind == "compute" else "2.1"
        if asked == "latest":
            asked = most
        version = _version(asked)
        if not (2, 1) <= version <= _version(most):
            message = (
                f"Version {asked} is not supported by the API. Minimum is "
                f"2.1 and maximum is {most}."
            )
            return self.refusal(Refused(406, message))
        request.microversion = version
        answer = super().answer(request)
        answer.headers["OpenStack-API-Version"] = f"compute {asked}"
        return answer

    # -- servers ------------------------------------------------------------

    def _create(self, request: Request) -> Response:
        server = new_server(request, self._state)
        used = len(self._state.servers)
        most = self._state.settings.instances
        if used >= most:
            raise Refused(
                403,
                "Quota exceeded for instances: Requested 1, but already used "
                f"{used} of {most} instances",
            )
        self._state.add_server(server)
        made = {
            "id": server.id,
            "links": server.links,
            "OS-DCF:diskConfig": "MANUAL",
            "security_groups": [{"name": n} for n in server.security_groups],
            "adminPass": secrets.token_urlsafe(9),
        }
        where = {"Location": server.links[0]["href"]}
        return json_answer({"server": made}, 202, where)

    def _list(self, request: Request) -> Response:
        servers, links = page_of_servers(request, self._state)
        shown = [
            {"id": s.id, "name": s.name, "links": s.links} for s in servers
        ]
        return json_answer({"servers": shown, **links})

    def _list_details(self, request: Request) -> Response:
        servers, links = page_of_servers(request, self._state)
        # Encoding a thousand servers again would be slow.
        text = ", ".join(server.text for server in servers)
        rest = f", {json.dumps(links)[1:]}" if links else "}"
        return json_answer(f'{{"servers": [{text}]{rest}')

    def _show(self, _request: Request, server_id: str) -> Response:
        return json_answer(f'{{"server": {self._server(server_id).text}}}')

    def _delete(self, request: Request, server_id: str) -> Response:
        server = self._server(server_id)
        if request.fate.error is not None:
            server.fail(request.fate.error)
        elif not request.fate.lost:
            self._state.delete_server(server)
        return json_answer(status=204)

    def _act(self, request: Request, server_id: str) -> Response:
        server = self._server(server_id)
        action = next(iter(request.call.body or {}), None)
        if action != "os-getConsoleOutput":
            raise Refused(400, f"There is no such action: {action}")
        if server.launched_at is None:
            raise Refused(409, f"Instance {server_id} is not ready")
        return json_answer({"output": f"{server.name} login:"})

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

    def _merge_metadata(self, request: Request, server_id: str) -> Response:
        given = clean_metadata(request.resource("metadata"))
        server = self._changeable(server_id, "update metadata")
        merged = clean_metadata({**server.metadata, **given})
        server.change(metadata=merged)
        return json_answer({"metadata": merged})

    def _add_tag(self, request: Request, server_id: str, tag: str) -> Response:
        clean_tags([tag])
        server = self._changeable(server_id, "update tag")
        if tag in server.tags:
            return json_answer(status=204)
        server.change(tags=[*server.tags, tag])
        return json_answer(status=201)

    def _drop_tag(
        self, _request: Request, server_id: str, tag: str
    ) -> Response:
        server = self._changeable(server_id, "delete tag")
        if tag not in server.tags:
            raise Refused(404, f"Instance {server_id} has no tag '{tag}'")
        server.change(tags=[t for t in server.tags if t != tag])
        return json_answer(status=204)


def _version(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)

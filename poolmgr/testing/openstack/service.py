"""The base of the services: requests, responses and routes."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from aiohttp.web import BaseRequest, Response

from poolmgr.testing.openstack.fault import Fate
from poolmgr.testing.openstack.record import Call
from poolmgr.testing.openstack.state import State

Json = dict[str, Any]
Handler = Callable[..., Response]


@dataclass(eq=False)
class Refused(Exception):
    """An error response of a service.

    :ivar status: the HTTP status
    :ivar message: the error message
    :ivar kind: the type of the error, for Neutron
    :ivar headers: headers of the response
    """

    status: int
    message: str
    kind: str = "HTTPError"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Request:
    """A request to a service.

    :ivar http: the HTTP request
    :ivar call: its entry in the record
    :ivar url: the URL of the cloud, without a slash at the end
    :ivar fate: the later effect of a fault on the resource
    :ivar microversion: the microversion of the compute API
    """

    http: BaseRequest
    call: Call
    url: str
    fate: Fate
    microversion: tuple[int, int] = (2, 1)

    def resource(self, kind: str) -> Any:
        """Return a field of the body, such as "server", or None."""
        body = self.call.body
        return body.get(kind) if isinstance(body, dict) else None


def json_answer(
    body: Any = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a JSON response.

    :param body: an object to encode, or JSON as text or bytes; "\\udce9" in a
        text becomes the byte E9
    """
    if not isinstance(body, bytes | None):
        text = body if isinstance(body, str) else json.dumps(body)
        body = text.encode("utf-8", "surrogateescape")
    every = {"Content-Type": "application/json", **(headers or {})}
    return Response(body=body, status=status, headers=every)


def html_answer(
    text: str, status: int, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response with an HTML page."""
    title = f"{status} {HTTPStatus(status).phrase}"
    page = (
        f"<html><head><title>{title}</title></head>"
        f"<body><h1>{title}</h1>{text}</body></html>"
    )
    every = {"Content-Type": "text/html; charset=UTF-8", **(headers or {})}
    return Response(body=page.encode(), status=status, headers=every)


class Service:
    """The base class of the services.

    :cvar name: the type in the catalog, and the prefix of the paths
    :cvar version: the version in the paths; the record leaves it out
    :cvar version_id: the id in the version document
    """

    name: str
    version: str
    version_id: str

    def __init__(self, state: State) -> None:
        self._state = state
        self._routes = [
            (method, re.compile(path), handler)
            for method, path, handler in self.routes()
        ]

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Return HTTP method, regular expression of the path, and handler.

        Handlers are called with the request and the expression's groups.
        """
        raise NotImplementedError

    def version_document(self, url: str) -> Json:
        """Return its version document."""
        href = f"{url}/{self.name}{self.version}/"
        links = [{"rel": "self", "href": href}]
        return {"id": self.version_id, "status": "CURRENT", "links": links}

    def versions(self, url: str, root: bool) -> Response:
        """Return the response for its root, or the root of its version."""
        document = self.version_document(url)
        body = {"versions": [document]} if root else {"version": document}
        return json_answer(body)

    def refusal(self, error: Refused) -> Response:
        """Return an error in the service's own format."""
        raise NotImplementedError

    def unknown_path(self) -> Response:
        """Return the response for an unknown path."""
        message = "The resource could not be found."
        return self.refusal(Refused(404, message, "HTTPNotFound"))

    def unauthorized(self, url: str) -> Response:
        """Return the response for an invalid token."""
        message = "The request you have made requires authentication."
        error = {"code": 401, "title": "Unauthorized", "message": message}
        where = {"WWW-Authenticate": f'Keystone uri="{url}/identity/v3"'}
        return json_answer({"error": error}, 401, where)

    def answer(self, request: Request) -> Response:
        """Handle a request with a valid token."""
        allowed = False
        for method, pattern, handler in self._routes:
            match = pattern.fullmatch(request.call.path)
            if match is not None and method == request.call.method:
                try:
                    return handler(request, *match.groups())
                except Refused as error:
                    return self.refusal(error)
            allowed = allowed or match is not None
        if not allowed:
            return self.unknown_path()
        message = "The method is not allowed."
        return self.refusal(Refused(405, message, "HTTPNotAllowed"))

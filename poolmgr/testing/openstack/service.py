"""What the services have in common: requests, answers and routes."""

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
    """A request that a service refuses.

    :ivar status: the HTTP status
    :ivar message: what the service says
    :ivar kind: the type that Neutron names it by
    :ivar headers: headers of the answer
    """

    status: int
    message: str
    kind: str = "HTTPError"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Request:
    """A request to a service.

    :ivar http: as it came in
    :ivar call: what the record has of it
    :ivar url: of this cloud, without a slash at its end
    :ivar fate: what a fault has in store for what the request makes
    :ivar microversion: that compute answers in
    """

    http: BaseRequest
    call: Call
    url: str
    fate: Fate
    microversion: tuple[int, int] = (2, 1)

    def resource(self, kind: str) -> Any:
        """What the body has by the name of a kind of resource; or None."""
        body = self.call.body
        return body.get(kind) if isinstance(body, dict) else None


def json_answer(
    body: Any = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An answer in JSON.

    :param body: JSON to be, or text or bytes that are JSON already; in a
        text "\\udce9" is the byte E9
    """
    if not isinstance(body, bytes | None):
        text = body if isinstance(body, str) else json.dumps(body)
        body = text.encode("utf-8", "surrogateescape")
    every = {"Content-Type": "application/json", **(headers or {})}
    return Response(body=body, status=status, headers=every)


def html_answer(
    text: str, status: int, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer that is a page of HTML."""
    title = f"{status} {HTTPStatus(status).phrase}"
    page = (
        f"<html><head><title>{title}</title></head>"
        f"<body><h1>{title}</h1>{text}</body></html>"
    )
    every = {"Content-Type": "text/html; charset=UTF-8", **(headers or {})}
    return Response(body=page.encode(), status=status, headers=every)


class Service:
    """A service: it routes requests, and shapes what it answers.

    :cvar name: its type in the catalog, and the prefix of its paths
    :cvar version: part of the paths that the record leaves out
    :cvar version_id: what its version document says
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
        """Method, regular expression of the path, and handler.

        A handler is called with the request and the expression's groups.
        """
        raise NotImplementedError

    def version_document(self, url: str) -> Json:
        """What it tells of its version."""
        href = f"{url}/{self.name}{self.version}/"
        links = [{"rel": "self", "href": href}]
        return {"id": self.version_id, "status": "CURRENT", "links": links}

    def versions(self, url: str, root: bool) -> Response:
        """The answer at the root, or at the root of the version."""
        document = self.version_document(url)
        body = {"versions": [document]} if root else {"version": document}
        return json_answer(body)

    def refusal(self, error: Refused) -> Response:
        """A refusal in the service's own shape."""
        raise NotImplementedError

    def unknown_path(self) -> Response:
        """What the service answers for a path that it does not know."""
        message = "The resource could not be found."
        return self.refusal(Refused(404, message, "HTTPNotFound"))

    def unauthorized(self, url: str) -> Response:
        """What the service answers to a token that is not good."""
        message = "The request you have made requires authentication."
        error = {"code": 401, "title": "Unauthorized", "message": message}
        where = {"WWW-Authenticate": f'Keystone uri="{url}/identity/v3"'}
        return json_answer({"error": error}, 401, where)

    def answer(self, request: Request) -> Response:
        """The answer to a request with a token that is good."""
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

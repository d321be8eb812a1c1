"""What the services have in common: requests, answers and routes."""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from poolmgr.testing.openstack.errors import Refused
from poolmgr.testing.openstack.fault import Fate

Json = dict[str, Any]


@dataclass
class Request:
    """A request to a service.

    :ivar path: without the service's prefix
    :ivar query: its parameters, in order
    :ivar headers: by name, in any case
    :ivar body: its JSON, parsed; None without
    :ivar url: of this cloud, without a slash at its end
    :ivar fate: what a fault has in store for what the request makes
    :ivar microversion: that compute answers in
    """

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    body: Any
    url: str
    fate: Fate = field(default_factory=Fate)
    microversion: tuple[int, int] = (2, 1)

    def all(self, name: str) -> list[str]:
        """The values of a parameter."""
        return [value for key, value in self.query if key == name]

    def one(self, name: str) -> str | None:
        """The last value of a parameter."""
        values = self.all(name)
        return values[-1] if values else None


@dataclass
class Answer:
    """An answer.

    :ivar body: JSON to be, or text or bytes that are written already
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"

    def encoded(self) -> bytes:
        """The body as bytes; "\\udce9" in a text is the byte E9."""
        if self.body is None:
            return b""
        if isinstance(self.body, bytes):
            return self.body
        text = self.body
        text = text if isinstance(text, str) else json.dumps(text)
        return text.encode("utf-8", "surrogateescape")


Handler = Callable[..., Answer]


class Service:
    """A service: it routes requests, and shapes what it answers.

    :cvar name: as in the catalog's type
    :cvar prefix: of its paths
    :cvar version: part of the paths that the record leaves out
    """

    name: str
    prefix: str
    version: str

    def __init__(self) -> None:
        self._routes = [
            (method, re.compile(path), handler)
            for method, path, handler in self.routes()
        ]

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Method, regular expression of the path, and handler.

        A handler is called with the request and the expression's groups.
        """
        raise NotImplementedError

    def versions(self, url: str, whole: bool) -> Answer:
        """The version document: that of the root, or of the version."""
        raise NotImplementedError

    def refusal(self, error: Refused) -> Answer:
        """A refusal in the service's own shape."""
        raise NotImplementedError

    def not_found(self) -> Answer:
        """What the service answers for a path that it does not know."""
        message = "The resource could not be found."
        return self.refusal(Refused(404, message, "HTTPNotFound"))

    def unauthorized(self, url: str) -> Answer:
        """What the service answers to a token that is not good."""
        return unauthorized(url)

    def answer(self, request: Request) -> Answer:
        """The answer to a request with a token that is good."""
        try:
            return self.handle(request)
        except Refused as error:
            return self.refusal(error)

    def handle(self, request: Request) -> Answer:
        """Find the handler and call it.

        :raises Refused: by the handler
        """
        allowed = False
        for method, pattern, handler in self._routes:
            match = pattern.fullmatch(request.path)
            if match is not None and method == request.method:
                return handler(request, *match.groups())
            allowed = allowed or match is not None
        if allowed:
            raise Refused(405, "The method is not allowed.", "HTTPNotAllowed")
        return self.not_found()


def unauthorized(url: str) -> Answer:
    """What the services answer to a token that is not good."""
    message = "The request you have made requires authentication."
    error = {"code": 401, "title": "Unauthorized", "message": message}
    where = {"WWW-Authenticate": f'Keystone uri="{url}/identity/v3"'}
    return Answer(401, {"error": error}, where)


def request_id() -> dict[str, str]:
    """The header that names a request in the services' logs."""
    return {"X-OpenStack-Request-Id": f"req-{uuid.uuid4()}"}


def page(title: str, text: str, status: int, **headers: str) -> Answer:
    """An HTML page."""
    body = (
        f"<html>\n <head>\n  <title>{status} {title}</title>\n </head>\n"
        f" <body>\n  <h1>{status} {title}</h1>\n  {text}<br /><br />\n\n\n\n"
        " </body>\n</html>"
    )
    return Answer(status, body, headers, "text/html; charset=UTF-8")

"""Identity, as Keystone is: tokens."""

import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from poolmgr.testing.openstack import seeds
from poolmgr.testing.openstack.clock import keystone_text
from poolmgr.testing.openstack.errors import Refused
from poolmgr.testing.openstack.service import (
    Answer,
    Handler,
    Json,
    Request,
    Service,
    unauthorized,
)

_ENDPOINTS = {
    "identity": "/identity",
    "compute": "/compute/v2.1",
    "network": "/network",
    "image": "/image",
}
_NAMES = {
    "identity": "keystone",
    "compute": "nova",
    "network": "neutron",
    "image": "glance",
}
#: An application credential; its secret is the user's password.
CREDENTIAL = "demo"
CREDENTIAL_ID = seeds.seed_id("application credential", CREDENTIAL)


class Identity(Service):
    """Gives tokens out and knows which are good."""

    name, prefix, version = "identity", "/identity", "/v3"

    def __init__(self, lifetime: float) -> None:
        super().__init__()
        self._lifetime = lifetime
        self._lock = threading.Lock()
        self._tokens: dict[str, float] = {}

    def routes(self) -> list[tuple[str, str, Handler]]:
        """See :meth:`Service.routes`."""
        return [
            ("POST", "/auth/tokens", self._issue),
            ("GET", "/auth/tokens", self._validate),
            ("DELETE", "/auth/tokens", self._revoke),
            ("GET", "/auth/catalog", self._catalog),
        ]

    def good(self, token: str | None) -> bool:
        """Whether a token is accepted now."""
        with self._lock:
            return self._tokens.get(token or "", 0.0) > time.monotonic()

    def expire(self) -> None:
        """No token is accepted any more."""
        with self._lock:
            self._tokens.clear()

    def versions(self, url: str, whole: bool) -> Answer:
        """See :meth:`Service.versions`."""
        version = {
            "id": "v3.14",
            "status": "stable",
            "updated": "2020-04-07T00:00:00Z",
            "links": [{"rel": "self", "href": f"{url}/identity/v3/"}],
            "media-types": [],
        }
        if whole:
            return Answer(300, {"versions": {"values": [version]}})
        return Answer(200, {"version": version})

    def refusal(self, error: Refused) -> Answer:
        """See :meth:`Service.refusal`."""
        body = {"code": error.status, "message": error.message}
        return Answer(error.status, {"error": body}, error.headers)

    def _issue(self, request: Request) -> Answer:
        proven = self._proven(_at(request.body, "auth", "identity"))
        if not (proven and _is_in_scope(_at(request.body, "auth", "scope"))):
            return unauthorized(request.url)
        token = f"gAAAAAB{uuid.uuid4().hex}{uuid.uuid4().hex}"
        with self._lock:
            self._tokens[token] = time.monotonic() + self._lifetime
        methods = _at(request.body, "auth", "identity", "methods")
        body = self._token(request.url, methods, self._lifetime)
        return Answer(201, body, {"X-Subject-Token": token})

    def _validate(self, request: Request) -> Answer:
        subject = request.headers.get("X-Subject-Token")
        if not self.good(request.headers.get("X-Auth-Token")):
            return unauthorized(request.url)
        if not self.good(subject):
            raise Refused(404, f"Could not find token: {subject}.")
        with self._lock:
            left = self._tokens[str(subject)] - time.monotonic()
        return Answer(200, self._token(request.url, ["password"], left))

    def _revoke(self, request: Request) -> Answer:
        if not self.good(request.headers.get("X-Auth-Token")):
            return unauthorized(request.url)
        with self._lock:
            self._tokens.pop(request.headers.get("X-Subject-Token", ""), None)
        return Answer(204)

    def _catalog(self, request: Request) -> Answer:
        if not self.good(request.headers.get("X-Auth-Token")):
            return unauthorized(request.url)
        return Answer(200, {"catalog": _services(request.url)})

    def _proven(self, identity: Any) -> bool:
        proofs: dict[str, Callable[[Any], bool]] = {
            "password": _password_is_right,
            "application_credential": _credential_is_right,
            "token": lambda given: self.good(_at(given, "token", "id")),
        }
        methods = _at(identity, "methods") or []
        return bool(methods) and all(
            method in proofs and proofs[method](identity) for method in methods
        )

    def _token(self, url: str, methods: list[str], left: float) -> Json:
        domain = {"id": seeds.DOMAIN, "name": "Default"}
        return {
            "token": {
                "methods": methods,
                "user": {
                    "id": seeds.USER_ID,
                    "name": seeds.USERNAME,
                    "domain": domain,
                    "password_expires_at": None,
                },
                "project": {
                    "id": seeds.PROJECT_ID,
                    "name": seeds.PROJECT,
                    "domain": domain,
                },
                "is_domain": False,
                "roles": [{"id": seeds.USER_ID, "name": "member"}],
                "audit_ids": [uuid.uuid4().hex[:22]],
                "issued_at": keystone_text(0.0),
                "expires_at": keystone_text(left),
                "catalog": _services(url),
            }
        }


def _at(value: Any, *path: str) -> Any:
    """What is in a JSON value at a path; None when it is not there."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _password_is_right(identity: Any) -> bool:
    user = _at(identity, "password", "user")
    known = _is(user, seeds.USER_ID, seeds.USERNAME)
    return known and bool(_at(user, "password") == seeds.PASSWORD)


def _credential_is_right(identity: Any) -> bool:
    given = _at(identity, "application_credential")
    by_name = _at(given, "name") == CREDENTIAL and _is(
        _at(given, "user"), seeds.USER_ID, seeds.USERNAME
    )
    known = by_name or _at(given, "id") == CREDENTIAL_ID
    return known and bool(_at(given, "secret") == seeds.PASSWORD)


def _is_in_scope(scope: Any) -> bool:
    """Whether a scope is the one project there is; none asked for is."""
    if scope is None:
        return True
    return _is(_at(scope, "project"), seeds.PROJECT_ID, seeds.PROJECT)


def _is(given: Any, known_id: str, known_name: str) -> bool:
    """Whether a user or project is the one known, by id or name."""
    domain = _at(given, "domain")
    in_domain = (
        _at(domain, "id") == seeds.DOMAIN or _at(domain, "name") == "Default"
    )
    by_name = _at(given, "name") == known_name and in_domain
    return by_name or bool(_at(given, "id") == known_id)


def _services(url: str) -> list[Json]:
    return [
        {
            "id": seeds.seed_id("service", kind),
            "type": kind,
            "name": _NAMES[kind],
            "endpoints": [
                {
                    "id": seeds.seed_id("endpoint", kind),
                    "interface": "public",
                    "region": seeds.REGION,
                    "region_id": seeds.REGION,
                    "url": url + path,
                }
            ],
        }
        for kind, path in _ENDPOINTS.items()
    ]

"""The identity service, like Keystone."""

import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp.web import Response
from keystoneauth1.fixture import V3Token

from poolmgr.testing.openstack import seeds
from poolmgr.testing.openstack.seeds import seed_id
from poolmgr.testing.openstack.service import (
    Handler,
    Json,
    Refused,
    Request,
    Service,
    json_answer,
)
from poolmgr.testing.openstack.state import State

#: The catalog: type, name and endpoint path of each service.
_CATALOG = (
    ("identity", "keystone", "/identity"),
    ("compute", "nova", "/compute/v2.1"),
    ("network", "neutron", "/network"),
    ("image", "glance", "/image"),
)
_DOMAIN_NAME = "Default"
#: An application credential; its secret is the user's password.
CREDENTIAL = "demo"
CREDENTIAL_ID = seed_id("application credential", CREDENTIAL)


class Identity(Service):
    """Issues and validates tokens."""

    name, version, version_id = "identity", "/v3", "v3.14"

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._tokens: dict[str, float] = {}

    def routes(self) -> list[tuple[str, str, Handler]]:
        """See :meth:`Service.routes`."""
        return [("POST", "/auth/tokens", self._issue)]

    def is_valid(self, token: str | None) -> bool:
        """Return whether a token is valid."""
        return self._tokens.get(token or "", 0.0) > time.monotonic()

    def expire(self) -> None:
        """Invalidate all tokens."""
        self._tokens.clear()

    def versions(self, url: str, root: bool) -> Response:
        """See :meth:`Service.versions`; Keystone's root has its own shape."""
        if not root:
            return super().versions(url, root)
        values = [self.version_document(url)]
        return json_answer({"versions": {"values": values}}, 300)

    def refusal(self, error: Refused) -> Response:
        """See :meth:`Service.refusal`."""
        body = {"code": error.status, "message": error.message}
        return json_answer({"error": body}, error.status, error.headers)

    def _issue(self, request: Request) -> Response:
        auth = request.resource("auth")
        identity = _at(auth, "identity")
        methods = _at(identity, "methods") or []
        proven = methods and all(self._is_proven(m, identity) for m in methods)
        if not proven or not _in_scope(_at(auth, "scope")):
            return self.unauthorized(request.url)
        token = f"gAAAAAB{uuid.uuid4().hex}{uuid.uuid4().hex}"
        left = self._state.settings.token_lifetime
        self._tokens[token] = time.monotonic() + left
        body = _token(request.url, methods, left)
        return json_answer(body, 201, {"X-Subject-Token": token})

    def _is_proven(self, method: str, identity: Any) -> bool:
        """Return whether the credentials for a method are right."""
        given = _at(identity, method)
        match method:
            case "token":
                return self.is_valid(_at(given, "id"))
            case "password":
                user = _at(given, "user")
                known = _is_user(user)
                secret = _at(user, "password")
            case "application_credential":
                name, user = _at(given, "name"), _at(given, "user")
                by_name = name == CREDENTIAL and _is_user(user)
                known = by_name or _at(given, "id") == CREDENTIAL_ID
                secret = _at(given, "secret")
            case _:
                return False
        return known and bool(secret == seeds.PASSWORD)


def _token(url: str, methods: list[str], left: float) -> Json:
    now = datetime.now(UTC)
    token = V3Token(
        issued=now,
        expires=now + timedelta(seconds=left),
        methods=methods,
        user_id=seeds.USER_ID,
        user_name=seeds.USERNAME,
        user_domain_id=seeds.DOMAIN,
        user_domain_name=_DOMAIN_NAME,
        project_id=seeds.PROJECT_ID,
        project_name=seeds.PROJECT,
        project_domain_id=seeds.DOMAIN,
        project_domain_name=_DOMAIN_NAME,
    )
    token.add_role(name="member")
    for kind, name, path in _CATALOG:
        service = token.add_service(kind, name, seed_id("service", kind))
        id_ = seed_id("endpoint", kind)
        service.add_endpoint("public", url + path, seeds.REGION, id_)
    return token


def _at(value: Any, key: str) -> Any:
    """Return a value of a JSON object; None if it has no such key."""
    return value.get(key) if isinstance(value, dict) else None


def _is_user(user: Any) -> bool:
    return _is(user, seeds.USER_ID, seeds.USERNAME)


def _in_scope(scope: Any) -> bool:
    """Return whether a scope is empty or the seeded project."""
    project = _at(scope, "project")
    return scope is None or _is(project, seeds.PROJECT_ID, seeds.PROJECT)


def _is(given: Any, known_id: str, known_name: str) -> bool:
    """Return whether a user or project is the seeded one."""
    domain = _at(given, "domain")
    in_domain = (
        _at(domain, "id") == seeds.DOMAIN
        or _at(domain, "name") == _DOMAIN_NAME
    )
    by_name = _at(given, "name") == known_name and in_domain
    return by_name or bool(_at(given, "id") == known_id)

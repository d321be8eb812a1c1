"""From HTTP to the services and back, by way of the faults."""

import asyncio
import json
import time
from typing import Any

from aiohttp import web

from poolmgr.testing.openstack import sending
from poolmgr.testing.openstack.compute import Compute
from poolmgr.testing.openstack.control import Control
from poolmgr.testing.openstack.errors import Refused
from poolmgr.testing.openstack.exchange import Exchange
from poolmgr.testing.openstack.fault import FaultRules
from poolmgr.testing.openstack.identity import Identity
from poolmgr.testing.openstack.image import Image
from poolmgr.testing.openstack.network import Network
from poolmgr.testing.openstack.rate import RateLimit
from poolmgr.testing.openstack.record import Call, Record
from poolmgr.testing.openstack.service import (
    Answer,
    Service,
    request_id,
)
from poolmgr.testing.openstack.state import State

_RECORDED = (
    "User-Agent",
    "If-Match",
    "X-OpenStack-Request-Id",
    "OpenStack-API-Version",
)


class Front:
    """Handles every HTTP request of a loopback cloud.

    :ivar url: of the cloud, without a slash at its end; has to be set before
        the first request
    """

    def __init__(
        self, state: State, record: Record, faults: FaultRules
    ) -> None:
        self.url = ""
        self.identity = Identity(state.settings.token_lifetime)
        self._state = state
        self._record = record
        self._faults = faults
        self._control = Control(record, faults)
        others: list[Service] = [Compute(state), Network(state), Image(state)]
        self._services = {s.prefix: s for s in [self.identity, *others]}
        rate = state.settings.rate_limit
        self._limits = {s.name: RateLimit(rate) for s in others if rate}

    async def __call__(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, or not."""
        raw = await http.read()
        first, _slash, rest = http.path.lstrip("/").partition("/")
        service = self._services.get(f"/{first}")
        if service is None:
            answer = self._control.answer(http.method, http.path, _json(raw))
            return sending.whole(answer)
        body = _json(raw)
        call = _call(service, http, f"/{rest}", body)
        self._record.add(call)
        exchange = Exchange(http, service, call, self._faults.strike(call))
        seconds = self._state.settings.latency_of(service.name)
        if seconds:
            await asyncio.sleep(seconds)
        if exchange.suffers_before:
            instead = await exchange.instead()
            if instead is not None:
                return instead
        answer = self._answer(exchange, malformed=bool(raw) and body is None)
        answer.headers.update(request_id())
        return await exchange.sent(answer)

    def _answer(self, exchange: Exchange, malformed: bool) -> Answer:
        http, service = exchange.http, exchange.service
        if exchange.call.path == "/":
            root = http.path.strip("/") == service.prefix.strip("/")
            return service.versions(self.url, root)
        limit = self._limits.get(service.name)
        if limit is not None and not limit.allows():
            return service.refusal(_too_many())
        token = http.headers.get("X-Auth-Token")
        if service is not self.identity and not self.identity.good(token):
            return service.unauthorized(self.url)
        if malformed:
            message = "Malformed request body"
            return service.refusal(Refused(400, message, "HTTPBadRequest"))
        with self._state.settled():
            return service.answer(exchange.request(self.url))


def _call(
    service: Service, http: web.BaseRequest, rest: str, body: Any
) -> Call:
    query: dict[str, str] = {}
    for name, value in http.query.items():
        query[name] = f"{query[name]},{value}" if name in query else value
    return Call(
        when=time.monotonic(),
        service=service.name,
        method=http.method,
        path=rest.removeprefix(service.version).rstrip("/") or "/",
        query=query,
        headers={
            name: http.headers[name]
            for name in _RECORDED
            if name in http.headers
        },
        body=body,
    )


def _json(raw: bytes) -> Any:
    """What is in a body; None when nothing, or no JSON, is."""
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return None


def _too_many() -> Refused:
    headers = {"Retry-After": "1"}
    message = "This request was rate-limited."
    return Refused(429, message, "HTTPTooManyRequests", headers)

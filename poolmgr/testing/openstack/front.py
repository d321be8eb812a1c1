"""The HTTP front end: routes requests to services, and applies faults."""

import asyncio
import json
import time
import uuid
from dataclasses import asdict
from typing import Any

from aiohttp.web import BaseRequest, Response, StreamResponse

from poolmgr.testing.openstack.compute import Compute
from poolmgr.testing.openstack.exchange import Exchange
from poolmgr.testing.openstack.fault import Fate, Fault, FaultRules
from poolmgr.testing.openstack.identity import Identity
from poolmgr.testing.openstack.image import Image
from poolmgr.testing.openstack.network import Network
from poolmgr.testing.openstack.record import Call, Record
from poolmgr.testing.openstack.service import (
    Refused,
    Request,
    Service,
    json_answer,
)
from poolmgr.testing.openstack.state import State

_RECORDED = (
    "User-Agent",
    "If-Match",
    "X-OpenStack-Request-Id",
    "OpenStack-API-Version",
)


class Front:
    """Handles all HTTP requests of a loopback cloud.

    :ivar url: the URL of the cloud, without a slash at the end; must be set
        before the first request
    """

    def __init__(
        self, state: State, record: Record, faults: FaultRules
    ) -> None:
        self.url = ""
        self.identity = Identity(state)
        self._state = state
        self._record = record
        self._faults = faults
        self._control = _Control(record, faults)
        others: list[Service] = [Compute(state), Network(state), Image(state)]
        self._services = {s.name: s for s in [self.identity, *others]}
        rate = state.settings.rate_limit
        self._limits = {s.name: _RateLimit(rate) for s in others if rate}

    async def __call__(self, http: BaseRequest) -> StreamResponse:
        """Handle a request."""
        raw = await http.read()
        body = _parse_json(raw)
        first, _slash, rest = http.path.lstrip("/").partition("/")
        service = self._services.get(first)
        if service is None:
            return self._control.answer(http.method, http.path, body)
        call = _make_call(service, http, f"/{rest}", body)
        self._record.add(call)
        exchange = Exchange(http, service, call, self._faults.strike(call))
        await asyncio.sleep(self._state.settings.latency_of(service.name))
        malformed = bool(raw) and body is None
        return await exchange.run(lambda: self._answer(exchange, malformed))

    def _answer(self, exchange: Exchange, malformed: bool) -> Response:
        answer = self._handle(exchange, malformed)
        answer.headers["X-OpenStack-Request-Id"] = f"req-{uuid.uuid4()}"
        return answer

    def _handle(self, exchange: Exchange, malformed: bool) -> Response:
        http, service, call = exchange.http, exchange.service, exchange.call
        if call.path == "/":
            root = http.path.strip("/") == service.name
            return service.versions(self.url, root)
        limit = self._limits.get(service.name)
        if limit is not None and not limit.allows():
            headers = {"Retry-After": "1"}
            message = "This request was rate-limited."
            return service.refusal(Refused(429, message, headers=headers))
        token = http.headers.get("X-Auth-Token")
        if service is not self.identity and not self.identity.is_valid(token):
            return service.unauthorized(self.url)
        if malformed:
            return service.refusal(Refused(400, "Malformed request body"))
        fate = (exchange.fault and exchange.fault.fate) or Fate()
        request = Request(http, call, self.url, fate)
        with self._state.settled():
            return service.answer(request)


class _Control:
    """The control API: ``/record`` and ``/faults``."""

    def __init__(self, record: Record, faults: FaultRules) -> None:
        self._record = record
        self._faults = faults

    def answer(self, method: str, path: str, body: Any) -> Response:
        """Handle a request.

        GET /record returns the calls, DELETE clears them, and GET
        /record/counts returns their numbers. POST /faults adds a fault,
        DELETE removes all.
        """
        match method, path:
            case "GET", "/record":
                calls = [asdict(call) for call in self._record.calls()]
                return json_answer(calls)
            case "GET", "/record/counts":
                return json_answer(self._record.counts())
            case "DELETE", "/record":
                self._record.forget()
                return json_answer(status=204)
            case "POST", "/faults":
                return self._add_fault(body)
            case "DELETE", "/faults":
                self._faults.clear()
                return json_answer(status=204)
        return json_answer({"error": f"there is no {method} {path} here"}, 404)

    def _add_fault(self, body: Any) -> Response:
        if not isinstance(body, dict):
            return json_answer({"error": "a fault is a JSON object"}, 400)
        try:
            self._faults.add(Fault.from_json(body))
        except ValueError as error:
            return json_answer({"error": str(error)}, 400)
        return json_answer(body, 201)


class _RateLimit:
    """Limits the calls in a second; a burst may have as many."""

    def __init__(self, rate: float) -> None:
        self._pause = 1 / rate
        self._ahead = max(0.0, 1.0 - self._pause)
        self._next = 0.0

    def allows(self) -> bool:
        """Return whether the limit allows a call now, and count it."""
        now = time.monotonic()
        if self._next > now + self._ahead:
            return False
        self._next = max(self._next, now) + self._pause
        return True


def _make_call(
    service: Service, http: BaseRequest, rest: str, body: Any
) -> Call:
    names = dict.fromkeys(http.query)
    return Call(
        when=time.monotonic(),
        service=service.name,
        method=http.method,
        path=rest.removeprefix(service.version).rstrip("/") or "/",
        query={name: ",".join(http.query.getall(name)) for name in names},
        headers={n: http.headers[n] for n in _RECORDED if n in http.headers},
        body=body,
    )


def _parse_json(raw: bytes) -> Any:
    """Parse a body; return None if it is empty or not JSON."""
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return None

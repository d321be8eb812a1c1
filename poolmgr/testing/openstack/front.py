"""From HTTP to the services and back, by way of the faults."""

import asyncio
import json
import time
from datetime import datetime
from email.utils import format_datetime
from typing import Any

from aiohttp import web

from poolmgr.testing.openstack import sending
from poolmgr.testing.openstack.compute import Compute
from poolmgr.testing.openstack.control import Control
from poolmgr.testing.openstack.errors import Refused
from poolmgr.testing.openstack.fault import Fate, Fault, FaultRules
from poolmgr.testing.openstack.identity import Identity
from poolmgr.testing.openstack.image import Image
from poolmgr.testing.openstack.network import Network
from poolmgr.testing.openstack.rate import RateLimit
from poolmgr.testing.openstack.record import Call, Record
from poolmgr.testing.openstack.service import (
    Answer,
    Request,
    Service,
    page,
    request_id,
)
from poolmgr.testing.openstack.state import State

_RECORDED = (
    "User-Agent",
    "If-Match",
    "X-OpenStack-Request-Id",
    "OpenStack-API-Version",
)
#: Stands for a body that is no JSON.
_MALFORMED = object()


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
        call = _call(service, http, f"/{rest}", _json(raw))
        self._record.add(call)
        fault = self._faults.strike(call)
        seconds = self._state.settings.latency_of(service.name)
        if seconds:
            await asyncio.sleep(seconds)
        return await self._answered(http, service, call, fault)

    async def _answered(
        self,
        http: web.BaseRequest,
        service: Service,
        call: Call,
        fault: Fault | None,
    ) -> web.StreamResponse:
        """The answer to a call, as the fault has it."""
        suffers = None if fault is None else _Suffering(http, service, fault)
        if suffers and not suffers.fault.after:
            instead = await suffers.instead(call)
            if instead is not None:
                return instead
        answer = self._answer(http, service, call, fault)
        answer.headers.update(request_id())
        call.status = answer.status
        if suffers:
            return await suffers.sent(call, answer)
        return sending.whole(answer)

    def _answer(
        self,
        http: web.BaseRequest,
        service: Service,
        call: Call,
        fault: Fault | None,
    ) -> Answer:
        if call.path == "/":
            root = http.path.strip("/") == service.prefix.strip("/")
            return service.versions(self.url, root)
        limit = self._limits.get(service.name)
        if limit is not None and not limit.allows():
            return service.refusal(_too_many())
        token = http.headers.get("X-Auth-Token")
        if service is not self.identity and not self.identity.good(token):
            return service.unauthorized(self.url)
        if call.body is _MALFORMED:
            call.body = None
            message = "Malformed request body"
            return service.refusal(Refused(400, message, "HTTPBadRequest"))
        request = Request(
            method=call.method,
            path=call.path,
            query=list(http.query.items()),
            headers=http.headers,
            body=call.body,
            url=self.url,
            fate=(fault and fault.fate) or Fate(),
        )
        with self._state.settled():
            return service.answer(request)


class _Suffering:
    """A request on which a fault acts."""

    def __init__(
        self, http: web.BaseRequest, service: Service, fault: Fault
    ) -> None:
        self.fault = fault
        self._http = http
        self._service = service

    async def instead(self, call: Call) -> web.StreamResponse | None:
        """What comes in place of the true answer; None: nothing does."""
        fault = self.fault
        if fault.hang is not None:
            await asyncio.sleep(fault.hang)
        if fault.reset or fault.drop:
            call.status = None
            return sending.closed(self._http, fault.reset)
        answer = self._false_answer()
        if answer is None:
            return None
        call.status = answer.status
        return sending.whole(answer)

    async def sent(self, call: Call, answer: Answer) -> web.StreamResponse:
        """The true answer, or what is left of it."""
        fault = self.fault
        if fault.after:
            instead = await self.instead(call)
            if instead is not None:
                return instead
        if fault.truncate:
            return await sending.half(self._http, answer)
        if fault.drip is not None:
            return await sending.dripping(self._http, answer, fault.drip)
        return sending.whole(answer)

    def _false_answer(self) -> Answer | None:
        fault = self.fault
        if fault.html:
            return page("OK", "The gateway has something to say.", 200)
        if fault.status is None:
            return None
        headers = dict(fault.headers or {})
        if fault.retry_after is not None:
            headers["Retry-After"] = _retry_after(fault.retry_after)
        message = f"A fault answers with {fault.status}."
        refused = Refused(fault.status, message, "HTTPError", headers)
        answer = self._service.refusal(refused)
        if fault.body is not None:
            return Answer(fault.status, fault.body, headers)
        return answer


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
    if not raw:
        return None
    try:
        return json.loads(raw)
    except ValueError:
        return _MALFORMED


def _too_many() -> Refused:
    headers = {"Retry-After": "1"}
    message = "This request was rate-limited."
    return Refused(429, message, "HTTPTooManyRequests", headers)


def _retry_after(value: float | datetime) -> str:
    if isinstance(value, datetime):
        return format_datetime(value, usegmt=True)
    return f"{value:g}"

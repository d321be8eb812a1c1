"""One request and its answer, and the fault that acts on them."""

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import format_datetime

from aiohttp import web

from poolmgr.testing.openstack import sending
from poolmgr.testing.openstack.errors import Refused
from poolmgr.testing.openstack.fault import Fate, Fault
from poolmgr.testing.openstack.record import Call
from poolmgr.testing.openstack.service import Answer, Request, Service, page


@dataclass
class Exchange:
    """A request that came in, with the fault that it suffers."""

    http: web.BaseRequest
    service: Service
    call: Call
    fault: Fault | None

    @property
    def suffers_before(self) -> bool:
        """Whether the fault acts before the request takes effect."""
        return self.fault is not None and not self.fault.after

    def request(self, url: str) -> Request:
        """The request for its service.

        :param url: of the cloud
        """
        return Request(
            method=self.call.method,
            path=self.call.path,
            query=list(self.http.query.items()),
            headers=self.http.headers,
            body=self.call.body,
            url=url,
            fate=(self.fault and self.fault.fate) or Fate(),
        )

    async def instead(self) -> web.StreamResponse | None:
        """What comes in place of the true answer; None: nothing does."""
        fault = self.fault
        if fault is None:
            return None
        if fault.hang is not None:
            await asyncio.sleep(fault.hang)
        if fault.reset or fault.drop:
            return sending.closed(self.http, fault.reset)
        if fault.html:
            text = "The gateway has something to say."
            return self._whole(page("OK", text, 200))
        if fault.status is not None:
            return self._whole(self._refusal(fault, fault.status))
        return None

    async def sent(self, answer: Answer) -> web.StreamResponse:
        """The true answer, or what is left of it."""
        fault = self.fault
        if fault is None:
            return self._whole(answer)
        if fault.after:
            instead = await self.instead()
            if instead is not None:
                return instead
        if fault.truncate:
            self.call.status = answer.status
            return await sending.half(self.http, answer)
        if fault.change is not None and answer.encoded():
            changed = fault.change(json.loads(answer.encoded()))
            return self._whole(replace(answer, body=json.dumps(changed)))
        if fault.drip_head is not None:
            return await sending.endless(self.http, fault.drip_head)
        if fault.drip is not None:
            self.call.status = answer.status
            return await sending.dripping(self.http, answer, fault.drip)
        return self._whole(answer)

    def _whole(self, answer: Answer) -> web.Response:
        self.call.status = answer.status
        return sending.whole(answer)

    def _refusal(self, fault: Fault, status: int) -> Answer:
        headers = dict(fault.headers or {})
        if fault.retry_after is not None:
            headers["Retry-After"] = _retry_after(fault.retry_after)
        if fault.body is not None:
            return Answer(status, fault.body, headers)
        message = f"A fault answers with {status}."
        return self.service.refusal(
            Refused(status, message, "HTTPError", headers)
        )


def _retry_after(value: float | datetime) -> str:
    if isinstance(value, datetime):
        return format_datetime(value, usegmt=True)
    return f"{value:g}"

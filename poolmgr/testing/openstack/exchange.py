"""A request, its response, and the fault that applies to them."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from aiohttp.web import BaseRequest, Response, StreamResponse

from poolmgr.testing.openstack.fault import Fault
from poolmgr.testing.openstack.record import Call
from poolmgr.testing.openstack.service import (
    Refused,
    Service,
    html_answer,
    json_answer,
)


@dataclass
class Exchange:
    """A request and the fault that applies to it, if any."""

    http: BaseRequest
    service: Service
    call: Call
    fault: Fault | None

    async def run(self, answer: Callable[[], Response]) -> StreamResponse:
        """Return the response, changed by the fault.

        :param answer: handles the request and returns the true response
        """
        fault = self.fault
        if fault is None:
            return self._send(answer())
        true = answer() if fault.after else None
        replacement = await self._replacement(fault)
        if replacement is not None:
            return replacement
        return await self._damage(fault, answer() if true is None else true)

    async def _replacement(self, fault: Fault) -> StreamResponse | None:
        """Return the response that replaces the true one, or None."""
        if fault.hang is not None:
            await asyncio.sleep(fault.hang)
        if fault.reset or fault.drop:
            return self._close(fault.reset)
        if fault.html:
            return self._send(html_answer("The gateway speaks.", 200))
        if fault.status is None:
            return None
        headers = dict(fault.headers or {})
        if isinstance(fault.retry_after, datetime):
            when = format_datetime(fault.retry_after, usegmt=True)
            headers["Retry-After"] = when
        elif fault.retry_after is not None:
            headers["Retry-After"] = f"{fault.retry_after:g}"
        if fault.body is not None:
            return self._send(json_answer(fault.body, fault.status, headers))
        message = f"A fault answers with {fault.status}."
        error = Refused(fault.status, message, headers=headers)
        return self._send(self.service.refusal(error))

    async def _damage(self, fault: Fault, answer: Response) -> StreamResponse:
        """Return the true response, damaged by the fault."""
        body = answer.body if isinstance(answer.body, bytes) else b""
        if fault.truncate:
            return await self._send_partly(answer, [body[: len(body) // 2]])
        if fault.change is not None and body:
            answer.body = json.dumps(fault.change(json.loads(body))).encode()
        if fault.drip_head is not None:
            return await self._send_endless_head(fault.drip_head)
        if fault.drip is not None:
            pieces = (body[n : n + 1] for n in range(len(body)))
            return await self._send_partly(answer, pieces, fault.drip)
        return self._send(answer)

    def _send(self, answer: Response) -> Response:
        self.call.status = answer.status
        return answer

    async def _send_partly(
        self, answer: Response, pieces: Iterable[bytes], pause: float = 0.0
    ) -> StreamResponse:
        """Send the full Content-Length but only some pieces, then close."""
        self.call.status = answer.status
        response = StreamResponse(status=answer.status, headers=answer.headers)
        response.content_length = answer.content_length
        response.force_close()
        # aiohttp raises these errors if the client has disconnected.
        with contextlib.suppress(ConnectionError, RuntimeError):
            await response.prepare(self.http)
            for piece in pieces:
                await response.write(piece)
                await asyncio.sleep(pause)
            if self.http.transport is not None:
                self.http.transport.close()
        return response

    async def _send_endless_head(self, pause: float) -> Response:
        """Send a header byte by byte until the client disconnects."""
        transport = self.http.transport
        if transport is not None:
            transport.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
            while not transport.is_closing():
                transport.write(b"x")
                await asyncio.sleep(pause)
        return Response()

    def _close(self, reset: bool) -> Response:
        """Close the connection, or reset it, without a response."""
        if self.http.transport is not None:
            sock = self.http.transport.get_extra_info("socket")
            if reset and sock is not None:
                now = struct.pack("ii", 1, 0)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
            self.http.transport.abort()
        # aiohttp needs a response, and then notices the closed connection.
        return Response()

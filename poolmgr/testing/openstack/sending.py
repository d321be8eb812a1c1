"""Ways to send an answer, and not to."""

import asyncio
import contextlib
import socket
import struct

from aiohttp import web

from poolmgr.testing.openstack.service import Answer

# What aiohttp raises when the client has gone.
_GONE = (ConnectionError, RuntimeError)


def whole(answer: Answer) -> web.Response:
    """The answer as it is."""
    headers = {"Content-Type": answer.content_type, **answer.headers}
    return web.Response(
        status=answer.status, headers=headers, body=answer.encoded()
    )


async def half(http: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """The first half of the answer, with the length of the whole."""
    body = answer.encoded()
    response = await _begun(http, answer, len(body))
    with contextlib.suppress(*_GONE):
        await response.write(body[: len(body) // 2])
        if http.transport is not None:
            http.transport.close()
    return response


async def dripping(
    http: web.BaseRequest, answer: Answer, pause: float
) -> web.StreamResponse:
    """The answer byte by byte.

    :param pause: seconds between two
    """
    body = answer.encoded()
    response = await _begun(http, answer, len(body))
    with contextlib.suppress(*_GONE):
        for number in range(len(body)):
            await response.write(body[number : number + 1])
            await asyncio.sleep(pause)
        await response.write_eof()
    return response


async def endless(http: web.BaseRequest, pause: float) -> web.Response:
    """A head without end, byte by byte, until the client goes.

    :param pause: seconds between two
    """
    transport = http.transport
    if transport is not None:
        transport.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not transport.is_closing():
            transport.write(b"x")
            await asyncio.sleep(pause)
    return web.Response()


def closed(http: web.BaseRequest, reset: bool) -> web.Response:
    """No answer: the connection is closed.

    :param reset: by a reset, instead of in order
    """
    if http.transport is not None:
        sock = http.transport.get_extra_info("socket")
        if reset and sock is not None:
            now = struct.pack("ii", 1, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
        http.transport.abort()
    # aiohttp wants an answer, and finds that nobody is there to get it.
    return web.Response()


async def _begun(
    http: web.BaseRequest, answer: Answer, length: int
) -> web.StreamResponse:
    headers = {
        "Content-Type": answer.content_type,
        **answer.headers,
        "Content-Length": str(length),
    }
    response = web.StreamResponse(status=answer.status, headers=headers)
    response.force_close()
    await response.prepare(http)
    return response

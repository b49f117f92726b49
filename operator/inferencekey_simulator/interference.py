"""What a fault does to a connection.

Decides how each action looks from the other end of the wire. Which call is met by which fault was decided
before.
"""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler

from inferencekey_simulator.faults import Fault
from inferencekey_simulator.inventory import to_json

DROP_AFTER = web.RequestKey("drop_after", int)
DATE_GIVEN = web.RequestKey("date_given", bool)


class Cut(web.Response):
    """Stands for an answer on a connection that was cut: nobody will see it."""


async def interfere(fault: Fault, request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a request the way a fault says; `handler` is what would have answered it."""
    if fault.action == "delay_after":
        response = await handler(request)
        await asyncio.sleep(fault.seconds)
        return response
    await asyncio.sleep(fault.seconds)
    if fault.action == "respond":
        return _canned(fault, request)
    if fault.action == "cut_before":
        return cut(request)
    if fault.action == "enormous":
        return await _enormous(fault, request)
    if fault.action == "drop":
        request[DROP_AFTER] = fault.after_events
    return await _spoiled(fault, request, await handler(request))


def cut(request: web.Request) -> Cut:
    """Cut the connection of a request at once."""
    if request.transport is not None:
        request.transport.abort()
    return Cut()


async def _spoiled(fault: Fault, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    if fault.action == "cut_after":
        return cut(request)
    if fault.action == "wrong_content_type":
        response.content_type = "text/html"
    if fault.action == "truncate" and isinstance(response, web.Response):
        return await _truncated(request, response)
    return response


def _canned(fault: Fault, request: web.Request) -> web.Response:
    if "date" in map(str.lower, fault.headers):
        request[DATE_GIVEN] = True
    if isinstance(fault.body, str):
        return web.Response(status=fault.status, headers=fault.headers, text=fault.body)
    body = to_json(fault.body) if fault.body is not None else b""
    headers = {"Content-Type": "application/json"} | fault.headers
    return web.Response(status=fault.status, headers=headers, body=body)


async def _truncated(request: web.Request, whole: web.Response) -> web.StreamResponse:
    body = whole.body if isinstance(whole.body, bytes | bytearray) else b""
    response = web.StreamResponse(status=whole.status, headers={"Content-Type": whole.content_type})
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


async def _enormous(fault: Fault, request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    row = to_json({"id": "wl_padding", "slug": "padding", "name": "padding", "description": "x" * 65536})
    await response.write(b"[" + row)
    for _ in range(fault.size // len(row)):
        await response.write(b"," + row)
    await response.write(b"]")
    await response.write_eof()
    return response

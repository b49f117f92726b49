"""What every request passes through: the record, the latency, the faults, and the form of a refusal.

Decides the order of these and what a request is called. Knows no rule of the platform. Requests of the
admin API are let through unrecorded.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from inferencekey_simulator.control_plane import bearer, refusal_response
from inferencekey_simulator.credentials import redacted, shown
from inferencekey_simulator.data_plane import data_refusal
from inferencekey_simulator.faults import Call
from inferencekey_simulator.interference import Cut, interfere
from inferencekey_simulator.journal import Entry
from inferencekey_simulator.keys import PLATFORM
from inferencekey_simulator.platform import Platform
from inferencekey_simulator.refusal import RefusedError

ADMIN_PREFIX = "/simulator/"
_CONTROL_OPERATIONS = frozenset({"list", "create", "update", "delete", "readiness"})
_log = logging.getLogger("inferencekey_simulator.requests")


@web.middleware
async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Record a request, delay or spoil it if asked to, and answer a refusal in the form that is set."""
    if request.path.startswith(ADMIN_PREFIX):
        return await handler(request)
    platform = request.app[PLATFORM]
    body = await _json_body(request)
    call = _call(request, platform, body)
    entry = platform.journal.open(call, request.headers.get("User-Agent"), body)
    response: web.StreamResponse | None = None
    try:
        response = await _answered(request, handler, platform, entry)
        return response
    finally:
        _close(platform, entry, response)


async def _answered(request: web.Request, handler: Handler, platform: Platform, entry: Entry) -> web.StreamResponse:
    async def handled(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except RefusedError as refused:
            return _refusal(request, refused, platform)
        except web.HTTPException as error:
            code = error.reason.lower().replace(" ", "_")
            return _refusal(request, RefusedError(error.status, code, error.reason), platform)
        except Exception:
            _log.exception("%s %s failed", entry.call.operation, redacted(entry.call.path))
            failure = RefusedError(500, "internal_error", "the simulator failed; its log tells why")
            return _refusal(request, failure, platform)

    fault = platform.faults.take(entry.call)
    entry.fault = fault.action if fault else None
    await asyncio.sleep(platform.settings.latency_of(entry.call.project))
    return await interfere(fault, request, handled) if fault else await handled(request)


def _refusal(request: web.Request, refused: RefusedError, platform: Platform) -> web.Response:
    if request.path.startswith("/endpoint/"):
        return data_refusal(refused)
    return refusal_response(refused, platform.settings.error_form)


async def _json_body(request: web.Request) -> Any:
    if not request.can_read_body or request.content_type != "application/json":
        return None
    try:
        return json.loads(await request.read())
    except ValueError:
        return None


def _call(request: web.Request, platform: Platform, body: Any) -> Call:
    name = request.match_info.route.name or "unknown"
    operation = name if name in _CONTROL_OPERATIONS else name.partition(".")[0]
    project, slug = request.match_info.get("project"), request.match_info.get("slug")
    row = platform.inventory.find(request.match_info.get("id", ""))
    if row is not None:
        project, slug = row.project, row.slug
    if operation == "create" and isinstance(body, dict):
        slug = body.get("slug")
    return Call(operation, request.method, request.path, project, slug, shown(bearer(request)))


def _close(platform: Platform, entry: Entry, response: web.StreamResponse | None) -> None:
    status = None if response is None or isinstance(response, Cut) else response.status
    platform.journal.close(entry, status, _size(response))
    call = entry.call
    _log.info(
        "%s %s %s %s %.0f ms %s",
        call.method,
        redacted(call.path),
        status or "cut",
        call.credential or "-",
        (entry.seconds or 0) * 1000,
        entry.fault or "",
    )


def _size(response: web.StreamResponse | None) -> int:
    if response is None or isinstance(response, Cut):
        return 0
    if isinstance(response, web.Response):
        return len(response.body) if isinstance(response.body, bytes | bytearray) else 0
    return response.body_length

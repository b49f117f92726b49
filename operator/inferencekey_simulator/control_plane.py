"""The control plane's routes: list, create, update, delete, readiness.

Decides how the contract's calls look in HTTP. What they do is the platform's.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from inferencekey_simulator.inventory import Row
from inferencekey_simulator.keys import PLATFORM, STREAMS
from inferencekey_simulator.platform import Platform
from inferencekey_simulator.refusal import RefusedError, bad_request


def bearer(request: web.Request) -> str | None:
    """Return the bearer token of a request, or None."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def add_control_plane(router: web.UrlDispatcher) -> None:
    """Add the routes, each named after its operation."""
    workloads = "/api/projects/{project}/workloads"
    router.add_get(workloads, _list, name="list", allow_head=False)
    router.add_post(workloads, _create, name="create")
    router.add_patch("/api/workloads/{id}", _update, name="update")
    router.add_delete("/api/workloads/{id}", _delete, name="delete")
    router.add_get(workloads + "/{slug}/readiness-events", _readiness, name="readiness", allow_head=False)


def refusal_response(refused: RefusedError, form: str) -> web.Response:
    """Return a refusal in one of the forms that clients have to accept.

    In the string form the word is the code, or the sentence where the code says no more than the status.
    """
    if form == "text":
        return web.Response(status=refused.status, text=f"{refused.code}: {refused.message}")
    plain = refused.message if refused.status == 400 else refused.code
    error: Any = plain if form == "string" else {"code": refused.code, "message": refused.message}
    return web.json_response({"error": error}, status=refused.status)


async def json_object(request: web.Request) -> dict[str, Any]:
    """Return the body of a request, which must be a JSON object."""
    try:
        body = await request.json()
    except ValueError:
        raise bad_request("the body is not valid JSON") from None
    if not isinstance(body, dict):
        raise bad_request("the body must be a JSON object")
    return body


async def _list(request: web.Request) -> web.Response:
    platform = request.app[PLATFORM]
    body = platform.list_workloads(bearer(request), request.match_info["project"])
    return web.Response(body=body, content_type="application/json", headers=_next_page(request, platform))


async def _create(request: web.Request) -> web.Response:
    body = await json_object(request)
    row = request.app[PLATFORM].create(bearer(request), request.match_info["project"], body)
    return _answer(row, 201)


async def _update(request: web.Request) -> web.Response:
    body = await json_object(request)
    return _answer(request.app[PLATFORM].update(bearer(request), request.match_info["id"], body), 200)


async def _delete(request: web.Request) -> web.Response:
    platform = request.app[PLATFORM]
    platform.delete(bearer(request), request.match_info["id"])
    return web.Response(status=202 if platform.settings.deletion in ("later", "never") else 204)


async def _readiness(request: web.Request) -> web.StreamResponse:
    platform = request.app[PLATFORM]
    row = platform.readiness(bearer(request), request.match_info["project"], request.match_info["slug"])
    return await request.app[STREAMS].serve(request, platform, row)


def _next_page(request: web.Request, platform: Platform) -> dict[str, str]:
    """Return the header that leads to the rows that a list left out, where the platform pages that way."""
    cursor = platform.lists.cursor
    if platform.settings.pages != "link" or cursor is None:
        return {}
    return {"Link": f'<{request.rel_url.raw_path}?cursor={cursor}>; rel="next"'}


def _answer(row: Row, status: int) -> web.Response:
    return web.Response(status=status, body=row.encoded, content_type="application/json")

"""The `Date` header of the control plane's answers.

Decides whether an answer has one, and whose clock it shows. The server writes a `Date` of its own right before
an answer leaves; the data plane and the admin API keep that one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from inferencekey_simulator.interference import DATE_GIVEN
from inferencekey_simulator.platform import Platform

CONTROL_PREFIX = "/api/"


def dating(platform: Platform) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Return what sets the `Date` of each answer before it is sent."""

    async def set_date(request: web.Request, response: web.StreamResponse) -> None:
        if request.path.startswith(CONTROL_PREFIX) and DATE_GIVEN not in request:
            _set(response, platform)

    return set_date


def _set(response: web.StreamResponse, platform: Platform) -> None:
    settings = platform.settings
    if settings.date_header == "none":
        response.headers.pop("Date", None)
        return
    skew = settings.clock_skew if settings.date_header == "platform" else 0.0
    response.headers["Date"] = platform.clock.http_date(skew)

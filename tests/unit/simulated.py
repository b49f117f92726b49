"""The simulated platform over HTTP, for tests that speak to it as any client does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from inferencekey_simulator.app import serving
from inferencekey_simulator.platform import Platform


@asynccontextmanager
async def client_of(platform: Platform, token: str, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client that carries the token, and these headers."""
    headers = {"Authorization": f"Bearer {token}", **headers}
    async with serving(platform) as url, httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
        yield client

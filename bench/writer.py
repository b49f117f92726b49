"""Writes Workloads as fast as the API server takes them, as many users at once would.

Knows requests and when they were sent; nothing of what comes of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any

import aiohttp

from harness.api import WORKLOADS, Api
from integration.manifests import manifest

CONNECTIONS = 16
_MERGE = {"Content-Type": "application/merge-patch+json"}

Key = tuple[str, str]
"""Namespace and name of a Workload."""


class Writer:
    """Somebody who may write everything."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def create(self, keys: Sequence[Key], pace: float = 0.0) -> dict[Key, float]:
        """All of them; when each was asked for, on the monotonic clock. With a pace, one after the other."""
        sent: dict[Key, float] = {}

        async def one(http: aiohttp.ClientSession, key: Key) -> None:
            sent[key] = time.monotonic()
            await self._send(http, "POST", _path(key[0]), manifest(key[1]))
            await asyncio.sleep(pace)

        await self._each(keys, one, 1 if pace else CONNECTIONS)
        return sent

    async def edit(self, keys: Sequence[Key], **spec: object) -> None:
        """The same fields of each one's spec."""

        async def one(http: aiohttp.ClientSession, key: Key) -> None:
            await self._send(http, "PATCH", _path(*key), {"spec": spec})

        await self._each(keys, one, CONNECTIONS)

    async def release(self, keys: Sequence[Key]) -> None:
        """Takes off every finalizer."""

        async def one(http: aiohttp.ClientSession, key: Key) -> None:
            await self._send(http, "PATCH", _path(*key), {"metadata": {"finalizers": None}}, missing=True)

        await self._each(keys, one, CONNECTIONS)

    async def _each(self, keys: Iterable[Key], one: Any, connections: int) -> None:
        left = iter(keys)

        async def work(http: aiohttp.ClientSession) -> None:
            for key in left:
                await one(http, key)

        connector = aiohttp.TCPConnector(limit=connections, ssl=self._api.tls)
        async with (
            aiohttp.ClientSession(self._api.server, connector=connector, headers=self._api.headers) as http,
            asyncio.TaskGroup() as workers,
        ):
            for _ in range(connections):
                workers.create_task(work(http))

    async def _send(
        self, http: aiohttp.ClientSession, method: str, path: str, body: object, missing: bool = False
    ) -> None:
        headers = _MERGE if method == "PATCH" else {}
        async with http.request(method, path, json=body, headers=headers) as answer:
            if not answer.ok and not (missing and answer.status == 404):
                raise RuntimeError(f"{method} {path}: {answer.status} {await answer.text()}")


def _path(namespace: str, name: str | None = None) -> str:
    return f"{WORKLOADS}/namespaces/{namespace}/workloads" + (f"/{name}" if name else "")

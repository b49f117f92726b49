"""A bare client that writes, for each Workload that appears, what it was told to: as fast as the API server takes it.

It decides nothing, reads nothing but the watch, and looks at no answer but whether it is one. What it reaches is the
limit for whoever makes the same writes. Its template is a JSON file, see `bench/sample.py`.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

WORKERS = 32
GROUP = "/apis/inferencekey.com/v1alpha1"
MERGE = {"Content-Type": "application/merge-patch+json"}

Json = dict[str, Any]


class _PlaceLostError(Exception):
    """What came since is not known any more: all are told again."""


class Client:
    """One server, as the bearer of a token."""

    def __init__(self, template: Json, http: aiohttp.ClientSession) -> None:
        self._template, self._http = template, http
        self._numbers = itertools.count(1)
        self.queue: asyncio.Queue[Json] = asyncio.Queue()

    async def watch(self) -> None:
        """Every Workload that appears is in the queue, once; a watch that the API server cut goes on where it was."""
        seen: set[str] = set()
        version = ""
        while True:
            try:
                async for found in self._appear(version):
                    version = found["metadata"]["resourceVersion"]
                    if found["metadata"]["uid"] not in seen and not found["metadata"].get("finalizers"):
                        seen.add(found["metadata"]["uid"])
                        self.queue.put_nowait(found["metadata"])
            except (aiohttp.ClientError, _PlaceLostError):
                version = ""
            await asyncio.sleep(0.1)  # an API server that is away is not asked as fast as a loop can

    async def _appear(self, version: str) -> AsyncIterator[Json]:
        timeout = aiohttp.ClientTimeout(total=None, sock_read=None)
        path = f"{GROUP}/workloads?watch=true&timeoutSeconds=86400&resourceVersion={version}"
        async with self._http.get(path, timeout=timeout, read_bufsize=2**22) as answer:
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _PlaceLostError
                yield event["object"]

    async def work(self) -> None:
        """One Workload after the other."""
        while True:
            await self._write(await self.queue.get())

    async def _write(self, meta: Json) -> None:
        number = next(self._numbers)
        core, group = f"/api/v1/namespaces/{meta['namespace']}", f"{GROUP}/namespaces/{meta['namespace']}/workloads"
        mine = f"{group}/{meta['name']}"
        await self._send("PATCH", mine, self._body("finalizer", meta))
        await self._send("POST", f"{core}/configmaps", self._body("configMap", meta))
        await self._send("PATCH", f"{mine}/status", self._body("status", meta))
        for told in range(_due(self._template["events"], number)):
            event = self._body("event", meta)
            event["metadata"]["name"] = f"{meta['name']}.{number}-{told}"
            await self._send("POST", f"/apis/events.k8s.io/v1/namespaces/{meta['namespace']}/events", event)
        for again in range(_due(self._template["statuses"] - 1, number)):
            await self._send("PATCH", f"{mine}/status", {"status": {"readiness": {"message": f"phase {again}"}}})

    def _body(self, what: str, meta: Json) -> Json:
        text = json.dumps(self._template[what])
        for mark in ("name", "namespace", "uid"):
            text = text.replace(f"@{mark}@", meta[mark])
        body: Json = json.loads(text)
        return body

    async def _send(self, method: str, path: str, body: Json) -> None:
        headers = MERGE if method == "PATCH" else {}
        async with self._http.request(method, path, json=body, headers=headers) as answer:
            await answer.read()
            if not answer.ok and answer.status != 404:  # it is deleted meanwhile
                print(method, path, answer.status, await answer.text(), file=sys.stderr)


def _due(average: float, number: int) -> int:
    """How many the Workload of this number has, so that all together have the average."""
    return int(average * number) - int(average * (number - 1))


async def run(template: Json, kubeconfig: Json) -> None:
    """Until it is ended."""
    cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
    tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    connector = aiohttp.TCPConnector(limit=WORKERS + 1, ssl=tls)
    headers = {"Authorization": f"Bearer {user['token']}", "User-Agent": "bench-limit"}
    async with aiohttp.ClientSession(cluster["server"], connector=connector, headers=headers) as http:
        client = Client(template, http)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(client.watch())
            for _ in range(WORKERS):
                tasks.create_task(client.work())


if __name__ == "__main__":
    asyncio.run(run(json.loads(Path(sys.argv[1]).read_text()), json.loads(Path(os.environ["KUBECONFIG"]).read_text())))

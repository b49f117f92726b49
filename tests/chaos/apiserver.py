"""The API server's HTTP side: routes, watches that lag, and what goes wrong on demand.

Decides which request is which, when a watch tells what it knows, and what a fault does. The rules of objects are
`kubernetes`'. Only the operator comes here; people's hands write to the objects directly.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from aiohttp import web

from chaos.clocks import now
from chaos.kubernetes import Body, Change, Name, Objects, RefusedError
from inferencekey_operator.kube.transport import EACH

CLUSTER_WIDE = frozenset({"namespaces"})


@dataclass(frozen=True)
class Asked:
    """One request, understood."""

    method: str
    name: Name
    status: bool = False
    body: Any = None

    @property
    def writes(self) -> bool:
        """Whether it may change an object."""
        return self.method != "GET"


@dataclass(frozen=True)
class Trouble:
    """What meets the next requests of a kind: `status` is answered and nothing done; `lost` is done, and the answer

    lost; `cut` is neither done nor answered; `slow` is done `seconds` later.
    """

    action: str
    plural: str
    writes: bool
    seconds: float = 0.0
    status: int = 500
    times: int = 1


@dataclass
class ApiServer:
    """One in a run. `written` is told of each write of the operator's that was carried out."""

    objects: Objects
    rng: Random
    written: Callable[[Asked, Body], None]
    troubles: deque[Trouble] = field(default_factory=deque)
    met: int = 0
    """How many requests met trouble."""
    silent_until: float = 0.0
    """Watches tell nothing before."""
    last_trouble: float = -1e9
    storm_until: float = 0.0
    chance: float = 0.0
    """How many of the requests meet trouble until then."""
    _expire: int = 0
    _streams: dict[asyncio.Queue[Change | None], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.objects.watchers.append(self._spread)

    def application(self) -> web.Application:
        """To be served."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    def expire_watches(self) -> None:
        """Every watch ends with 410 Gone, as when the history was compacted."""
        self._expire += 1
        self.last_trouble = now()

    def restart(self) -> None:
        """Every watch is cut: what it would have told next may never have been."""
        self.last_trouble = now()
        for stream in list(self._streams):
            stream.put_nowait(None)

    def mend(self) -> None:
        """No trouble any more."""
        self.troubles.clear()
        self.silent_until = self.storm_until = 0.0

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/version":
            return web.json_response({"gitVersion": "v0.0.0-memory"})
        content = await request.read()
        asked = understood(request.method, request.path, json.loads(content) if content else None)
        if request.query.get("watch") == "true":
            return await self._watch(request, asked.name)
        trouble = self._trouble(asked)
        if trouble is not None and trouble.action == "slow":
            await asyncio.sleep(trouble.seconds)
        if trouble is not None and trouble.action == "status":
            body = _failure(trouble.status, "the API server is in trouble")
            return web.json_response(body, status=trouble.status)
        if trouble is None or trouble.action != "cut":
            status, body = self.answer(asked, request.query)
            answer = web.json_response(body, status=status)
        if trouble is not None and trouble.action in ("cut", "lost"):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return answer

    def _trouble(self, asked: Asked) -> Trouble | None:
        trouble = self._armed(asked)
        if trouble is None and now() < self.storm_until and self.rng.random() < self.chance:
            trouble = some_trouble(self.rng.randrange(1000), self.rng.randrange(1000), "", asked.writes)
        if trouble is None or (trouble.status == 409 and asked.method == "POST"):
            return None  # that something is there already is only said where it is
        self.met += 1
        self.last_trouble = now()
        return trouble

    def _armed(self, asked: Asked) -> Trouble | None:
        for number, trouble in enumerate(self.troubles):
            if trouble.plural in (asked.name.plural, "") and trouble.writes == asked.writes:
                if trouble.times > 1:
                    self.troubles[number] = replace(trouble, times=trouble.times - 1)
                else:
                    del self.troubles[number]
                return trouble
        return None

    def answer(self, asked: Asked, query: Mapping[str, str] | None = None) -> tuple[int, Body]:
        """Carry out a request; status and body."""
        try:
            if asked.method == "GET":
                return 200, self._read(asked.name, query or {})
            body = self._write(asked)
        except RefusedError as refused:
            return refused.status, _failure(refused.status, str(refused))
        self.written(asked, body)
        return 201 if asked.method == "POST" else 200, body

    def _write(self, asked: Asked) -> Body:
        if asked.method == "POST":
            return self.objects.create(asked.name, asked.body)
        if asked.method == "PATCH":
            return self.objects.patch(asked.name, asked.body, status=asked.status)
        if asked.method == "PUT":
            return self.objects.replace(asked.name, asked.body)
        assert asked.method == "DELETE"
        return self.objects.delete(asked.name, (asked.body or {}).get("preconditions"))

    def _read(self, name: Name, query: Mapping[str, str]) -> Body:
        if name.name:
            found = self.objects.get(name)
            if found is None:
                raise RefusedError(404, f"{name.plural} {name.name!r} not found")
            return found
        items = [body for body in self.objects.items(name.plural, name.namespace) if _selected(body, query)]
        return {"kind": "List", "metadata": {"resourceVersion": self.objects.version}, "items": items}

    # -- watches -----------------------------------------------------------------------------------------------

    def _spread(self, change: Change) -> None:
        for queue, plural in self._streams.items():
            if change.name.plural == plural:
                queue.put_nowait(change)

    async def _watch(self, request: web.Request, name: Name) -> web.StreamResponse:
        since, expired = int(request.query["resourceVersion"]), self._expire
        queue: asyncio.Queue[Change | None] = asyncio.Queue()
        for change in self.objects.history:
            if change.version > since and change.name.plural == name.plural:
                queue.put_nowait(change)
        self._streams[queue] = name.plural
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            await response.prepare(request)
            with suppress(TimeoutError):
                async with asyncio.timeout(float(request.query["timeoutSeconds"])):
                    await self._tell(response, request, queue, expired)
        except ConnectionError:
            pass
        finally:
            del self._streams[queue]
        return response

    async def _tell(
        self, response: web.StreamResponse, request: web.Request, queue: asyncio.Queue[Change | None], expired: int
    ) -> None:
        while True:
            waiting = [await queue.get()]
            await asyncio.sleep(max(self.rng.uniform(0.0, 0.3), self.silent_until - now()))
            while not queue.empty():
                waiting.append(queue.get_nowait())
            if None in waiting:
                assert request.transport is not None
                request.transport.abort()
                return
            changes = [each for each in waiting if each is not None]
            if self._expire != expired:
                gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}
                await response.write(json.dumps(gone).encode() + b"\n")
                return
            told = [{"type": each.kind, "object": each.body} for each in changes if _selected(each.body, request.query)]
            if told:
                await response.write(b"".join(json.dumps(each).encode() + b"\n" for each in told))


def _selected(body: Body, query: Mapping[str, str]) -> bool:
    field_selector, label_selector = query.get("fieldSelector"), query.get("labelSelector")
    if field_selector not in (None, EACH) and f"metadata.name={body['metadata']['name']}" != field_selector:
        return False
    if label_selector is None:
        return True
    key, value = label_selector.split("=")
    return bool((body["metadata"].get("labels") or {}).get(key) == value)


def understood(method: str, path: str, body: Any) -> Asked:
    """What a request is about."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    plural, *rest = parts
    name = rest[0] if rest else ""
    if method == "POST":
        name = body["metadata"]["name"]
    return Asked(method, Name(plural, namespace, name), rest[1:] == ["status"], body)


def _failure(status: int, message: str) -> Body:
    return {"kind": "Status", "code": status, "message": message}


def some_trouble(which: int, how: int, plural: str, writes: bool, times: int = 1) -> Trouble:
    """Trouble: refused, late, cut, or done and not answered."""
    reading = Trouble("status", plural, False, status=(429, 500, 503)[how % 3], times=times)
    troubles = (
        Trouble("status", plural, True, status=409, times=times),
        Trouble("status", plural, True, status=(422, 429, 500, 503)[how % 4], times=times),
        Trouble("lost", plural, True, times=times),
        Trouble("cut", plural, True, times=times),
        Trouble("slow", plural, True, seconds=(0.5, 3.0, 12.0)[how % 3], times=times),
    )
    return troubles[which % len(troubles)] if writes else reading

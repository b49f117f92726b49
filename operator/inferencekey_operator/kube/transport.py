"""Requests and watches, over a few connections, as whoever the process is now.

The official client gives configuration and TLS, and `authentication` keeps the credentials current; the requests go
over its sessions as plain JSON, since the models of the generated classes cost more than the call. kopf works over a
session of its own. Must not know what is read or written, but for the names that its metrics have.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from importlib.metadata import version
from typing import Any, TypeVar

import aiohttp

from inferencekey_operator.api.workload import PLURAL
from inferencekey_operator.kube.authentication import Authentication
from inferencekey_operator.kube.errors import PAGE_BYTES, ClusterError, TooLargeError, unanswered
from inferencekey_operator.kube.login import Login
from inferencekey_operator.kube.official import client
from inferencekey_operator.kube.reading import NO_VERSION, Body, checked, lines, readers, refusal, version_of, whole
from inferencekey_operator.kube.watch_activity import Pulse
from inferencekey_operator.metrics import NONE, OTHER, WRITES
from inferencekey_operator.network.proxies import Proxies, Proxy, proxy

CONNECTIONS = 32
"""For requests. TLS takes a tenth of a MiB for each, and an API server that is slow is not faster with more."""
FIRST_PAGE, PAGE = 25, 250
"""Objects of a list that are asked for at once: few at first, and more as long as they are small."""
BETWEEN_WATCHES = 1.0
EACH = "metadata.name!=_"
"""Selects every object, as nothing has that name: tells a watch of ours from one of kopf's that is of the same."""
_VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
_WRITTEN = frozenset({PLURAL, f"{PLURAL}/status", "configmaps", "events", "leases"})
_Read = TypeVar("_Read")


class Transport:
    """The API server: requests over a few connections, watches over as many as they are."""

    def __init__(
        self,
        configuration: client.Configuration,
        proxies: Proxies | None = None,
        authentication: Authentication | None = None,
    ) -> None:
        """By default the proxies are those of the environment, and the configuration's credentials are never renewed.

        Raises VariableError where what is said of a proxy cannot be used.
        """
        self.authentication = authentication or Authentication(Login.of(configuration))
        self._session_options: dict[str, Any] = {
            "headers": {"User-Agent": f"inferencekey-operator/{version('inferencekey-operator')}"},
            # The environment is asked once, here: aiohttp would ask it for each request, in a thread.
            "trust_env": False,
            **_through(_proxy(configuration, proxies or Proxies.read())),
        }
        self._configuration = configuration
        self._opens: dict[tuple[str, str], float] = {}
        self.pulse = Pulse()
        self.went_back = asyncio.Event()
        """Set once the API server shows an older state than before, as after etcd was restored from a snapshot."""
        self._versions: dict[str, int] = {}
        self._rest = self.authentication.login.rest
        self.session = self.open_session(CONNECTIONS)
        self._unbounded = self.open_session()
        self.server: str = configuration.host

    def open_session(self, connections: int = 0, *middlewares: aiohttp.ClientMiddlewareType) -> aiohttp.ClientSession:
        """At most so many connections of one's own, with the same TLS and authentication; whoever asked closes them.

        Watches want no limit, which is 0: each holds one for as long as it lasts, and there may be one per namespace.
        """
        self._rest.maxsize = connections
        self._configuration.client_session_kwargs = {
            **self._session_options,
            "middlewares": (*middlewares, self._pace, self._authenticate),
        }
        session: aiohttp.ClientSession = self._rest._create_pool_manager()
        return session

    async def close(self) -> None:
        """No further request."""
        await self.authentication.close()
        await self.session.close()
        await self._unbounded.close()

    async def _pace(self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """One watch that ends as soon as it began, over and over, is opened once a second; kopf would not wait."""
        if request.url.query.get("watch"):
            now = asyncio.get_running_loop().time()
            watch = _collection(request), request.url.query.get("fieldSelector", "")
            turn = self._opens[watch] = max(self._opens.get(watch, -math.inf) + BETWEEN_WATCHES, now)
            await asyncio.sleep(turn - now)
        return await handler(request)

    async def _authenticate(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """As whoever we are now. What was refused was not carried out, and is tried once more as somebody new."""
        used = await self.authentication.current()
        try:
            response = await handler(_as(used, request))
        except aiohttp.ClientSSLError as error:
            if not await self.authentication.refused(used, error):
                raise
            used = self.authentication.login
            response = await handler(_as(used, request))
        if response.status == 401 and await self.authentication.refused(used):
            response.close()
            used = self.authentication.login
            response = await handler(_as(used, request))
            if response.status == 401:
                await self.authentication.refused(used)
        if response.status != 401:
            self.authentication.accepted(used)
        self.pulse.answered(_collection(request), request.url.query, response)
        return response

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        **query: str,
    ) -> Body:
        """One request; the answer's JSON. Raises ClusterError."""
        read = readers(path)[method == "GET"]  # single Workloads are written, and read in no other way than listed
        return await self._request(method, path, read, body=body, content_type=content_type, accept=accept, **query)

    async def _request(
        self,
        method: str,
        path: str,
        read: Callable[[bytes], _Read],
        *,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        **query: str,
    ) -> _Read:
        code = NONE
        headers = {"Accept": accept}
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        resource = _resource(path)
        session = self._unbounded if resource == "leases" else self.session  # a renewal waits for no other request
        try:
            async with session.request(
                method,
                self.server + path,
                params=query or None,
                data=data,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=30),
            ) as response:
                answer = await whole(response)
                code = str(response.status)
                if response.status >= 300:
                    raise refusal(response, answer)
                return read(answer)
        except Exception as error:  # those of aiohttp, and of whatever plugin hands out credentials
            raise unanswered(error) from error
        finally:
            if method in _VERBS:
                WRITES.labels(resource, _VERBS[method], code).inc()

    async def pages(self, path: str, *, accept: str = "application/json", **query: str) -> AsyncIterator[Body]:
        """A list, page by page."""
        limit, read = FIRST_PAGE, readers(path)[1]
        while True:
            query["limit"] = str(limit)
            try:
                size, page = await self._request(
                    "GET", path, lambda answer: (len(answer), read(answer)), accept=accept, **query
                )
            except TooLargeError:
                if limit == 1:
                    raise
                limit = max(limit // 8, 1)
                continue
            limit = min(2 * limit, PAGE) if 4 * size < PAGE_BYTES else limit
            if "items" not in page or "resourceVersion" not in page.get("metadata", {}):
                raise ClusterError(0, "the answer to a list is none")
            page["items"] = page["items"] or []  # metadata alone of nothing is null
            yield page
            following = page["metadata"].get("continue")
            if not following:
                return
            query["continue"] = following

    async def watch(
        self, path: str, resource_version: str, *, accept: str = "application/json", **query: str
    ) -> AsyncGenerator[Body, None]:
        """Watch events from `resource_version` on, until the server ends the stream. Raises ClusterError."""
        query = {
            **query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": "300",
        }
        timeout = aiohttp.ClientTimeout(total=None, connect=10, sock_connect=10, sock_read=330)
        try:
            async with self._unbounded.get(
                self.server + path, params=query, headers={"Accept": accept}, timeout=timeout
            ) as response:
                if response.status >= 300:
                    raise refusal(response, await response.read())
                read = readers(path)[2]
                async for line in lines(response.content):
                    yield checked(read(line))
        except Exception as error:  # those of aiohttp, and of whatever plugin hands out credentials
            raise unanswered(error) from error

    def heed_the_version(self, path: str, body: Body) -> None:
        """Take note of an object's version, read or written by one caller at a time: it never grows smaller."""
        version = version_of(body)
        if version == NO_VERSION:
            return
        if version < self._versions.get(path, 0):
            self.went_back.set()
        self._versions[path] = version


def _as(who: Login, request: aiohttp.ClientRequest) -> aiohttp.ClientRequest:
    """Connections are pooled by the TLS they were opened with: a new certificate never goes over an old one."""
    request.headers.pop("Authorization", None)
    if who.authorization:
        request.headers["Authorization"] = who.authorization
    if request.is_ssl():
        request._ssl = who.tls
        request.server_hostname = who.server_name
    return request


def _collection(request: aiohttp.ClientRequest) -> str:
    """The path; the watch of the Workloads' records is not to be taken for that of kopf."""
    ours = request.url.query.get("fieldSelector") == EACH
    return f"{request.url.path}-records" if ours else request.url.path


def _resource(path: str) -> str:
    """What a request is about, in RBAC's words: `workloads/status`; OTHER where that is never written."""
    parts = path.split("/")
    collection = parts.index("namespaces") + 2 if "namespaces" in parts else len(parts)
    named = "/".join(parts[collection : collection + 1] + parts[collection + 2 :])
    return named if named in _WRITTEN else OTHER


def _proxy(configuration: client.Configuration, proxies: Proxies) -> Proxy | None:
    """That of the kubeconfig, or else of the environment."""
    if configuration.proxy:
        return proxy("the kubeconfig's proxy-url", configuration.proxy)
    return proxies.of_url(configuration.host)


def _through(proxy: Proxy | None) -> dict[str, Any]:
    """What a session is opened with. A URL with credentials would be in aiohttp's errors."""
    if proxy is None:
        return {}
    auth = None if proxy.user is None else aiohttp.BasicAuth(proxy.user, proxy.password, "utf-8")
    return {"proxy": proxy.url, "proxy_auth": auth}

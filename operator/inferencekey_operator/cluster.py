"""What the operator reads and writes in Kubernetes, beside what kopf watches for it.

The official client gives configuration and TLS, and `authentication` keeps the credentials current; the requests go
over its sessions as plain JSON, since the models of the generated classes cost more than the call. kopf works over a
session of its own. Every write names its field manager. Decides nothing.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from datetime import datetime
from importlib.metadata import version
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote

import aiohttp

from inferencekey_operator import login
from inferencekey_operator.authentication import Authentication
from inferencekey_operator.inferencekey.answers import retry_after
from inferencekey_operator.intake import read_event, read_page, read_workload
from inferencekey_operator.login import Login
from inferencekey_operator.metrics import NONE, OTHER, WRITES
from inferencekey_operator.official import client
from inferencekey_operator.proxies import Proxies, Proxy, proxy
from inferencekey_operator.pulse import Pulse
from inferencekey_operator.workload import FINALIZER, GROUP, PLURAL, VERSION, Workload

MANAGER = "inferencekey-operator"
STATUS_MANAGER = "inferencekey-operator-status"
CONNECTIONS = 32
"""For requests. TLS takes a tenth of a MiB for each, and an API server that is slow is not faster with more."""
FIRST_PAGE, PAGE = 25, 250
"""Objects of a list that are asked for at once: few at first, and more as long as they are small."""
PAGE_BYTES = 8 * 1024 * 1024
"""What is read of a page: if it has more, fewer objects are asked for. No object has more."""
MERGE = "application/merge-patch+json"
BETWEEN_WATCHES = 1.0
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

NO_VERSION = sys.maxsize
"""Of what has no resourceVersion that could be compared: it is older than nothing."""
EACH = "metadata.name!=_"
"""Selects every object, as nothing has that name: tells a watch of ours from one of kopf's that is of the same."""

_VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
_WRITTEN = frozenset({PLURAL, f"{PLURAL}/status", "configmaps", "events", "leases"})

Body = dict[str, Any]
_Read = TypeVar("_Read")


class ClusterError(Exception):
    """The API server refused a request, or did not answer: `status` is its HTTP status, 0 where none came.

    `retry_after` is its own wish in seconds, where it stated one.
    """

    def __init__(self, status: int, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"{status}: {message}" if status else message)
        self.status = status
        self.retry_after = retry_after

    @property
    def passing(self) -> bool:
        """Trouble of the API server's or of the way to it: the same request may succeed later."""
        return self.status in (0, 429) or self.status >= 500

    @property
    def conflict(self) -> bool:
        """The object has moved on since it was read, is there already, or is another one by now."""
        return self.status == 409

    @property
    def gone(self) -> bool:
        """There is no such object."""
        return self.status == 404

    @property
    def expired(self) -> bool:
        """The place where a watch was to go on is too long ago: it begins anew with a list."""
        return self.status == 410

    @property
    def refused(self) -> bool:
        """An answer that the same request will get again until somebody changes what refuses it.

        A 401 is not about the request, but about our credential.
        """
        return not (
            self.passing or self.conflict or self.gone or self.expired or self.terminating or self.status == 401
        )

    @property
    def terminating(self) -> bool:
        """The namespace is going away, and takes no new objects."""
        return self.status == 403 and "because it is being terminated" in str(self)


class _TooLargeError(ClusterError):
    """The answer has more bytes than are read of it."""

    def __init__(self) -> None:
        super().__init__(0, f"the answer has more than {PAGE_BYTES} bytes")


class Cluster:
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

    @classmethod
    async def connect(cls, proxies: Proxies | None = None) -> Cluster:
        """The cluster of the current kubeconfig or, where there is none, the one this process runs in."""
        found, source = await login.first()
        return cls(found.configuration, proxies, Authentication(found, source))

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
        read = _readers(path)[method == "GET"]  # single Workloads are written, and read in no other way than listed
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
                answer = await _whole(response)
                code = str(response.status)
                if response.status >= 300:
                    raise _refusal(response, answer)
                return read(answer)
        except Exception as error:  # those of aiohttp, and of whatever plugin hands out credentials
            raise _unanswered(error) from error
        finally:
            if method in _VERBS:
                WRITES.labels(resource, _VERBS[method], code).inc()

    async def pages(self, path: str, *, accept: str = "application/json", **query: str) -> AsyncIterator[Body]:
        """A list, page by page."""
        limit, read = FIRST_PAGE, _readers(path)[1]
        while True:
            query["limit"] = str(limit)
            try:
                size, page = await self._request(
                    "GET", path, lambda answer: (len(answer), read(answer)), accept=accept, **query
                )
            except _TooLargeError:
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
                    raise _refusal(response, await response.read())
                read = _readers(path)[2]
                async for line in lines(response.content):
                    yield _event(read(line))
        except Exception as error:  # those of aiohttp, and of whatever plugin hands out credentials
            raise _unanswered(error) from error

    def heed_the_version(self, path: str, body: Body) -> None:
        """Take note of an object's version, read or written by one caller at a time: it never grows smaller."""
        version = _version(body)
        if version == NO_VERSION:
            return
        if version < self._versions.get(path, 0):
            self.went_back.set()
        self._versions[path] = version

    # -- Workloads ---------------------------------------------------------------------------------------------

    async def find_workloads(self, namespaces: tuple[str, ...]) -> None:
        """Raises ClusterError where Workloads, of these namespaces or of the cluster, cannot be listed."""
        for path in collection_paths(f"/apis/{GROUP}/{VERSION}", PLURAL, namespaces):
            await self.request("GET", path, limit="1")

    async def workloads(
        self,
        namespaces: tuple[str, ...],
        newest: int = 0,
        known: Callable[[Body], int] = lambda item: 0,
        *,
        accept: str = "application/json",
    ) -> AsyncIterator[Body]:
        """Every Workload, of these namespaces or of the cluster; `accept` may ask for metadata alone.

        `newest` is a resourceVersion that was seen before, and `known` tells that of an object as last seen, or 0: a
        list that is older, or shows an older object though it is newer itself, is of a former time.
        """
        for path in collection_paths(f"/apis/{GROUP}/{VERSION}", PLURAL, namespaces):
            async for page in self.pages(path, accept=accept):
                reached = _version(page)
                if reached < newest:
                    self._refuse_the_past()
                for item in page["items"]:
                    if _version(item) < known(item) <= reached:
                        self._refuse_the_past()
                    yield item

    def _refuse_the_past(self) -> NoReturn:
        self.went_back.set()
        raise ClusterError(0, "the list of Workloads is older than what was seen before")

    async def write_finalizers(self, workload: Workload, finalizers: tuple[str, ...]) -> Body:
        """Set the finalizers, unless the object moved on meanwhile."""
        body = {"metadata": {**_precondition(workload), "finalizers": list(finalizers)}}
        path = _workload_path(workload.namespace, workload.name)
        return await self.request("PATCH", path, body=body, content_type=MERGE, fieldManager=MANAGER)

    async def add_finalizer(self, workload: Workload) -> Body:
        """Ours, beside what is there."""
        return await self.write_finalizers(workload, (*workload.finalizers, FINALIZER))

    async def remove_finalizer(self, workload: Workload) -> Body:
        """Ours; the others stay."""
        left = tuple(name for name in workload.finalizers if name != FINALIZER)
        return await self.write_finalizers(workload, left)

    async def patch_status(self, workload: Workload, patch: Body) -> Body:
        """One merge patch of the status, unless the object moved on meanwhile or is another one by now."""
        path = _workload_path(workload.namespace, workload.name) + "/status"
        body = {"metadata": _precondition(workload), "status": patch}
        return await self.request("PATCH", path, body=body, content_type=MERGE, fieldManager=STATUS_MANAGER)

    # -- ConfigMaps --------------------------------------------------------------------------------------------

    async def config_map(self, namespace: str, name: str) -> Body:
        """One ConfigMap."""
        return await self.request("GET", _config_map_path(namespace, name))

    async def create_config_map(self, body: Body) -> Body:
        """A new one; a conflict where that name is taken."""
        path = f"/api/v1/namespaces/{quote(body['metadata']['namespace'])}/configmaps"
        return await self.request("POST", path, body=body, fieldManager=MANAGER)

    async def patch_config_map(self, namespace: str, name: str, patch: Body) -> Body:
        """A merge patch; its metadata carries the resourceVersion it was made from."""
        path = _config_map_path(namespace, name)
        return await self.request("PATCH", path, body=patch, content_type=MERGE, fieldManager=MANAGER)

    async def delete_config_map(self, namespace: str, name: str, uid: str, resource_version: str) -> Body:
        """Delete this very one, as it stands; the answer is the object where finalizers hold it."""
        body = {"preconditions": {"uid": uid, "resourceVersion": resource_version}}
        return await self.request("DELETE", _config_map_path(namespace, name), body=body)

    # -- Events ------------------------------------------------------------------------------------------------

    async def create_event(self, namespace: str, body: Body) -> Body:
        """A new Event."""
        path = f"/apis/events.k8s.io/v1/namespaces/{quote(namespace)}/events"
        return await self.request("POST", path, body=body, fieldManager=MANAGER)

    async def fold_event(self, namespace: str, name: str, series: Mapping[str, Any]) -> Body:
        """Count another occurrence of an Event that stands."""
        path = f"/apis/events.k8s.io/v1/namespaces/{quote(namespace)}/events/{quote(name)}"
        return await self.request(
            "PATCH", path, body={"series": dict(series)}, content_type=MERGE, fieldManager=MANAGER
        )

    async def namespace(self, name: str) -> Body:
        """One Namespace."""
        return await self.request("GET", f"/api/v1/namespaces/{quote(name)}")


def _as(who: Login, request: aiohttp.ClientRequest) -> aiohttp.ClientRequest:
    """Connections are pooled by the TLS they were opened with: a new certificate never goes over an old one."""
    request.headers.pop("Authorization", None)
    if who.authorization:
        request.headers["Authorization"] = who.authorization
    if request.is_ssl():
        request._ssl = who.tls
        request.server_hostname = who.server_name
    return request


def collection_paths(prefix: str, plural: str, namespaces: tuple[str, ...]) -> tuple[str, ...]:
    """The collection of the whole cluster, or one for each namespace."""
    if not namespaces:
        return (f"{prefix}/{plural}",)
    return tuple(f"{prefix}/namespaces/{quote(namespace)}/{plural}" for namespace in namespaces)


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


def micro_time(moment: datetime) -> str:
    """RFC 3339 with microseconds, as Events and Leases want it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


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


def _workload_path(namespace: str, name: str) -> str:
    return f"/apis/{GROUP}/{VERSION}/namespaces/{quote(namespace)}/{PLURAL}/{quote(name)}"


def _config_map_path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace)}/configmaps/{quote(name)}"


def _precondition(workload: Workload) -> Body:
    return {"resourceVersion": workload.resource_version, "uid": workload.uid}


def _refusal(response: aiohttp.ClientResponse, answer: bytes) -> ClusterError:
    wish = retry_after({name.lower(): value for name, value in response.headers.items()})
    return ClusterError(response.status, _message(answer), retry_after=wish)


def _unanswered(error: Exception) -> ClusterError:
    return error if isinstance(error, ClusterError) else ClusterError(0, f"{type(error).__name__}: {error}")


def _version(body: Body) -> int:
    """A resourceVersion as a number."""
    text = str(body.get("metadata", {}).get("resourceVersion", ""))
    return int(text) if text.isdecimal() else NO_VERSION


def _message(answer: bytes) -> str:
    try:
        return str(_object(answer).get("message", ""))[:512]
    except ValueError:
        return answer[:512].decode("utf-8", "replace")


def _object(answer: bytes) -> Body:
    parsed = json.loads(answer)
    if not isinstance(parsed, dict):
        raise ValueError(f"a JSON object was expected, and a {type(parsed).__name__} came")
    return parsed


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    """The answer, if it is not larger than what is read of a page."""
    answer = bytearray()
    async for chunk in response.content.iter_any():
        answer += chunk
        if len(answer) > PAGE_BYTES:
            raise _TooLargeError
    return bytes(answer)


async def lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The lines of a stream, however long they are: aiohttp's own end at 128 KiB, and objects have up to 1.5 MB."""
    line = bytearray()
    async for chunk in content.iter_any():
        *ended, rest = chunk.split(b"\n")
        for end in ended:
            line += end
            if line:
                yield bytes(line)
            line.clear()
        line += rest
    if line:
        yield bytes(line)


_Reader = Callable[[bytes], Body]


def _readers(path: str) -> tuple[_Reader, _Reader, _Reader]:
    """What reads an object, a page and an event of what is at `path`."""
    if f"/{PLURAL}/" in f"{path}/" and path.startswith(f"/apis/{GROUP}/"):
        return read_workload, read_page, read_event
    return _object, _object, _object


def _event(event: Body) -> Body:
    """Something that happened to an object, which tells how far the watch has got."""
    found = event.get("object")
    if not isinstance(found, dict):
        raise ValueError("a watch event has no object")
    if event.get("type") == "ERROR":
        wish = (found.get("details") or {}).get("retryAfterSeconds")
        raise ClusterError(int(found.get("code") or 0), str(found.get("message")), retry_after=wish)
    if "resourceVersion" not in found.get("metadata", {}):
        raise ValueError("a watch event has no resourceVersion")
    return event

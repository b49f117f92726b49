"""kopf's watch of Workloads, begun anew whenever kopf gives up.

kopf ends on an error event of a watch, on a line that is none, and on an API server that refuses for a minute; and
would end this process with it. Here it loses only its own life: it begins another one with a list, which wakes nobody
whose Workload did not move. Nothing else of the process notices.

That list is ours. kopf keeps a task and a memory for each object that it is told of, so it is shown none: its own list
is empty, and only tells it where to watch from. Ours begins after that, so whatever it does not show, the watch tells.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import kopf

from inferencekey_operator.api.workload import GROUP, PLURAL, VERSION
from inferencekey_operator.controller import handlers
from inferencekey_operator.controller.controller import Controller
from inferencekey_operator.kube.backoff import Backoff
from inferencekey_operator.kube.client import Cluster
from inferencekey_operator.kube.errors import ClusterError
from inferencekey_operator.kube.intake import trimmed
from inferencekey_operator.kube.reading import lines

log = logging.getLogger(__name__)

NO_CRD = (
    "the cluster does not know Workloads: install the CRD first, inferencekey-operator crd | kubectl apply "
    "--server-side -f -"
)
NOBODY = "metadata.name=_"
"""Selects no object: there is none of that name, nor can there be."""

_Task = asyncio.Task[Any]
_KOPF = str(Path(kopf.__file__).parent)


class WorkloadWatch:
    """All Workloads, of these namespaces or of the cluster, listed and then watched for ever."""

    def __init__(
        self,
        controller: Controller,
        cluster: Cluster,
        namespaces: tuple[str, ...],
        note_served: Callable[[bool], None] = lambda served: None,
    ) -> None:
        """Calls `note_served` each time the API server begins or ceases to serve Workloads."""
        self._controller, self._cluster, self._namespaces = controller, cluster, namespaces
        self._tell, self._served = note_served, True
        self._unlisted: set[str | None] = set(namespaces or (None,))
        self.listed = asyncio.Event()
        """Set once the first lists are complete."""

    async def run(self, reclaim_signals: Callable[[], None]) -> None:
        """Never returns. kopf takes the signals for itself when it begins; they are claimed back at once."""
        backoff = Backoff(shortest=1.0, longest=15.0, steady=60.0)
        while True:
            backoff.begin()
            try:
                await _is_served(self._cluster)
                self._note_served(served=True)
                registry = handlers.registry(self._controller, self._open_session, self._cluster.server, backoff.hear)
                await _live(registry, self._namespaces, reclaim_signals)
                log.warning("the watch of Workloads ended, restarting it")
            except Exception as error:  # kopf's failures have no common type
                if getattr(error, "status", None) == 404:  # ours, or kopf's
                    self._note_served(served=False)
                level = logging.WARNING if self._served else logging.DEBUG
                log.log(level, "the watch of Workloads failed, restarting it: %s: %s", type(error).__name__, error)
            await backoff.pause()

    def _note_served(self, *, served: bool) -> None:
        """Said once when the CRD is deleted, and once when it is back; meanwhile the process is not ready."""
        if self._served == served:
            return
        self._served = served
        self._tell(served)
        if served:
            log.info("the cluster knows Workloads again")
        else:
            log.error("%s; the operator waits for it", NO_CRD)

    def _open_session(self) -> aiohttp.ClientSession:
        return self._cluster.open_session(0, self._list)

    async def _list(self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """Where kopf asks for a list, it gets an empty one once ours is complete; or it is told to ask again.

        Of what its watch is told, it gets as much as is kept.
        """
        if _watches(request):
            answer = await handler(request)
            answer.content = _Trimmed(answer.content)  # type: ignore[assignment]
            return answer
        if not _asks_for_all(request):
            return await handler(request)
        answer = await request.session.get(request.url.update_query(fieldSelector=NOBODY))
        if answer.status < 300 or answer.status == 404:
            self._note_served(served=answer.status < 300)
        if answer.status < 300:
            await answer.read()
            await self._list_of(_namespace(request))
        return answer

    async def _list_of(self, namespace: str | None) -> None:
        store = self._controller.context.store
        everything = self._cluster.workloads(() if namespace is None else (namespace,), store.newest, store.version)
        try:
            await self._controller.workloads_listed(everything, namespace)
        except ClusterError as error:
            await asyncio.sleep(error.retry_after or 0.0)
            raise aiohttp.ClientConnectionError(f"the Workloads cannot be listed: {error}") from error
        self._unlisted.discard(namespace)
        if not self._unlisted:
            self.listed.set()


class _Trimmed:
    """The content of an answer, line by line as `intake` leaves it."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Whole lines, of whatever size."""
        async for line in lines(self._content):
            yield trimmed(line) + b"\n"


def _watches(request: aiohttp.ClientRequest) -> bool:
    return request.url.path.endswith(f"/{PLURAL}") and "watch" in request.url.query


def _asks_for_all(request: aiohttp.ClientRequest) -> bool:
    return request.url.path.endswith(f"/{PLURAL}") and not {"watch", "fieldSelector"} & request.url.query.keys()


def _namespace(request: aiohttp.ClientRequest) -> str | None:
    """The namespace that a collection is of; None where it is of the whole cluster."""
    *_, parent, namespace, _plural = request.url.parts
    return namespace if parent == "namespaces" else None


async def _is_served(cluster: Cluster) -> None:
    """kopf looks once what there is to watch: where Workloads were not there yet, it would wait for them for ever."""
    served = await cluster.request("GET", f"/apis/{GROUP}/{VERSION}")
    if not any(resource["name"] == PLURAL for resource in served.get("resources", ())):
        raise ClusterError(404, "the API server does not serve Workloads yet")


async def _live(
    registry: kopf.OperatorRegistry,
    namespaces: tuple[str, ...],
    reclaim_signals: Callable[[], None],
) -> None:
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=handlers.settings(),
        standalone=True,
        identity="inferencekey-operator",  # type: ignore[arg-type] # else kopf asks for a name that a pod's user has not
        clusterwide=not namespaces,
        namespaces=namespaces,
    )
    reclaim_signals()
    await kopf.run_tasks(tasks, ignored=_NotOfKopf())


class _NotOfKopf(Collection[_Task]):
    """kopf ends every task that began after it did. Those of ours that did so are none of its business."""

    def __contains__(self, task: object) -> bool:
        code = getattr(task.get_coro(), "cr_code", None) if isinstance(task, asyncio.Task) else None
        return code is None or not code.co_filename.startswith(_KOPF)

    def __iter__(self) -> Iterator[_Task]:
        return iter(())

    def __len__(self) -> int:
        return 0

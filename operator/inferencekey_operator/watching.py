"""kopf's watch of Workloads, begun anew whenever kopf gives up.

kopf ends on an error event of a watch, on a line that is none, and on an API server that refuses for a minute; and
would end this process with it. Here it loses only its own life: it begins another one with a list, which wakes nobody
whose Workload did not move. Nothing else of the process notices.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import kopf

from inferencekey_operator import handlers
from inferencekey_operator.cluster import Cluster, ClusterError
from inferencekey_operator.controller import Controller
from inferencekey_operator.patience import Patience
from inferencekey_operator.workload import GROUP, PLURAL, VERSION

log = logging.getLogger(__name__)

_Task = asyncio.Task[Any]
_KOPF = str(Path(kopf.__file__).parent)


async def watch_workloads(
    controller: Controller, cluster: Cluster, namespaces: tuple[str, ...], reclaim_signals: Callable[[], None]
) -> None:
    """Never returns. kopf takes the signals for itself when it begins; they are claimed back at once."""
    patience = Patience(shortest=1.0, longest=15.0, steady=60.0)
    while True:
        patience.begin()
        try:
            await _is_served(cluster)
            await _live(handlers.registry(controller, cluster, patience.hear), namespaces, reclaim_signals, controller)
            log.warning("the watch of Workloads ended, and is begun anew")
        except Exception as error:  # kopf's failures have no common type
            log.warning("the watch of Workloads broke off, and is begun anew: %s: %s", type(error).__name__, error)
        await patience.pause()


async def _is_served(cluster: Cluster) -> None:
    """kopf looks once what there is to watch: where Workloads were not there yet, it would wait for them for ever."""
    served = await cluster.request("GET", f"/apis/{GROUP}/{VERSION}")
    if not any(resource["name"] == PLURAL for resource in served.get("resources", ())):
        raise ClusterError(404, "the API server does not serve Workloads yet")


async def _live(
    registry: kopf.OperatorRegistry,
    namespaces: tuple[str, ...],
    reclaim_signals: Callable[[], None],
    controller: Controller,
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
    controller.watch_began()
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

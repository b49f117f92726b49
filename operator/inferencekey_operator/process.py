"""One process of the operator: starts the parts in order, and stops them in order.

Everything that exists is listed before the first key is worked: Secrets, ConfigMaps, Namespaces, and all Workloads, so
that claims on a slug are known before the first call.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

import aiohttp
import kopf

from inferencekey_operator import handlers, logs
from inferencekey_operator.cluster import Cluster, ClusterError
from inferencekey_operator.controller import Controller
from inferencekey_operator.probes import Probes
from inferencekey_operator.settings import Settings
from inferencekey_operator.watches import Namespaces
from inferencekey_operator.wiring import Parts, wire

log = logging.getLogger(__name__)

MOST_NESTED = 11_000
"""The API server stores JSON of up to 10,000 levels. Python reads 1,000 by default, and one Workload that has more
would end the watch of all."""


async def serve(settings: Settings) -> int:
    """Runs until a signal; 0 after a clean stop, 1 with a message where it could not go on."""
    logs.configure(settings.log_level, settings.log_format)
    sys.setrecursionlimit(MOST_NESTED)
    stop = asyncio.Event()
    _heed_signals(stop)
    try:
        async with AsyncExitStack() as stack:
            return await _serve(settings, stop, stack)
    except logs.StartError as error:
        log.error("%s", error)
        return 1


async def _serve(settings: Settings, stop: asyncio.Event, stack: AsyncExitStack) -> int:
    cluster = await _connect(stack)
    parts = wire(settings, cluster)
    stack.push_async_callback(parts.platforms.close)
    await _serve_probes(settings, parts, stack)
    async with _background(*(reflector.run for reflector in parts.reflectors), parts.world.recorder.run):
        for reflector in parts.reflectors:
            await _unless_stopped(reflector.listed.wait(), stop)
        if settings.namespace:
            await _read_namespaces(cluster, parts.namespaces, settings.namespace)
        await _list_workloads(cluster, parts.controller, settings)
        parts.health.listed = True
        gc.freeze()
        gc.set_threshold(20_000, 50, 50)
        parts.leadership.start()
        return await _work(settings, cluster, parts, stop)


async def _work(settings: Settings, cluster: Cluster, parts: Parts, stop: asyncio.Event) -> int:
    """From the first event to the last; 1 where the watch gave up by itself."""
    watching_ends = asyncio.Event()
    async with _background(
        partial(_read_namespaces_again, cluster, parts.namespaces, settings),
        lambda: parts.controller.rounds(lambda: cluster.workloads(settings.namespace)),
    ):
        watching = asyncio.ensure_future(_watch(parts.controller, cluster, settings, stop, watching_ends))
        await _first(watching, stop.wait())
        log.info("stopping")
        await _finish(parts)
        watching_ends.set()
        return await watching


async def _finish(parts: Parts) -> None:
    """What is in work is finished and the Lease given up before kopf ends, for it ends every task it sees."""
    await parts.leadership.end()
    parts.world.serving.close()
    parts.world.rosters.close()
    with suppress(TimeoutError):
        await asyncio.wait_for(parts.world.recorder.flush(), 2.0)


async def _serve_probes(settings: Settings, parts: Parts, stack: AsyncExitStack) -> None:
    if settings.metrics_address is None:
        return
    try:
        runner = await Probes(parts.gauges, parts.health).start(settings.metrics_address)
    except (OSError, ValueError) as error:
        raise logs.StartError(f"--metrics-address {settings.metrics_address}: {error}") from error
    stack.push_async_callback(runner.cleanup)


async def _watch(
    controller: Controller, cluster: Cluster, settings: Settings, stop: asyncio.Event, ends: asyncio.Event
) -> int:
    """kopf's watch of Workloads, until `ends` is set; 1 where it gave up by itself."""
    ready = asyncio.Event()
    reclaim = asyncio.ensure_future(_reclaim_signals(ready, stop))
    try:
        await kopf.operator(
            registry=handlers.registry(controller, cluster),
            settings=handlers.settings(),
            standalone=True,
            clusterwide=not settings.namespace,
            namespaces=settings.namespace,
            ready_flag=ready,
            stop_flag=ends,
        )
    except Exception as error:  # kopf's failures have no common type
        log.error("the watch of Workloads broke off: %s: %s", type(error).__name__, error)
        return 1
    finally:
        reclaim.cancel()
    return 0


async def _reclaim_signals(ready: asyncio.Event, stop: asyncio.Event) -> None:
    """kopf takes the signals for itself when it starts; ours must come first."""
    await ready.wait()
    _heed_signals(stop)


def _heed_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _connect(stack: AsyncExitStack) -> Cluster:
    try:
        cluster = await Cluster.connect()
        stack.push_async_callback(cluster.close)
        await cluster.request("GET", "/version")
    except (ClusterError, aiohttp.ClientError, OSError) as error:
        raise logs.StartError(
            f"no Kubernetes cluster answers: {error}. Set KUBECONFIG, or run in a cluster."
        ) from error
    except Exception as error:  # the client's configuration errors have no common type
        raise logs.StartError(f"no usable kubeconfig: {error}. Set KUBECONFIG, or run in a cluster.") from error
    return cluster


async def _list_workloads(cluster: Cluster, controller: Controller, settings: Settings) -> None:
    try:
        async for body in cluster.workloads(settings.namespace):
            controller.workload_seen(body, urgent=False)
    except ClusterError as error:
        if error.gone:
            raise logs.StartError(
                "the cluster does not know Workloads: install the CRD first, inferencekey-operator crd | kubectl apply "
                "--server-side -f -"
            ) from error
        raise logs.StartError(f"the Workloads cannot be listed: {error}") from error


async def _read_namespaces(cluster: Cluster, namespaces: Namespaces, names: tuple[str, ...]) -> None:
    for name in names:
        try:
            namespaces.observe(await cluster.namespace(name))
        except ClusterError as error:
            log.warning("the drift policy of namespace %s is not known: %s", name, error)


async def _read_namespaces_again(cluster: Cluster, namespaces: Namespaces, settings: Settings) -> None:
    """A Role in a namespace lets us read that Namespace, not watch it: its policy is read once per full round."""
    while settings.namespace:
        await asyncio.sleep(settings.full_round)
        await _read_namespaces(cluster, namespaces, settings.namespace)
    await asyncio.Event().wait()


async def _unless_stopped(waiting: Coroutine[Any, Any, object], stop: asyncio.Event) -> None:
    await _first(waiting, stop.wait())
    if stop.is_set():
        raise logs.StartError("stopped before the start was over")


async def _first(one: Awaitable[object], other: Awaitable[object]) -> None:
    """Returns when either is done; what is not done goes on if it is a task, and is dropped if not."""
    tasks = [asyncio.ensure_future(one), asyncio.ensure_future(other)]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task, given in zip(tasks, (one, other), strict=True):
        if task is not given:
            task.cancel()


class _background:  # noqa: N801 - reads as a function
    """Tasks that run beside the body, and end with it."""

    def __init__(self, *runs: Callable[[], Awaitable[None]]) -> None:
        self._runs = runs
        self._tasks: list[asyncio.Future[None]] = []

    async def __aenter__(self) -> None:
        self._tasks = [asyncio.ensure_future(run()) for run in self._runs]
        for task in self._tasks:
            task.add_done_callback(_regret)

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _regret(task: asyncio.Future[None]) -> None:
    """What runs beside the body never ends by itself; the probes tell sooner or later what is missing now."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a part of the operator broke off", exc_info=error)

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
from importlib.metadata import version
from typing import Any, TypeVar

import aiohttp

from inferencekey_operator import logs
from inferencekey_operator.app import memory
from inferencekey_operator.app.probes import Probes
from inferencekey_operator.app.wiring import Parts, list_workloads, wire
from inferencekey_operator.cache.informers import Namespaces
from inferencekey_operator.controller.kopf_watch import NO_CRD, WorkloadWatch
from inferencekey_operator.inferencekey.egress import Egress
from inferencekey_operator.kube.backoff import Backoff
from inferencekey_operator.kube.client import Cluster
from inferencekey_operator.kube.errors import ClusterError
from inferencekey_operator.network.proxies import Proxies
from inferencekey_operator.network.variables import VariableError
from inferencekey_operator.settings import Settings

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


_NO_CLUSTER = "no Kubernetes cluster answers: {}. Set KUBECONFIG, or run in a cluster."


class _StoppedError(Exception):
    """A signal came before the start was over: nothing has to be finished or given up."""


class _StartOverError(Exception):
    """What this process knew of Kubernetes is of a time that never was."""


MOST_NESTED = 11_000
"""The API server stores JSON of up to 10,000 levels. Python reads 1,000 by default, and one Workload that has more
would end the watch of all."""


async def serve(settings: Settings) -> int:
    """Runs until a signal; 0 after a clean stop, 1 with a message where it could not go on."""
    logs.configure(settings.log_level, settings.log_format)
    asyncio.get_running_loop().set_exception_handler(logs.unforeseen)
    sys.setrecursionlimit(MOST_NESTED)
    memory.shrink_tls_buffers()
    stop = asyncio.Event()
    _heed_signals(stop)
    try:
        egress, starting_over = _egress(), False
        while True:
            try:
                async with AsyncExitStack() as stack:
                    await _serve(settings, egress, stop, stack, starting_over=starting_over)
                    return 0
            except _StartOverError:
                starting_over = True
                log.warning(
                    "the API server shows an older state than before, or no Lease any more, as after etcd was restored "
                    "from a snapshot: the operator discards what it knew, and starts over"
                )
    except _StoppedError:
        log.info("stopped during startup")
        return 0
    except logs.StartError as error:
        log.error("%s", error)
        return 1


async def _serve(
    settings: Settings, egress: Egress, stop: asyncio.Event, stack: AsyncExitStack, *, starting_over: bool
) -> None:
    log.info("inferencekey-operator %s starts", version("inferencekey-operator"))
    cluster = await _unless_stopped(_connect(stack, egress.proxies), stop)
    _introduce(settings, cluster)
    parts = wire(settings, cluster, egress=egress, starting_over=starting_over)
    stack.push_async_callback(parts.platforms.close)
    await _serve_probes(settings, parts, stack)
    reflectors = [reflector.run for reflector in parts.reflectors]
    async with _background(*reflectors, parts.context.recorder.run, memory.trim_malloc):
        for reflector in parts.reflectors:
            await _unless_stopped(reflector.listed.wait(), stop)
        for name in settings.namespace:
            await _patiently(partial(_read_namespace, cluster, parts.namespaces, name), stop)
        await _patiently(partial(_find_workloads, cluster, settings), stop)
        watch = WorkloadWatch(parts.controller, cluster, settings.namespace, parts.health.note_served)
        async with _background(partial(watch.run, partial(_heed_signals, stop))):
            await _unless_stopped(watch.listed.wait(), stop)
            parts.health.listed = True
            _collect_garbage_calmly()
            parts.leadership.start()
            await _work(settings, cluster, parts, stop)


def _introduce(settings: Settings, cluster: Cluster) -> None:
    """What a person checks first when something is not as expected."""
    log.info("API server: %s, by %s", cluster.authentication.login.configuration.host, cluster.authentication.origin)
    log.info(
        "platform: %s; namespaces: %s; drift policy: %s; a list of each project every %g s",
        settings.base_url,
        ", ".join(settings.namespace) or "all",
        settings.on_drift,
        settings.list_interval,
    )


def _egress() -> Egress:
    try:
        return Egress.read()
    except VariableError as error:
        raise logs.StartError(str(error)) from error


def _collect_garbage_calmly() -> None:
    """What is there now stays, and is not looked through again; what comes is, and often enough.

    With more passes before the next generation, what died young is kept for the better part of an hour: a quiet
    operator of 120 Workloads grew by a MiB each minute. Python looks through the oldest only when they are a quarter
    more.
    """
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


async def _work(settings: Settings, cluster: Cluster, parts: Parts, stop: asyncio.Event) -> None:
    """From the first look to the last."""
    async with _background(
        partial(_read_namespaces_again, cluster, parts.namespaces, settings),
        partial(parts.controller.resync, partial(list_workloads, cluster, settings, parts.context.store)),
    ):
        await _first(stop.wait(), cluster.went_back.wait())
        log.info("stopping")
        await _finish(parts)
        if not stop.is_set():
            raise _StartOverError


async def _finish(parts: Parts) -> None:
    """What is in work is finished and the Lease given up."""
    await parts.leadership.end()
    parts.context.serving.close()
    parts.context.projects.close()
    with suppress(TimeoutError):
        await asyncio.wait_for(parts.context.recorder.flush(), 2.0)


async def _serve_probes(settings: Settings, parts: Parts, stack: AsyncExitStack) -> None:
    if settings.bind_address is None:
        return
    try:
        runner = await Probes(parts.gauges, parts.health).start(settings.bind_address)
    except (OSError, ValueError) as error:
        raise logs.StartError(f"--bind-address {settings.bind_address}: {error}") from error
    stack.push_async_callback(runner.cleanup)


def _heed_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _connect(stack: AsyncExitStack, proxies: Proxies) -> Cluster:
    try:
        cluster = await Cluster.connect(proxies)
        stack.push_async_callback(cluster.close)
        await cluster.request("GET", "/version")
    except VariableError as error:
        raise logs.StartError(str(error)) from error
    except ClusterError as error:
        if error.status == 401:
            raise logs.StartError(f"{cluster.authentication.trouble}. Renew them, or set KUBECONFIG.") from error
        raise logs.StartError(_NO_CLUSTER.format(error)) from error
    except (aiohttp.ClientError, OSError) as error:
        raise logs.StartError(_NO_CLUSTER.format(error)) from error
    except Exception as error:  # the client's configuration errors have no common type
        raise logs.StartError(f"no usable kubeconfig: {error}. Set KUBECONFIG, or run in a cluster.") from error
    return cluster


async def _find_workloads(cluster: Cluster, settings: Settings) -> None:
    try:
        await cluster.find_workloads(settings.namespace)
    except ClusterError as error:
        if error.passing:
            raise
        if error.gone:
            raise logs.StartError(NO_CRD) from error
        raise logs.StartError(f"the Workloads cannot be listed: {error}") from error


async def _read_namespace(cluster: Cluster, namespaces: Namespaces, name: str) -> None:
    """Its drift policy. Raises ClusterError for what passes: nothing is decided by another policy meanwhile."""
    try:
        namespaces.observe(await cluster.namespace(name))
    except ClusterError as error:
        if error.passing:
            raise
        log.warning("could not read the drift policy of namespace %s: %s", name, error)


async def _read_namespaces_again(cluster: Cluster, namespaces: Namespaces, settings: Settings) -> None:
    """A Role in a namespace lets us read that Namespace, not watch it: its policy is read once per resync."""
    while settings.namespace:
        await asyncio.sleep(settings.resync_period)
        for name in settings.namespace:
            try:
                await _read_namespace(cluster, namespaces, name)
            except ClusterError as error:
                log.warning("keeping the last known drift policy of namespace %s: %s", name, error)
    await asyncio.Event().wait()


async def _patiently(attempt: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Once more and once more, while it is stopped by trouble that passes."""
    backoff = Backoff(shortest=1.0, longest=15.0, steady=60.0)
    while True:
        backoff.begin()
        try:
            return await attempt()
        except ClusterError as error:
            log.warning("waiting for the API server: %s", error)
            wait = error.retry_after or 0.0
        await _unless_stopped(backoff.pause(wait), stop)


async def _unless_stopped(waiting: Coroutine[Any, Any, _Result], stop: asyncio.Event) -> _Result:
    task = asyncio.ensure_future(waiting)
    await _first(task, stop.wait())
    if stop.is_set():
        task.cancel()
        await asyncio.wait({task})
        raise _StoppedError
    return task.result()


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
            task.add_done_callback(_log_failure)

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _log_failure(task: asyncio.Future[None]) -> None:
    """What runs beside the body never ends by itself; the probes tell sooner or later what is missing now."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a part of the operator failed", exc_info=error)

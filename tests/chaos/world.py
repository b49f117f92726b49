"""Everything in one run: platform, API server, the operator's processes, and the judge between them.

Starts, kills and replaces the operator's processes as a Deployment would. What is done to the world is `rules`'.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

from aiohttp import web, web_app

from chaos.apiserver import ApiServer
from chaos.clocks import now, time_of_day
from chaos.history import PROJECTS, History
from chaos.history import Life as Declared
from chaos.kubernetes import WORKLOADS, Body, Change, Name, Objects
from chaos.life import API_SERVER, Life
from chaos.network import Loop, Process
from chaos.normal import NORMAL
from chaos.oracle import NAMING, Oracle
from chaos.platform import WatchedPlatform
from inferencekey_operator.settings import Settings
from inferencekey_simulator.app import create_app

PORT = 1
SETTINGS = Settings(
    base_url=f"http://127.0.0.1:{PORT}",
    list_interval=15.0,
    resync_period=120.0,
    readiness_interval=60.0,
    deletion_grace=60.0,
    client_timeout=10.0,
    lease_duration=15.0,
    uncertain_create_timeout=40.0,
)
OTHER = "other-system"
"""The namespace of another installation's Lease."""
SECRET = "inferencekey"
TOKEN_KEY = "INFERENCEKEY_SDK_TOKEN"
PROJECT_KEY = "INFERENCEKEY_PROJECT"


class World:
    """One run's."""

    def __init__(self, loop: Loop, rng: Random, shards: int = 1) -> None:
        self.loop, self.rng = loop, rng
        self.settings = replace(SETTINGS, shards=shards)
        self.history = History()
        self.good_tokens: dict[str, str] = {}
        """By namespace: the token that works, if there is one in its Secret."""
        self.oracle = Oracle(
            self.history,
            self.good_tokens.__contains__,
            lambda: self.platform.lied_at,
            lambda identifier: self.platform.edited.get(identifier, float("-inf")),
        )
        self.platform = WatchedPlatform(self.oracle, rng, self.tell)
        self.oracle.births = self.platform.births
        self.oracle.unheard = self.platform.unheard
        self.clock_behind = 0.0
        """Seconds by which the API server's clock is behind everybody else's."""
        self.objects = Objects(lambda: time_of_day() - timedelta(seconds=self.clock_behind), clock=now)
        self.objects.watchers += [self.oracle.observe, self._tell_of]
        self.api = ApiServer(self.objects, rng, self.oracle.written)
        self.lives: list[Life] = []
        self.others: list[Life] = []
        self.replicas = min(shards, 2)
        self.crashes = self.cuts = 0
        self.trace: list[str] = []
        """What happened, line by line."""
        self._beside: list[asyncio.Task[None]] = []

    # -- processes of the operator -----------------------------------------------------------------------------

    def running(self) -> list[Life]:
        """Those that are up."""
        return [life for life in self.lives if not life.over]

    def leader(self) -> Life | None:
        """The one that works."""
        return next((life for life in self.lives if life.leads), None)

    def start(self) -> None:
        """One more process; when it dies another takes its place."""
        life = Life(f"operator-{len(self.lives)}", self.settings, self.api)
        self.lives.append(life)
        self._beside.append(asyncio.ensure_future(self._replace(life)))

    def install_another(self) -> Life:
        """An operator of another installation: it has a Lease of its own, and is not replaced when it dies."""
        life = Life(f"other-{len(self.lives)}", replace(self.settings, lease_namespace=OTHER), self.api)
        self.others.append(life)
        return life

    async def _replace(self, life: Life) -> None:
        ends = asyncio.ensure_future(life.process.killed.wait())
        await asyncio.wait({ends, life.main}, return_when=asyncio.FIRST_COMPLETED)
        if life.process.dead:
            self.oracle.dead_at.append(now())
        elif not life.main.cancelled() and life.main.exception() is not None:
            self.oracle.wrong(f"ended-by-itself: {life.main.exception()!r}")
        life.process.kill()
        await asyncio.sleep(self.rng.uniform(0.1, 20.0))
        if len(self.running()) < self.replicas:
            self.start()

    # -- what people see and change ----------------------------------------------------------------------------

    def workloads(self) -> list[Declared]:
        """All that exist."""
        return list(self.history.present())

    def name(self, life: Declared) -> Name:
        """Where it is."""
        return Name(WORKLOADS, life.namespace, life.name)

    def patch(self, life: Declared, patch: Body, *, status: bool = False) -> None:
        """As with kubectl, without a precondition."""
        self.objects.patch(self.name(life), patch, status=status)

    def annotate(self, life: Declared, key: str, value: str | None) -> None:
        """`kubectl annotate --overwrite`."""
        self.patch(life, {"metadata": {"annotations": {key: value}}})

    def wipe_status(self, life: Declared) -> None:
        """Hands remove all that the status says."""
        life.hands.add("status")
        self.patch(life, {"status": dict.fromkeys(life.body["status"])}, status=True)

    def tear_away(self, life: Declared) -> None:
        """Hands remove the finalizer, and delete the object in the same moment."""
        life.hands.add("finalizer")
        self.patch(life, {"metadata": {"finalizers": None}})
        self.objects.delete(self.name(life))

    def put_secret(self, namespace: str, token: str | None, project: str | None = None) -> None:
        """The Secret with this text as its token; None takes it away."""
        name = Name("secrets", namespace, SECRET)
        standing = self.objects.get(name)
        self.good_tokens.pop(namespace, None)
        if token is None:
            if standing is not None:
                self.objects.delete(name)
            return
        texts = {TOKEN_KEY: token, PROJECT_KEY: project or PROJECTS[namespace]}
        data = {key: _encoded(text) for key, text in texts.items()}
        if standing is None:
            self.objects.create(name, {"data": data})
        else:
            self.objects.patch(name, {"data": data})

    def give_token(self, namespace: str, scopes: tuple[str, ...] = ("workload:write",)) -> None:
        """A Secret with a new token; one that may write is good."""
        token = self.mint(PROJECTS[namespace], scopes)
        self.put_secret(namespace, token)
        if "workload:write" in scopes:
            self.good_tokens[namespace] = token

    def restore_etcd(self, seconds: float) -> None:
        """Kubernetes as it was so many seconds ago; its Leases, too. The API server is started anew."""
        self.objects.put_back(self.objects.version_at(now() - seconds))
        present = {body["metadata"]["uid"]: body for body in self.objects.items(WORKLOADS)}
        self.history.put_back(present, self.objects.items("namespaces"))
        self.api.restart()
        self.tell(f"k8s: put back by {seconds:.0f} s, to {sorted(present)}")
        self.trouble_in_kubernetes(60.0)
        for namespace in PROJECTS:
            secret = self.objects.get(Name("secrets", namespace, SECRET))
            known = self.good_tokens.get(namespace)
            if known is not None and (secret is None or secret["data"][TOKEN_KEY] != _encoded(known)):
                self.good_tokens.pop(namespace)

    def move_secret(self, namespace: str, project: str) -> None:
        """The Secret names another project by now, with a token that is good there."""
        self.history.moved[namespace].add(project)
        self.put_secret(namespace, self.mint(project), project)

    def mint(self, project: str, scopes: tuple[str, ...] = ("workload:write",)) -> str:
        """A new token, whose secret is looked for from now on."""
        token = f"ik_sdk_{self.rng.getrandbits(32):08x}_{self.rng.getrandbits(256):064x}"
        self.oracle.secrets.add(token.rpartition("_")[2])
        return self.platform.mint(project, scopes, token)

    @property
    def faults(self) -> int:
        """How many requests met one, and how often the network or a watch broke."""
        return sum(entry.fault is not None for entry in self.platform.journal.since(0)) + self.api.met + self.cuts

    def trouble_in_kubernetes(self, lasts: float = 0.0) -> None:
        """The operator may see late what happens from now on, or for so many seconds."""
        self.history.troubled_at = max(self.history.troubled_at, now() + lasts)

    def _tell_of(self, change: Change) -> None:
        if change.kind == "DELETED" or change.body["metadata"].get("ownerReferences"):
            self.loop.call_later(self.rng.uniform(0.0, 2.0), self.objects.collect_garbage)
        if change.name.plural in ("leases", "events"):
            return
        body = change.body
        shown = {key: body["metadata"].get(key) for key in ("finalizers", "annotations", "deletionTimestamp")}
        known = {key: body.get("status", {}).get(key) for key in ("workloadId", "adopted")}
        ready = next((each["reason"] for each in body.get("status", {}).get("conditions", [])), None)
        self.tell(f"k8s: {change.kind} {'/'.join(change.name)} {body.get('spec')} {shown} {known} {ready}")

    def tell(self, what: str) -> None:
        """One more line of the trace."""
        process = Process.current.get()
        self.trace.append(f"{now():10.3f} {process.name if process else '-':12} {what}")

    def mend(self) -> None:
        """Nothing more goes wrong of what was armed."""
        self.platform.faults.clear()
        self.platform.weather.until = 0.0
        self.platform.lies.clear()
        self.platform.configure(NORMAL)
        self.clock_behind = 0.0
        self.api.mend()

    def close(self) -> None:
        """Nothing of the operator goes on."""
        self.replicas = 0
        for life in (*self.lives, *self.others):
            life.process.kill()
        for task in self._beside:
            task.cancel()


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@asynccontextmanager
async def a_world(rng: Random, shards: int = 1) -> AsyncIterator[World]:
    """A fresh world with one operator, three namespaces with a Secret each, and nothing declared; two share shards."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    world = World(loop, rng, shards)
    with _listening(world):
        runners = []
        for place, app in ((PORT, create_app(world.platform)), (API_SERVER, world.api.application())):
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            runners.append(runner)
            loop.listen(place, runner.server)  # type: ignore[arg-type]
        for namespace in PROJECTS:
            world.objects.create(Name("namespaces", "", namespace), {})
            world.give_token(namespace)
        for _ in range(world.replicas):
            world.start()
        try:
            yield world
        finally:
            world.close()
            await asyncio.sleep(1.0)
            for runner in runners:
                await runner.cleanup()
            web_app._cached_build_middleware.cache_clear()


class _listening(logging.Handler):  # noqa: N801 - reads as a function
    """Every line that the operator logs, and every error that nobody catches."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.INFO)
        self._world = world
        self._logger = logging.getLogger("inferencekey_operator")

    def __enter__(self) -> None:
        self._logger.addHandler(self)
        self._before = self._logger.level, self._logger.propagate
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False
        for server in ("aiohttp.server", "inferencekey_simulator"):
            logging.getLogger(server).setLevel(logging.CRITICAL)  # they tell of each connection that was cut
        self._world.loop.set_exception_handler(self._uncaught)

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        level, self._logger.propagate = self._before
        self._logger.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        self._world.tell(f"log: {text}")
        self._world.oracle.look_for_secrets(text, "log")
        if NAMING.search(text):
            self._world.oracle.named.append(text)
        process = Process.current.get()
        if record.levelno >= logging.ERROR and not (process is not None and process.dead):
            self._world.oracle.wrong(f"error-logged: {text}")

    def _uncaught(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if loop.is_closed() or "client_session" in context or "connector" in context:
            return  # a process that was killed closed nothing, and is collected at any time
        future = context.get("future") or context.get("task")
        process = Process.of(future) if isinstance(future, asyncio.Task) else None
        if process is None or not process.dead:
            self._world.oracle.wrong(f"uncaught: {context.get('message')}: {context.get('exception')!r}")

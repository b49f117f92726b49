"""The parts of the world that one reconciliation reads and writes, over a platform and an API server that are scripted.

The parts are the operator's own; what is scripted notes each call. For questions of order and time, on a virtual clock.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from pydantic import TypeAdapter

from inferencekey_operator.api.keys import Key
from inferencekey_operator.api.workload import FINALIZER, Workload, WorkloadSpec
from inferencekey_operator.cache.claims import Claims
from inferencekey_operator.cache.informers import Secrets
from inferencekey_operator.cache.installations import Installations
from inferencekey_operator.cache.readiness import Serving
from inferencekey_operator.cache.workloads import Memory, Store
from inferencekey_operator.errors import Reason
from inferencekey_operator.inferencekey.project import Project
from inferencekey_operator.inferencekey.projects import Projects
from inferencekey_operator.inferencekey.rate_limits import RateLimits
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.kube.client import Cluster
from inferencekey_operator.kube.reading import Body
from inferencekey_operator.kube.recorder import Recorder
from inferencekey_operator.plan.plan import Identity
from inferencekey_operator.reconcile.config_map import Publication
from inferencekey_operator.reconcile.context import Context, Terms
from inferencekey_operator.reconcile.observe import Observed, observe
from inferencekey_operator.reconcile.status_writer import Reporter
from inferencekey_operator.settings import Settings
from unit.builders import PLATFORM, TOKEN, a_workload
from unit.scripted_platform import ScriptedPlatform, row

SECRET = {"INFERENCEKEY_SDK_TOKEN": TOKEN, "INFERENCEKEY_PROJECT": "prod"}
ME = "inferencekey-system/inferencekey-operator"
_SPEC = TypeAdapter(WorkloadSpec)


@dataclass
class Events:
    """In the recorder's place: what was announced, as reason and note."""

    of_workloads: list[tuple[Reason, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    of_namespaces: list[tuple[Reason, str]] = field(default_factory=list)

    def workload(
        self, workload: Workload, reason: Reason, note: str, *, warning: bool = False, falls_back: bool = True
    ) -> None:
        """An Event about a Workload."""
        self.of_workloads.append((reason, note))
        if warning:
            self.warnings.append(note)

    def namespace(self, name: str, reason: Reason, note: str) -> None:
        """An Event about a Namespace."""
        self.of_namespaces.append((reason, note))


class NoConfigMaps:
    """In the publication's place: endpoints are published without a write."""

    async def publish(self, workload: Workload, identity: Identity, live: LiveWorkload) -> None:
        """Nothing."""


class Kubernetes:
    """In the cluster's place: applies the writes to Workloads, in memory, and notes them in order."""

    def __init__(self, did: list[str]) -> None:
        self.did = did
        self.fails: list[BaseException] = []
        self.patches: list[Mapping[str, Any]] = []
        self._version = 1000

    def _written(self, what: str, workload: Workload, **changed: Any) -> Body:
        self.did.append(what)
        if self.fails:
            raise self.fails.pop(0)
        self._version = max(self._version, int(workload.resource_version)) + 1
        body = body_of(replace(workload, resource_version=str(self._version)))
        return {**body, **changed, "metadata": {**body["metadata"], **changed.get("metadata", {})}}

    async def patch_status(self, workload: Workload, patch: Body) -> Body:
        """One merge patch of the status."""
        self.patches.append(patch)
        return self._written("status", workload, status=merged(workload.status.to_wire(), patch))

    async def add_finalizer(self, workload: Workload) -> Body:
        """Ours, as the last one."""
        finalizers = [*workload.finalizers, FINALIZER]
        return self._written("add finalizer", workload, metadata={"finalizers": finalizers})

    async def remove_finalizer(self, workload: Workload) -> Body:
        """The others stay."""
        finalizers = [name for name in workload.finalizers if name != FINALIZER]
        return self._written("remove finalizer", workload, metadata={"finalizers": finalizers})


def merged(value: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(value) if isinstance(value, Mapping) else {}
    for key, inner in patch.items():
        if inner is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), inner)
    return result


class Place:
    """The world of one process in its term; `did` has the writes, and all calls but lists, in order."""

    def __init__(self, **settings: Any) -> None:
        self.platform = ScriptedPlatform(row("support-bot"))
        self.namespaces: dict[str, str] = {}
        self.secrets = Secrets(lambda _: None)
        self.serving = Serving(lambda *_: None, 0.0)
        self.store = Store()
        self.events = Events()
        self.freed: list[Key] = []
        self.did = self.platform.did
        self.kubernetes = Kubernetes(self.did)
        self.settings = Settings(base_url=PLATFORM, **settings)
        recorder = cast(Recorder, self.events)
        pace = RateLimits(interval=self.settings.list_interval, lag=self.settings.uncertain_create_timeout)
        self.context = Context(
            settings=self.settings,
            store=self.store,
            reporter=Reporter(cast(Cluster, self.kubernetes), self.store, recorder, ME),
            secrets=self.secrets,
            namespace_policies=self.namespaces.get,
            projects=Projects(lambda _: self.platform, pace, changed=lambda *_: None, recovered=lambda _: None),
            claims=Claims(self.store.get, self.freed.append, with_id=self.store.with_id),
            publication=cast(Publication, NoConfigMaps()),
            serving=self.serving,
            recorder=recorder,
            terms=Terms(),
            installations=Installations(ME),
        )
        self.began = self.context.terms.of_shard[0].began = self.context.terms.of_shard[0].creates_from = 0.0

    def put(self, data: dict[str, str], name: str = "inferencekey", namespace: str = "team-a") -> None:
        """A Secret in a Workload's namespace."""
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self.secrets.put({"metadata": {"namespace": namespace, "name": name, "resourceVersion": "1"}, "data": encoded})

    def stands(self, *workloads: Workload) -> None:
        """The watch tells of `workloads`: this is how they stand now."""
        for workload in workloads:
            assert self.store.observe(body_of(workload))

    def now_stands(self, workload: Workload) -> Workload:
        """`workload` as the store has it."""
        known = self.store.get(workload.key)
        assert known is not None
        return known

    def memory(self, workload: Workload) -> Memory:
        """What the process remembers of it."""
        return self.store.memory(workload.key)

    def project(self) -> Project:
        """That of the builders' credential."""
        return self.context.projects.use("a test", PLATFORM, "prod", TOKEN)

    async def look(self, workload: Workload) -> Observed:
        """Observe `workload`."""
        return await observe(self.context, workload)

    @property
    def lists(self) -> int:
        """How many lists went out."""
        return len(self.platform.times("list"))


def body_of(workload: Workload) -> Body:
    """The object as the API server has it."""
    deleted_at = workload.deletion_timestamp
    return {
        "metadata": {
            "namespace": workload.namespace,
            "name": workload.name,
            "uid": workload.uid,
            "resourceVersion": workload.resource_version,
            "generation": workload.generation,
            "creationTimestamp": workload.creation_timestamp.isoformat(),
            "annotations": dict(workload.annotations),
            "finalizers": list(workload.finalizers),
            **({} if deleted_at is None else {"deletionTimestamp": deleted_at.isoformat()}),
        },
        "spec": _SPEC.dump_python(workload.spec, mode="json", by_alias=True, exclude_none=True),
        "status": workload.status.to_wire(),
    }


async def a_place(**settings: Any) -> Place:
    """One with the usual Secret and a Workload, a hundred seconds after the term began."""
    place = Place(**settings)
    place.put(SECRET)
    place.stands(replace(a_workload(), resource_version="1"))
    await asyncio.sleep(100)
    return place

"""Puts the parts of one operator process together; starts nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from functools import partial

from inferencekey_operator.app.gauges import Gauges
from inferencekey_operator.app.health import Health
from inferencekey_operator.cache.claims import Claims
from inferencekey_operator.cache.creation_order import Precedence
from inferencekey_operator.cache.informers import ConfigMaps, Namespaces, Secrets
from inferencekey_operator.cache.installations import Installations
from inferencekey_operator.cache.readiness import Serving
from inferencekey_operator.cache.workloads import Store
from inferencekey_operator.controller.controller import Controller
from inferencekey_operator.election.leadership import Leadership
from inferencekey_operator.inferencekey.connection import Connection
from inferencekey_operator.inferencekey.egress import Egress
from inferencekey_operator.inferencekey.projects import Projects
from inferencekey_operator.inferencekey.rate_limits import RateLimits
from inferencekey_operator.kube.client import METADATA_ONLY, Cluster, collection_paths
from inferencekey_operator.kube.reading import Body
from inferencekey_operator.kube.recorder import Recorder
from inferencekey_operator.kube.reflector import Reflector
from inferencekey_operator.reconcile.config_map import Publication
from inferencekey_operator.reconcile.context import Context, check_decision
from inferencekey_operator.reconcile.status_writer import Reporter
from inferencekey_operator.settings import Settings


class Platforms:
    """One connection per platform, opened when it is first needed."""

    def __init__(self, timeout: float, permit: Callable[[], None], egress: Egress) -> None:
        self._timeout, self._permit, self._egress = timeout, permit, egress
        self._connections: dict[str, Connection] = {}

    def connection(self, base_url: str) -> Connection:
        """The one to this platform."""
        if base_url not in self._connections:
            self._connections[base_url] = Connection(base_url, self._timeout, self._permit, self._egress)
        return self._connections[base_url]

    async def close(self) -> None:
        """No further call."""
        for connection in self._connections.values():
            await connection.close()


@dataclass(frozen=True, slots=True)
class Parts:
    """What the process starts and stops; the rest hangs on these."""

    controller: Controller
    leadership: Leadership
    platforms: Platforms
    namespaces: Namespaces
    reflectors: tuple[Reflector, ...]
    gauges: Gauges
    health: Health

    @property
    def context(self) -> Context:
        """What a look at a Workload works with."""
        return self.controller.context


def wire(settings: Settings, cluster: Cluster, *, egress: Egress | None = None, starting_over: bool = False) -> Parts:
    """All parts, each knowing those it works with.

    `egress` is the way to the platform, that of the environment by default; `starting_over` says that records of
    creations which are under way may be lost.
    """
    controller = Controller(settings.shards)
    least_wait = settings.uncertain_create_timeout if starting_over else 0.0
    store, recorder = Store(), Recorder(cluster)
    metadata = partial(list_workloads, cluster, settings, store, accept=METADATA_ONLY)
    leadership = Leadership(cluster, controller, settings, metadata, least_wait=least_wait)
    platforms = Platforms(settings.client_timeout, partial(_permit, leadership), egress or Egress.read())
    secrets = Secrets(controller.secret_changed)
    namespaces = Namespaces(cluster, controller.namespace_changed)
    config_maps = _config_maps(settings, cluster, controller)
    projects = Projects(
        platforms.connection,
        RateLimits(settings.list_interval, lag=settings.uncertain_create_timeout),
        changed=controller.rows_changed,
        recovered=controller.platform_recovered,
        troubled=controller.platform_troubled,
    )
    precedence = Precedence(cluster, settings.namespace, store.get) if settings.shards > 1 else None
    controller.wire(
        Context(
            settings=settings,
            store=store,
            reporter=Reporter(cluster, store, recorder, leadership.operator, projects.echoes),
            secrets=secrets,
            namespace_policies=namespaces.policies.get,
            projects=projects,
            claims=_claims(controller, store, precedence),
            publication=Publication(cluster, config_maps),
            serving=Serving(controller.readiness_told, settings.readiness_interval),
            recorder=recorder,
            terms=controller.terms,
            installations=Installations(leadership.operator),
            precedence=precedence,
        )
    )
    watches: tuple[Reflector, ...] = (
        *secrets.reflectors(cluster, settings.secret_name, settings.namespace),
        *config_maps,
        *(precedence.reflectors if precedence else ()),
    )
    return Parts(
        controller=controller,
        leadership=leadership,
        platforms=platforms,
        namespaces=namespaces,
        reflectors=watches if settings.namespace else (*watches, namespaces),
        gauges=Gauges(controller, cluster.pulse, lambda: leadership.shards_held),
        health=_health(settings, cluster, controller, leadership),
    )


def _permit(leadership: Leadership) -> None:
    """Whether the bytes of a write may go out now: this process leads, and what was decided is still declared."""
    leadership.check()
    check_decision()


def list_workloads(cluster: Cluster, settings: Settings, store: Store, **how: str) -> AsyncIterator[Body]:
    """Every Workload of this operator, from a list that is not older than what was seen. Raises ClusterError."""
    return cluster.workloads(settings.namespace, store.newest, store.version, **how)


def _health(settings: Settings, cluster: Cluster, controller: Controller, leadership: Leadership) -> Health:
    def login_trouble() -> str:
        return cluster.authentication.trouble

    longest_resync_step = 2 * settings.resync_period + 120.0
    return Health(controller, leadership, cluster.pulse, longest_resync_step, login_trouble)


def _claims(controller: Controller, store: Store, precedence: Precedence | None) -> Claims:
    freed = partial(controller.queue.add, urgent=True)
    if precedence is None:
        return Claims(store.get, freed, with_id=store.with_id)
    return Claims(store.get, freed, begun=precedence.of, with_id=store.with_id)


def _config_maps(settings: Settings, cluster: Cluster, controller: Controller) -> list[ConfigMaps]:
    paths: Iterable[str] = collection_paths("/api/v1", "configmaps", settings.namespace)
    return [ConfigMaps(cluster, path, controller.config_map_changed) for path in paths]

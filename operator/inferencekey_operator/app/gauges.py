"""What stands at the moment of a scrape: Workloads, projects, the queue, the watches, the Lease.

Counted when somebody asks and never in between, so that rest costs nothing and a series ends with what it is about.
What is about Workloads is told by who works on them alone: added up over all replicas, each Workload counts once.
"""

from __future__ import annotations

import asyncio
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from inferencekey_operator import metrics
from inferencekey_operator.api.status import DriftClass
from inferencekey_operator.api.workload import OnDrift, Workload
from inferencekey_operator.controller.controller import Controller
from inferencekey_operator.errors import Reason
from inferencekey_operator.inferencekey.project import Project
from inferencekey_operator.kube.watch_activity import Pulse
from inferencekey_operator.metrics import NONE, OTHER, GaugeSpec
from inferencekey_operator.plan.conditions import condition
from inferencekey_operator.reconcile.context import Context

MOST_PROJECTS = 500
"""So many projects have a series of their own; those beyond, the best off, share one."""

NEW, WAITING, DELETING = "New", "Waiting", "Deleting"
TOLD = ("Suspended", "Ready", "Stalled", "Reconciling")
STATES = (NEW, *TOLD, WAITING, DELETING)

Labels = tuple[str, ...]
_Family = GaugeMetricFamily | CounterMetricFamily


@dataclass(frozen=True, eq=False, slots=True)
class Gauges(Collector):
    """Everything that `metrics` describes as standing."""

    controller: Controller
    pulse: Pulse
    shards_held: Callable[[], int]

    def collect(self) -> Iterator[_Family]:
        """One scrape."""
        held = self.shards_held()
        yield _family(metrics.BUILD, {(version("inferencekey-operator"), platform.python_version()): 1.0})
        yield _family(metrics.LEADER, {(): float(held > 0)})
        yield _family(metrics.SHARDS, {(): len(self.controller.terms.of_shard)})
        yield _family(metrics.SHARDS_HELD, {(): held})
        yield _family(metrics.WATCH_IDLE, {(name,): seconds for name, seconds in self.pulse.silences().items()})
        yield from self._queue()
        if held:
            yield from _workloads(self.controller.ours)
            yield from _projects(self.controller.context)

    def _queue(self) -> Iterator[_Family]:
        queue = self.controller.queue
        yield _family(metrics.QUEUE_DEPTH, {(): queue.depth})
        yield _family(metrics.QUEUE_DELAYED, {(): queue.delayed})
        yield _family(metrics.QUEUE_RUNNING, {(): queue.running})
        yield _family(metrics.QUEUE_LONGEST, {(): queue.longest_running})
        yield _family(metrics.QUEUE_ADDS, {(): queue.adds})
        yield _family(metrics.QUEUE_RETRIES, {(): queue.retries})
        yield _family(metrics.STREAMS, {(): self.controller.context.serving.open_streams})
        idle = asyncio.get_running_loop().time() - self.controller.resync_at
        yield _family(metrics.RESYNC_IDLE, {(): idle} if idle < float("inf") else {})


def state(workload: Workload) -> Labels:
    """In which state a Workload is, for which reason, under which policy; each a word of ours."""
    status = workload.status
    ready = condition(status, "Ready")
    reason = NONE if ready is None else _known(ready.reason, Reason)
    return _state(workload), reason, NONE if status.drift.policy is None else _known(status.drift.policy, OnDrift)


def _state(workload: Workload) -> str:
    """The first that is true of a Workload."""
    if workload.deleting:
        return DELETING
    present = {condition.type: condition.status == "True" for condition in workload.status.conditions}
    if "Ready" not in present:
        return NEW
    return next((word for word in TOLD if present.get(word)), WAITING)


def _workloads(workloads: Iterable[Workload]) -> Iterator[_Family]:
    states: Counter[Labels] = Counter()
    drifted: Counter[Labels] = Counter()
    for workload in workloads:
        labels = state(workload)
        states[labels] += 1
        drift_class = workload.status.drift.drift_class
        if drift_class is not None:
            drifted[_known(drift_class, DriftClass), labels[2]] += 1
    yield _family(metrics.WORKLOADS, states)
    yield _family(metrics.DRIFTED, drifted)


def _projects(context: Context) -> Iterator[_Family]:
    projects = list(context.projects)
    troubled: Counter[Labels] = Counter(
        (str(project.trouble.reason),) for project in projects if project.down and project.trouble
    )
    newest = _newest(project for project in projects if project.proven)
    now = asyncio.get_running_loop().time()
    ages = {project: now - max(project.began for project in group) for project, group in newest.items()}
    undeclared = {project: sum(_undeclared(context, project) for project in group) for project, group in newest.items()}
    yield _family(metrics.PROJECTS, {(): len(projects)})
    yield _family(metrics.FAILING_PROJECTS, troubled)
    yield _family(metrics.PROJECT_LIST_AGE, _capped(ages, max))
    yield _family(metrics.UNDECLARED, _capped(undeclared, sum))


def _newest(projects: Iterable[Project]) -> dict[str, list[Project]]:
    """By slug, the projects of that slug: one for each platform, the one that was listed last with any credential."""
    found: dict[tuple[str, str], Project] = {}
    for project in sorted(projects, key=lambda project: project.began):
        found[project.base_url, project.slug] = project
    by_project: dict[str, list[Project]] = {}
    for project in found.values():
        by_project.setdefault(project.slug, []).append(project)
    return by_project


def _undeclared(context: Context, project: Project) -> int:
    return sum(not context.claims.claimed(project.base_url, project.slug, slug) for slug in project.cache.slugs)


def _capped(values: Mapping[str, float], together: Callable[[Iterable[float]], float]) -> dict[Labels, float]:
    """The greatest by name, the rest as one."""
    ranked = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    capped: dict[Labels, float] = {(project,): value for project, value in ranked[:MOST_PROJECTS]}
    if ranked[MOST_PROJECTS:]:
        capped[OTHER,] = together([*(value for _, value in ranked[MOST_PROJECTS:]), capped.get((OTHER,), 0.0)])
    return capped


def _known(word: str, words: type[Reason] | type[OnDrift] | type[DriftClass]) -> str:
    """A status may have been written by hand: what is none of our words is no label."""
    return str(word) if word in words._value2member_map_ else OTHER


def _family(metric: GaugeSpec, values: Mapping[Labels, float]) -> _Family:
    kind = CounterMetricFamily if metric.name.endswith("_total") else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family

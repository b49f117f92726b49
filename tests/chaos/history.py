"""What was true of each Workload, and when: what a judge has to know of an operator that sees everything late.

Knows how far back the operator's view may reach: further while Kubernetes is in trouble.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from chaos.clocks import now
from chaos.kubernetes import WORKLOADS, Body, Change
from inferencekey_operator.api.workload import APPROVE_PLAN, FINALIZER, ON_DRIFT, OnDrift

USUAL_LATENESS = 2.0
"""Seconds between what the API server acknowledged and what the operator sends: a watch's delay, and the way there."""
TROUBLED_LATENESS = 140.0
"""The same, after watches were silent or the API server failed."""
PROJECTS = {"team-a": "prod", "team-b": "prod", "team-c": "lab"}
"""The project of each namespace's Secret, as long as nobody moves it to another one."""


@dataclass
class Life:
    """One Workload, by uid, from its creation to its end."""

    uid: str
    namespace: str
    name: str
    versions: list[tuple[float, Body]] = field(default_factory=list)
    shown_plans: set[str] = field(default_factory=set)
    gone_at: float | None = None
    hands: set[str] = field(default_factory=set)
    """What hands did to it that may cost what the operator knows: "finalizer", "status", "restored", "etcd"."""
    without_secret: bool = False
    """Whether its Secret was no good at some time while it was being deleted."""
    with_rival: bool = False
    """Whether there was another one of its identity while it was being deleted."""
    grants: set[str] = field(default_factory=set)
    """Plan ids that somebody approved and that were shown before."""

    @property
    def body(self) -> Body:
        """As it stands, or stood last."""
        return self.versions[-1][1]

    @property
    def slug(self) -> str:
        """Its slug, which never changes."""
        spec = self.body["spec"]
        return str(spec.get("slug") or self.name)

    @property
    def project(self) -> str:
        """The project that it is pinned to, or would be."""
        now_pinned = self.body["status"].get("projectSlug")
        if now_pinned is None and self.hands & {"status", "restored"}:
            pinned = (body["status"].get("projectSlug") for _, body in reversed(self.versions))
            now_pinned = next((each for each in pinned if each), None)
        return str(now_pinned or PROJECTS[self.namespace])

    @property
    def pins(self) -> set[str]:
        """The projects that it was ever pinned to: a refused creation takes its pin back."""
        return {str(body["status"]["projectSlug"]) for _, body in self.versions if "projectSlug" in body["status"]}

    def was_created(self, before: float) -> bool:
        """Whether its status named a workload before a moment, and no hands made the operator forget that."""
        forgotten = self.hands & {"status", "restored", "etcd"}
        return not forgotten and any("workloadId" in body["status"] for at, body in self.versions if at < before)

    @property
    def deleting(self) -> bool:
        """Whether its deletion has begun."""
        return "deletionTimestamp" in self.body["metadata"]

    def lately(self, seconds: float) -> Iterator[Body]:
        """Every version that was true within the last `seconds`, or until it went, if that is as recent."""
        since = now() - seconds
        if self.gone_at is not None and self.gone_at < since:
            return
        for number, (_, body) in enumerate(self.versions):
            ends = self.versions[number + 1][0] if number + 1 < len(self.versions) else float("inf")
            if ends >= since:
                yield body


class History:
    """All Workloads that ever were, and the policies of their Namespaces."""

    def __init__(self) -> None:
        self.lives: dict[str, Life] = {}
        self._namespaces: defaultdict[str, list[tuple[float, str | None]]] = defaultdict(list)
        self.troubled_at = self.put_back_at = float("-inf")
        self.moved: defaultdict[str, set[str]] = defaultdict(set)
        """By namespace: the projects that its Secret ever named beside the usual one."""

    @property
    def lateness(self) -> float:
        """How old what the operator goes by may be."""
        return TROUBLED_LATENESS if now() - self.troubled_at < TROUBLED_LATENESS else USUAL_LATENESS

    def observe(self, change: Change) -> None:
        """The API server changed an object."""
        if change.name.plural == "namespaces":
            policy = (change.body["metadata"].get("annotations") or {}).get(ON_DRIFT)
            self._namespaces[change.name.name].append((now(), policy))
        if change.name.plural != WORKLOADS:
            return
        uid = change.body["metadata"]["uid"]
        life = self.lives.setdefault(uid, Life(uid, change.name.namespace, change.name.name))
        if change.kind == "DELETED":
            life.gone_at = now()
            return
        life.versions.append((now(), change.body))
        plan = change.body["status"].get("drift", {}).get("planId")
        if plan:
            life.shown_plans.add(plan)

    def put_back(self, objects: Mapping[str, Body], namespaces: Iterable[Body]) -> None:
        """Kubernetes was put back to a former state, with these Workloads, by uid, and these Namespaces."""
        self.put_back_at = now()
        for uid, life in self.lives.items():
            life.hands.add("etcd")
            if uid in objects:
                life.gone_at = None
                life.versions.append((now(), objects[uid]))
            elif life.gone_at is None:
                life.gone_at = now()
        for body in namespaces:
            policy = (body["metadata"].get("annotations") or {}).get(ON_DRIFT)
            self._namespaces[body["metadata"]["name"]].append((now(), policy))

    def present(self) -> Iterator[Life]:
        """All that exist."""
        return (life for life in self.lives.values() if life.gone_at is None)

    def of_slug(self, project: str, slug: str, lateness: float | None = None) -> Iterator[Life]:
        """All that exist, or did lately, with this slug in this project."""
        seconds = self.lateness if lateness is None else lateness
        for life in self.lives.values():
            places = {PROJECTS[life.namespace], life.project, *life.pins, *self.moved[life.namespace]}
            if life.slug == slug and project in places and any(life.lately(seconds)):
                yield life

    def policies(self, life: Life, body: Body, lateness: float) -> set[OnDrift | None]:
        """The policies that may have been taken for in force on this version: None is a word that is none."""
        own = annotation(body, ON_DRIFT)
        if own is not None:
            return {OnDrift.parse(own)}
        stated = self._namespaces[life.namespace]
        found: set[OnDrift | None] = set()
        for number, (_, word) in enumerate(stated):
            ends = stated[number + 1][0] if number + 1 < len(stated) else float("inf")
            if ends >= now() - 2 * lateness:
                found.add(OnDrift.RECONCILE if word is None else OnDrift.parse(word))
        return found or {OnDrift.RECONCILE}

    def policy(self, life: Life) -> OnDrift | None:
        """The policy that is in force now."""
        own = annotation(life.body, ON_DRIFT)
        word = own if own is not None else (self._namespaces[life.namespace] or [(0.0, None)])[-1][1]
        return OnDrift.RECONCILE if word is None else OnDrift.parse(word)


def annotation(body: Body, key: str) -> str | None:
    """One annotation."""
    found: str | None = (body["metadata"].get("annotations") or {}).get(key)
    return found


def approves(life: Life, body: Body) -> bool:
    """Whether this version carries an approval that is worth something: of a plan once shown, not yet handled."""
    approval = annotation(body, APPROVE_PLAN)
    handled = body["status"].get("lastHandledApproval", {}).get("planId")
    return approval is not None and approval != handled and approval in life.shown_plans


def finalized(body: Body) -> bool:
    """Whether our finalizer is there."""
    return FINALIZER in (body["metadata"].get("finalizers") or ())


def on_record(body: Body) -> bool:
    """Whether a creation is on record whose outcome is not known."""
    return "creation" in body["status"] and "workloadId" not in body["status"]

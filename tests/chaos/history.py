"""What was true of each Workload, and when: what a judge has to know of an operator that sees everything late.

Knows how far back the operator's view may reach: further while Kubernetes is in trouble.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from chaos.clocks import now
from chaos.kubernetes import WORKLOADS, Body, Change
from inferencekey_operator.workload import APPROVE_PLAN, FINALIZER, ON_DRIFT, OnDrift

USUAL_LATENESS = 45.0
"""Seconds: a watch's delay, a client's timeout, and what the platform may still carry out after that."""
TROUBLED_LATENESS = 140.0
"""The same, after watches were silent or the API server failed."""


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
    """What hands did to it that may cost what the operator knows: "finalizer", "status", "restored"."""
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
        self.troubled_at = float("-inf")

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

    def present(self) -> Iterator[Life]:
        """All that exist."""
        return (life for life in self.lives.values() if life.gone_at is None)

    def of_slug(self, namespaces: tuple[str, ...], slug: str) -> Iterator[Life]:
        """All that exist, or did lately, with this slug in these namespaces."""
        for life in self.lives.values():
            if life.namespace in namespaces and life.slug == slug and any(life.lately(self.lateness)):
                yield life

    def policies(self, life: Life, body: Body) -> set[OnDrift | None]:
        """The policies that may have been taken for in force on this version: None is a word that is none."""
        own = annotation(body, ON_DRIFT)
        if own is not None:
            return {OnDrift.parse(own)}
        stated = self._namespaces[life.namespace]
        found: set[OnDrift | None] = set()
        for number, (_, word) in enumerate(stated):
            ends = stated[number + 1][0] if number + 1 < len(stated) else float("inf")
            if ends >= now() - 2 * self.lateness:
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

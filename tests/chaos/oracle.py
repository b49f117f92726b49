"""What must never happen, judged at the moment of each write.

The operator sees the world late, so what it does is right if it was right for anything that was true lately. What
hands did may excuse what would else be a fault; each excuse is named where it is made. Nothing here is taken from
the operator's own decisions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from chaos.apiserver import Asked
from chaos.clocks import START, now
from chaos.history import History, Life, approves, finalized
from chaos.kubernetes import WORKLOADS, Body, Change
from chaos.platform import Birth
from inferencekey_operator.workload import OnDrift
from inferencekey_simulator.inventory import Fields, Row
from unit.invariants import check_status

PROJECTS = {"team-a": "prod", "team-b": "prod", "team-c": "lab"}
"""The project of each namespace's Secret."""
OLDER_THAN_US = timedelta(minutes=1)
RACE = 45.0
"""Seconds within which a slug may be taken, or a list lie, between the operator's last look and its POST."""


def namespaces_of(project: str) -> tuple[str, ...]:
    """Whose Secrets name this project."""
    return tuple(namespace for namespace, named in PROJECTS.items() if named == project)


def declared(body: Body) -> Fields:
    """What a Workload declares, in the platform's words."""
    spec, metadata = body["spec"], body["metadata"]
    config = {**spec.get("config", {}), **({"command": spec["command"]} if "command" in spec else {})}
    fields = {
        "name": spec.get("name") or metadata["name"],
        "backend": spec["backend"],
        "model_name": spec["model"],
        "description": spec.get("description"),
        "config": config or None,
        "execution_policy": spec.get("executionPolicy"),
        "execution_policy_config": spec.get("executionPolicyConfig"),
    }
    return {key: value for key, value in fields.items() if value is not None}


def holds(live: Any, wanted: Any) -> bool:
    """Whether `live` has everything that is declared."""
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(holds(live.get(key), value) for key, value in wanted.items())
    return bool(live == wanted)


def in_sync(body: Body, row: Row) -> bool:
    """Whether the platform has what is declared."""
    return holds(row.fields, declared(body))


@dataclass
class Oracle:
    """Collects what went wrong; is the platform's witness and the API server's."""

    history: History
    secret_is_good: Callable[[str], bool]
    lied_at: Callable[[], float]
    broken: list[str] = field(default_factory=list)
    kubernetes_writes: list[str] = field(default_factory=list)
    platform_writes: list[str] = field(default_factory=list)
    makers: dict[str, frozenset[str]] = field(default_factory=dict)
    """By id of a row that the operator made: the uids of whom it may have been for."""
    births: dict[str, Birth] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)
    """What must never be shown."""
    dead_at: list[float] = field(default_factory=list)
    """When a process was killed."""

    def wrong(self, what: str) -> None:
        """An invariant does not hold."""
        self.broken.append(f"at {now():.1f} s: {what}")

    # -- the platform ------------------------------------------------------------------------------------------

    def created(self, row: Row, birth: Birth, taken_by: Row | None) -> None:
        """A POST was carried out."""
        self.platform_writes.append(f"POST {row.slug}")
        self.births[row.id] = birth
        lives = list(self.history.of_slug(namespaces_of(row.project), birth.wanted))
        self.makers[row.id] = frozenset(life.uid for life in lives)
        if taken_by is not None and not self._may_be_a_twin(taken_by):
            self.wrong(f"two-for-a-slug: {row.slug} was made while {taken_by.id} had {birth.wanted}")
        if not any(self._may_create(life, body, birth.body) for life in lives for body in self._lately(life)):
            self.wrong(f"write-without-leave: POST of {birth.wanted} in {row.project}: {self._seen(lives)}")

    def updated(self, row: Row, before: Fields, body: Fields) -> None:
        """A PATCH was carried out."""
        self.platform_writes.append(f"PATCH {row.slug}")
        lives = list(self.history.of_slug(namespaces_of(row.project), row.slug))
        if not any(self._may_update(life, seen, row, body) for life in lives for seen in self._lately(life)):
            what = f"PATCH of {row.slug} ({row.id}) with {json.dumps(body)}"
            self.wrong(f"write-without-leave: {what}: {self._seen(lives)}")

    def deleted(self, row: Row) -> None:
        """A DELETE was carried out."""
        self.platform_writes.append(f"DELETE {row.slug}")
        birth = self.births.get(row.id)
        if birth is not None and birth.wanted != row.slug:
            return  # a twin of the operator's own
        lives = list(self.history.of_slug(namespaces_of(row.project), row.slug))
        if not any(self._may_delete(life, seen, row) for life in lives for seen in self._lately(life)):
            self.wrong(f"deleted-what-is-not-ours: {row.slug} ({row.id}): {self._seen(lives)}")
        for life in lives:
            if self._owns_for_long(life, row):
                self.wrong(f"deleted-what-is-not-ours: {row.slug} ({row.id}) is {life.namespace}/{life.name}'s")

    def _lately(self, life: Life) -> Iterator[Body]:
        return life.lately(self.history.lateness)

    def _may_be_a_twin(self, taken_by: Row) -> bool:
        """Somebody else took the slug after the operator's last look, or a list lied to it."""
        recently = now() - RACE
        if self.lied_at() > recently:
            return True
        made = self.births.get(taken_by.id)
        return made is None and _timestamp(taken_by) > recently

    def _may_create(self, life: Life, body: Body, sent: Fields) -> bool:
        if body["spec"].get("suspend") or "deletionTimestamp" in body["metadata"] or not holds(sent, declared(body)):
            return False
        policies = self.history.policies(life, body) - {None}
        if approves(life, body) and policies:
            return True
        if "workloadId" in body["status"]:
            return OnDrift.RECONCILE in policies
        return bool(policies - {OnDrift.DRY_RUN})

    def _may_update(self, life: Life, body: Body, row: Row, sent: Fields) -> bool:
        wanted = declared(body)
        if body["spec"].get("suspend") or "deletionTimestamp" in body["metadata"]:
            return False
        if not all(key in wanted and holds(value, wanted[key]) for key, value in sent.items()):
            return False
        policies = self.history.policies(life, body) - {None}
        if approves(life, body) and policies:
            return True
        known = body["status"].get("workloadId") == row.id or finalized(body)
        held = body["spec"].get("adoptionPolicy") in ("Never", "IfIdentical") and not known
        return OnDrift.RECONCILE in policies and not held

    def _may_delete(self, life: Life, body: Body, row: Row) -> bool:
        policy, recorded = body["spec"].get("deletionPolicy"), body["status"].get("workloadId")
        if "deletionTimestamp" not in body["metadata"] or policy == "Orphan":
            return False
        if recorded not in (row.id, None) or (recorded is None and not finalized(body)):
            return False
        return policy == "Delete" or life.uid in self.makers.get(row.id, ()) or self._looks_like_ours(life, row)

    def _looks_like_ours(self, life: Life, row: Row) -> bool:
        """A finalizer without an id says "made here, perhaps": what others made in that time cannot be told apart."""
        born = _timestamp(row)
        if (START + timedelta(seconds=born)) < _created(life.body) - OLDER_THAN_US:
            return False
        versions = life.versions
        for number, (_, body) in enumerate(versions):
            ends = versions[number + 1][0] if number + 1 < len(versions) else float("inf")
            if ends >= born - RACE and finalized(body) and "workloadId" not in body["status"]:
                return True
        return False

    def _owns_for_long(self, life: Life, row: Row) -> bool:
        if life.deleting or life.gone_at is not None or "restored" in life.hands:
            return False
        return all(body["status"].get("workloadId") == row.id for body in self._lately(life))

    def _seen(self, lives: list[Life]) -> str:
        return "; ".join(_described(life) for life in lives) or "nobody declares it"

    # -- Kubernetes --------------------------------------------------------------------------------------------

    def observe(self, change: Change) -> None:
        """An object changed, whoever did it."""
        self.history.observe(change)
        self.note()

    def note(self) -> None:
        """What may excuse a deletion later: no Secret meanwhile, or somebody else with the same identity."""
        for life in self.history.present():
            if life.deleting:
                life.without_secret |= not self.secret_is_good(life.namespace)
                rivals = self.history.of_slug(namespaces_of(PROJECTS[life.namespace]), life.slug)
                life.with_rival |= any(rival.uid != life.uid for rival in rivals)

    def written(self, asked: Asked, body: Body) -> None:
        """The operator wrote to Kubernetes."""
        if asked.name.plural == "leases":
            return
        self.kubernetes_writes.append(f"{asked.method} {'/'.join(asked.name)}{'/status' if asked.status else ''}")
        self.look_for_secrets(json.dumps(asked.body), f"{asked.method} {asked.name}")
        if asked.name.plural == WORKLOADS and asked.status:
            try:
                check_status(body["status"])
            except AssertionError as error:
                self.wrong(f"bad-status: {error}")

    def look_for_secrets(self, text: str, where: str) -> None:
        """No secret half of a token is ever shown."""
        for secret in self.secrets:
            if secret in text:
                self.wrong(f"secret-shown: {where}")

    # -- the end -----------------------------------------------------------------------------------------------

    def leaks(self, rows: Mapping[str, Row]) -> Iterator[str]:
        """Each row of ours that nobody has any more, and no excuse for it."""
        for row in rows.values():
            birth = self.births.get(row.id)
            if birth is None:
                continue
            if birth.wanted != row.slug:
                if not self._answer_was_lost(birth):
                    yield f"leak: the twin {row.slug} ({row.id}) stays"
                continue
            if any(True for life in self.history.present() if self._is(life, row)):
                continue
            makers = [self.history.lives[uid] for uid in self.makers[row.id]]
            if not any(self._excuse(maker) for maker in makers):
                yield f"leak: {row.slug} ({row.id}) stays: {self._seen(makers)}"

    def _is(self, life: Life, row: Row) -> bool:
        return life.slug == row.slug and PROJECTS[life.namespace] == row.project

    def _answer_was_lost(self, birth: Birth) -> bool:
        return birth.answer_lost or any(birth.at <= at <= birth.at + RACE for at in self.dead_at)

    def _excuse(self, life: Life) -> str | None:
        if life.hands & {"finalizer", "restored"}:
            return "hands took what the operator knew"
        if life.without_secret:
            return "it was let go without a token"
        if life.with_rival:
            return "its slug was another one's"
        last = life.versions[-1][0] - self.history.lateness
        for number, (_, body) in enumerate(life.versions):
            ends = life.versions[number + 1][0] if number + 1 < len(life.versions) else float("inf")
            policy = body["spec"].get("deletionPolicy")
            if ends >= last and (policy == "Orphan" or (policy is None and body["status"].get("adopted"))):
                return "it stays as declared"
        return None


def _timestamp(row: Row) -> float:
    """When a row was made, in seconds of the run."""
    return (datetime.fromisoformat(str(row.fields["created_at"])) - START).total_seconds()


def _created(body: Body) -> datetime:
    return datetime.fromisoformat(body["metadata"]["creationTimestamp"])


def _described(life: Life) -> str:
    body, gone = life.body, f", gone at {life.gone_at:.1f} s" if life.gone_at is not None else ""
    spec = {key: value for key, value in body["spec"].items() if key.endswith("Policy") or key == "suspend"}
    status = {key: body["status"].get(key) for key in ("workloadId", "adopted")}
    words = {key: body["metadata"].get(key) for key in ("annotations", "finalizers", "deletionTimestamp")}
    hands = sorted(life.hands)
    return f"{life.namespace}/{life.name} {life.uid[:8]} {spec} {status} {words} hands={hands}{gone}"

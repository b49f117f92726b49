"""What must never happen, judged at the moment of each write.

The operator sees the world late, so what it does is right if it was right for anything that was true lately. What
hands did may excuse what would else be a fault; each excuse is named where it is made. Nothing here is taken from
the operator's own decisions.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from chaos.apiserver import Asked
from chaos.clocks import now
from chaos.expected import ready_of
from chaos.history import History, Life, approves, on_record
from chaos.kubernetes import WORKLOADS, Body, Change, Name
from chaos.platform import Birth
from inferencekey_operator.api.workload import OnDrift
from inferencekey_simulator.inventory import Fields, Row
from unit.invariants import check_status

RACE = 45.0
"""Seconds within which a slug may be taken, or a list lie, between the operator's last look and its POST."""
LOOK = 5.0
"""Seconds between the operator's last look and a write that rests on it."""
DAMPED_WITHIN, DAMPED_TO = 10.0, 20
"""Seconds, and how often an object may be written within them: a fraction of how often a flood changes something."""
NAMING = re.compile(r"Orphaned|DuplicateWorkload|Disappeared|IdentityChanged")
"""What a line of the log says that names a workload which is left, with its id."""


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
    edited: Callable[[str], float]
    """When hands changed the row with this id; minus infinity where they never did."""
    broken: list[str] = field(default_factory=list)
    kubernetes_writes: list[str] = field(default_factory=list)
    platform_writes: list[str] = field(default_factory=list)
    makers: dict[str, frozenset[str]] = field(default_factory=dict)
    """By id of a row that the operator made: the uids of whom it may have been for."""
    births: dict[str, Birth] = field(default_factory=dict)
    """By id, of every row that ever was: the platform's own."""
    secrets: set[str] = field(default_factory=set)
    """What must never be shown."""
    dead_at: list[float] = field(default_factory=list)
    """When a process was killed."""
    named: list[str] = field(default_factory=list)
    """What the operators said of workloads that are left."""
    _written_at: defaultdict[Name, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    arrived: float | None = None
    """When the request arrived that is carried out now: what was acknowledged after that could not be heeded."""
    unheard: Callable[[str, str], bool] = lambda identifier, slug: False
    """Whether a row was written by the operator, and no stream told since that it is ready."""

    def wrong(self, what: str) -> None:
        """An invariant does not hold."""
        self.broken.append(f"at {now():.1f} s: {what}")

    # -- the platform ------------------------------------------------------------------------------------------

    def created(self, row: Row, birth: Birth, taken_by: Row | None) -> None:
        """A POST was carried out."""
        self.platform_writes.append(f"POST {row.slug}")
        lives = list(self.history.of_slug(row.project, birth.wanted, self.lateness))
        self.makers[row.id] = frozenset(life.uid for life in lives)
        if taken_by is not None and not self._may_be_a_twin(taken_by):
            self.wrong(f"two-for-a-slug: {row.slug} was made while {taken_by.id} had {birth.wanted}")
        if not any(self._may_create(life, body, birth.body) for life in lives for body in self._lately(life)):
            self.wrong(f"write-without-leave: POST of {birth.wanted} in {row.project}: {self._seen(lives)}")

    def updated(self, row: Row, before: Fields, body: Fields) -> None:
        """A PATCH was carried out."""
        self.platform_writes.append(f"PATCH {row.slug}")
        slugs = {row.slug, self.births[row.id].made_as} if self._may_look_as_before(row) else {row.slug}
        lives = [life for slug in slugs for life in self.history.of_slug(row.project, slug, self.lateness)]
        if not any(self._may_update(life, seen, row, body) for life in lives for seen in self._lately(life)):
            what = f"PATCH of {row.slug} ({row.id}) with {json.dumps(body)}"
            self.wrong(f"write-without-leave: {what}: {self._seen(lives)}")

    def deleted(self, row: Row) -> None:
        """A DELETE was carried out."""
        self.platform_writes.append(f"DELETE {row.slug}")
        birth = self.births.get(row.id)
        if birth is not None and birth.by_operator and birth.wanted != birth.made_as:
            return  # a duplicate of the operator's own
        if birth is not None and birth.by_operator and row.slug != birth.made_as and self._may_look_as_before(row):
            return  # its own, renamed, and lists did not show it
        lives = list(self.history.of_slug(row.project, row.slug, self.lateness))
        seen_lately = ((life, seen) for life in lives for seen in self._lately(life))
        if not any(self._may_delete(life, seen, row) for life, seen in (*seen_lately, *self._unreleased(row))):
            self.wrong(f"deleted-what-is-not-ours: {row.slug} ({row.id}): {self._seen(lives)}")
        for life in lives:
            if self._owns_for_long(life, row):
                self.wrong(f"deleted-what-is-not-ours: {row.slug} ({row.id}) is {life.namespace}/{life.name}'s")

    @property
    def lateness(self) -> float:
        """How old what the operator went by may be: as old as its request, and what was on the way to it then."""
        on_the_way = 0.0 if self.arrived is None else now() - self.arrived
        return on_the_way + self.history.lateness

    def _lately(self, life: Life) -> Iterator[Body]:
        return life.lately(self.lateness)

    def _may_look_as_before(self, row: Row) -> bool:
        """Whether lists may not have shown yet what hands changed, when what is carried out now was sent."""
        sent = now() if self.arrived is None else self.arrived
        return self.lied_at() > sent - RACE or self.edited(row.id) > sent - LOOK

    def _was_edited(self, row: Row) -> bool:
        return self.edited(row.id) > float("-inf")

    def _may_be_a_twin(self, taken_by: Row) -> bool:
        """Somebody else took the slug after the operator's last look, or a list lied to it, or lagged."""
        recently = now() - RACE
        if self.lied_at() > recently or self.history.put_back_at > recently:
            return True
        made = self.births.get(taken_by.id)
        return made is not None and not made.by_operator and made.at > recently

    def _may_create(self, life: Life, body: Body, sent: Fields) -> bool:
        if body["spec"].get("suspend") or "deletionTimestamp" in body["metadata"] or not holds(sent, declared(body)):
            return False
        policies = self.history.policies(life, body, self.lateness) - {None}
        if approves(life, body) and policies:
            return True
        if on_record(body) and any(approves(life, seen) for _, seen in life.versions):
            return True  # it was approved when it was recorded, and is repeated until its outcome is known
        if "workloadId" in body["status"] or life.was_created(now() if self.arrived is None else self.arrived):
            return OnDrift.RECONCILE in policies
        return bool(policies - {OnDrift.DRY_RUN})

    def _may_update(self, life: Life, body: Body, row: Row, sent: Fields) -> bool:
        wanted = declared(body)
        if body["spec"].get("suspend") or "deletionTimestamp" in body["metadata"]:
            return False
        if not all(key in wanted and holds(value, wanted[key]) for key, value in sent.items()):
            return False
        policies = self.history.policies(life, body, self.lateness) - {None}
        if approves(life, body) and policies:
            return True
        known = body["status"].get("workloadId") == row.id or on_record(body)
        held = body["spec"].get("adoptionPolicy") in ("Never", "IfIdentical") and not known
        return OnDrift.RECONCILE in policies and not held

    def _may_delete(self, life: Life, body: Body, row: Row) -> bool:
        policy, recorded = body["spec"].get("deletionPolicy"), body["status"].get("workloadId")
        vanished = life.gone_at is not None and bool(life.hands & {"finalizer", "etcd"})
        vanished |= life.gone_at is not None and not body["metadata"].get("finalizers")  # it did not get one in time
        if not ("deletionTimestamp" in body["metadata"] or vanished) or policy == "Orphan":
            return False
        if recorded not in (row.id, None) or (recorded is None and not on_record(body) and not life.hands):
            return False
        return policy == "Delete" or life.uid in self.makers.get(row.id, ()) or self._looks_like_ours(life, row)

    def _unreleased(self, row: Row) -> Iterator[tuple[Life, Body]]:
        """Whose this row was that went without its finalizer: the deletion is tried for as long as it is refused."""
        for life in self.history.lives.values():
            unreleased = life.gone_at is not None and "finalizer" in life.hands
            if unreleased and life.body["status"].get("workloadId") == row.id:
                yield life, life.body

    def _looks_like_ours(self, life: Life, row: Row) -> bool:
        """What others made while the answer of a creation was awaited, with the same name and model, cannot be told
        apart from what it made.
        """
        birth = self.births[row.id]
        same = {key: birth.body.get(key) for key in ("backend", "model_name")}
        for number, (_, body) in enumerate(life.versions):
            ends = life.versions[number + 1][0] if number + 1 < len(life.versions) else float("inf")
            if (
                ends >= birth.at - RACE
                and on_record(body)
                and any(
                    holds(same, {key: value for key, value in declared(seen).items() if key in same})
                    for _, seen in life.versions
                )
            ):
                return True
        return False

    def _owns_for_long(self, life: Life, row: Row) -> bool:
        if life.deleting or life.gone_at is not None or "restored" in life.hands:
            return False
        lately = list(self._lately(life))
        if any("deletionTimestamp" in body["metadata"] for body in lately):
            return False  # etcd was restored while it was being deleted
        return all(body["status"].get("workloadId") == row.id for body in lately)

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
                rivals = self.history.of_slug(life.project, life.slug)
                life.with_rival |= any(rival.uid != life.uid for rival in rivals)

    def written(self, asked: Asked, body: Body) -> None:
        """The operator wrote to Kubernetes."""
        if asked.name.plural == "leases":
            return
        self.kubernetes_writes.append(f"{asked.method} {'/'.join(asked.name)}{'/status' if asked.status else ''}")
        self._judge_frequency(asked)
        self.look_for_secrets(json.dumps(asked.body), f"{asked.method} {asked.name}")
        if asked.name.plural == WORKLOADS and asked.status:
            try:
                check_status(body["status"])
            except AssertionError as error:
                if self.history.put_back_at < now() - RACE:  # else it may be a part of two, of the same resourceVersion
                    self.wrong(f"bad-status: {error}")
            self._judge_readiness(body)

    def _judge_frequency(self, asked: Asked) -> None:
        """However often something changes, what follows from it is not written as often."""
        times = self._written_at[asked.name]
        times.append(now())
        while times[0] < now() - DAMPED_WITHIN:
            times.popleft()
        if len(times) > DAMPED_TO:
            self.wrong(f"flooded: {asked.name} was written {len(times)} times within {DAMPED_WITHIN:g} s")
            times.clear()

    def _judge_readiness(self, body: Body) -> None:
        """Ready is True only by an answer of the platform's that is newer than the last write.

        Excused: what is suspended keeps what it was, and hands or another operator may write any status.
        """
        life, status = self.history.lives[body["metadata"]["uid"]], body["status"]
        writers = {version["status"].get("operator") for _, version in life.versions} - {None}
        if life.hands or len(writers) > 1 or body["spec"].get("suspend"):
            return
        if ready_of(body).get("status") == "True" and self.unheard(status["workloadId"], life.slug):
            self.wrong(f"ready-too-early: {life.namespace}/{life.name}: {ready_of(body)}")

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
            if birth is None or not birth.by_operator or self._is_named(row):
                continue
            makers = [self.history.lives[uid] for uid in self.makers[row.id]]
            if any("etcd" in maker.hands for maker in makers):
                continue  # what was recorded of it is of a time that never was
            if birth.wanted != birth.made_as:
                forgotten = self._was_edited(row) or any(maker.hands for maker in makers)
                resting = any("creation" in each.body["status"] and each.body["spec"].get("suspend") for each in makers)
                if not (self._answer_was_lost(birth) and (forgotten or resting)):
                    yield f"leak: the duplicate {row.slug} ({row.id}) stays, and nobody was told"
                continue
            if any(True for life in self.history.present() if self._is(life, row)):
                continue
            if row.slug != birth.made_as and self._answer_was_lost(birth):
                continue  # renamed by hands before anybody knew of it, and the platform's times may say nothing
            if not any(self._excuse(maker, row) for maker in makers):
                yield f"leak: {row.slug} ({row.id}) stays, and nobody was told: {self._seen(makers)}"

    def _is_named(self, row: Row) -> bool:
        """Whether an operator said that it is left, by its id or, where none was known, by its slug and project."""
        slugs = {row.slug, self.births[row.id].made_as}
        places = [f"slug {slug}, project {row.project}" for slug in slugs]
        return any(row.id in line or any(place in line for place in places) for line in self.named)

    def _is(self, life: Life, row: Row) -> bool:
        if life.body["status"].get("workloadId") == row.id:
            return True
        return life.slug == row.slug and life.project == row.project

    def _answer_was_lost(self, birth: Birth) -> bool:
        return birth.answer_lost or any(birth.at <= at <= birth.at + RACE for at in self.dead_at)

    def _excuse(self, life: Life, row: Row) -> str | None:
        if life.hands & {"restored", "etcd"}:
            return "hands took what the operator knew"
        if "status" in life.hands and self._was_edited(row):
            return "hands took what the operator knew, and renamed the workload"
        if "status" in life.hands and any(f"{life.slug} was not deleted" in line for line in self.named):
            return "hands took what the operator knew, and it said which slug that was"
        if "finalizer" in life.hands and any(abs((life.gone_at or now()) - at) < RACE for at in self.dead_at):
            return "hands took the finalizer while no operator worked"
        last = life.versions[-1][0] - self.history.lateness
        for number, (_, body) in enumerate(life.versions):
            ends = life.versions[number + 1][0] if number + 1 < len(life.versions) else float("inf")
            policy = body["spec"].get("deletionPolicy")
            if ends >= last and (policy == "Orphan" or (policy is None and body["status"].get("adopted"))):
                return "it stays as declared"
        return None


def _described(life: Life) -> str:
    body, gone = life.body, f", gone at {life.gone_at:.1f} s" if life.gone_at is not None else ""
    spec = {key: value for key, value in body["spec"].items() if key.endswith("Policy") or key == "suspend"}
    status = {key: body["status"].get(key) for key in ("workloadId", "adopted")}
    words = {key: body["metadata"].get(key) for key in ("annotations", "finalizers", "deletionTimestamp")}
    hands = sorted(life.hands)
    return f"{life.namespace}/{life.name} {life.uid[:8]} {spec} {status} {words} hands={hands}{gone}"

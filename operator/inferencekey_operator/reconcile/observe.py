"""The first quarter of ensure(): what is declared, who we are on the platform, and what there is.

Raises what stands in the way, before any call where that can be told before. Decides nothing about what to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inferencekey_operator.api.bounds import TOO_MUCH, beyond_reason
from inferencekey_operator.api.workload import ON_DRIFT, OnDrift, Workload
from inferencekey_operator.cache.workloads import Memory, pending_creation
from inferencekey_operator.errors import Actor, ConfigurationError, PlatformFailure, Reason
from inferencekey_operator.inferencekey.project import Project
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.plan.conditions import condition
from inferencekey_operator.plan.credentials import (
    Credential,
    credential,
    identity,
    pinned_identity,
    quoted,
    refuse_secrets,
)
from inferencekey_operator.plan.drift import declared_document
from inferencekey_operator.plan.ownership import IN_TIME, Origin, origin
from inferencekey_operator.plan.plan import Identity, pending_approval
from inferencekey_operator.reconcile.context import Context, RequeueAfter
from inferencekey_operator.reconcile.safeguards import look_requested, newest_needed
from inferencekey_operator.redaction import excerpt

_PASSING = frozenset(reason for reason in Reason if reason.actor is Actor.PLATFORM) - {Reason.PROGRESSING}


@dataclass(frozen=True, slots=True)
class Observed:
    """What one look at the platform gave; `origin` says whose the row is."""

    identity: Identity
    project: Project
    policy: OnDrift
    declared: dict[str, Any]
    live: LiveWorkload | None
    origin: Origin

    @property
    def known(self) -> bool:
        """Whether the row is this Workload's, recorded or made here."""
        return self.live is not None and self.origin is Origin.OURS


async def observe(context: Context, workload: Workload) -> Observed:
    """Look, with a list that is new enough for what is to be decided."""
    try:
        policy, declared, found, who = _prepare(context, workload)
    except ConfigurationError:
        context.projects.leave(workload.key)
        context.serving.rest(workload.key)
        raise
    ref = workload.spec.token_secret_ref
    used = context.secrets.get(workload.namespace, ref.name)
    project = context.projects.use(workload.key, found.base_url, found.project, found.token)
    stake(context, workload)
    needed = _fresh_since(workload, context.store.memory(workload.key), project)
    if look_requested(workload) and (wait := project.forced(needed)) > 0:
        raise RequeueAfter(wait)
    await project.look(needed)
    if (refusal := project.refusal) is not None:  # any list would have done, and the last one tells of former times
        raise refusal
    context.secrets.keep(workload.key, ref.name, ref.key, found.project, used)
    context.claims.accept(workload.key)
    refuse_rivals(context, workload, who)
    live, whose = find(context, workload, who, project)
    if live is not None and whose is not Origin.OURS and context.precedence is not None:
        await context.precedence.has_caught_up()  # another replica may have made it just now, for another Workload
        refuse_rivals(context, workload, who)
    return Observed(who, project, policy, declared, live, whose)


def _prepare(context: Context, workload: Workload) -> tuple[OnDrift, dict[str, Any], Credential, Identity]:
    """Everything that can be told without a call; while it cannot, no call is made for this Workload."""
    policy = drift_policy(context, workload)
    declared = declared_document(workload)
    _refuse_the_boundless(workload, declared)
    refuse_secrets(declared)
    secret = context.secrets.get(workload.namespace, workload.spec.token_secret_ref.name)
    found = credential(workload, secret, context.allowed)
    return policy, declared, found, identity(workload, found)


def _refuse_the_boundless(workload: Workload, declared: Mapping[str, Any]) -> None:
    if workload.excess:
        raise ConfigurationError(
            Reason.PLATFORM_REFUSED,
            f"{workload.excess}. Nothing was sent, and what is on the platform stays as it is. Correct the spec: put "
            "what is large where the model is loaded from.",
        )
    if beyond_reason(declared):
        raise ConfigurationError(
            Reason.PLATFORM_REFUSED,
            f"{TOO_MUCH}. Nothing was sent. Correct the spec.",
        )


def stake(context: Context, workload: Workload) -> None:
    """Claim the identity, as soon as it is known; the claim counts once the platform accepts the credential."""
    try:
        secret = context.secrets.get(workload.namespace, workload.spec.token_secret_ref.name)
        found = credential(workload, secret, context.allowed)
        who = identity(workload, found)
    except ConfigurationError:
        pinned = pinned_identity(workload)
        if pinned is None:
            context.claims.release(workload.key)
        else:
            context.claims.stake(workload.key, pinned, lambda: False)
        return

    def proof() -> bool:  # a closure: what it holds is in no repr
        return context.projects.proven(found.base_url, found.project, found.token)

    context.claims.stake(workload.key, who, proof)


def drift_policy(context: Context, workload: Workload) -> OnDrift:
    """The annotation of the Workload, else of its Namespace, else the operator's default."""
    own = workload.annotations.get(ON_DRIFT)
    text = own if own is not None else context.namespace_policies(workload.namespace)
    if text is None:
        return context.settings.on_drift
    found = OnDrift.parse(text)
    if found is None:
        of, where = (
            (f"Workload {workload.name}", workload.argument)
            if own is not None
            else (f"Namespace {workload.namespace}", f"ns/{workload.namespace}")
        )
        meant = OnDrift.nearest(text)
        raise ConfigurationError(
            Reason.INVALID_POLICY,
            f"The annotation {ON_DRIFT} of {of} is {quoted(text)}, which is not a drift policy ({', '.join(OnDrift)})."
            + (f" Did you mean {meant}?" if meant else "")
            + " The operator changes nothing while it is not one. To set it, run: "
            f"kubectl annotate {where} --overwrite {ON_DRIFT}={meant or OnDrift.DRY_RUN}",
        )
    return found


def find(context: Context, workload: Workload, who: Identity, project: Project) -> tuple[LiveWorkload | None, Origin]:
    """The row, and whose it is; raises where it is there and cannot be read, or is no longer where it was."""
    memory = context.store.memory(workload.key)
    recorded = [each for each in (workload.status.workload_id, memory.made) if each]
    row = next((row for each in recorded if (row := project.cache.by_id(each)) is not None), None)
    whose = Origin.OURS
    if row is not None:
        _refuse_the_moved(workload, who, row, project)
    else:
        row = project.cache.by_slug(who.slug)
        whose = Origin.FOUND if row is None or recorded else made_by(context, workload, row)
    if row is None:
        refuse_the_nameless(who, project)
        return None, Origin.FOUND
    memory.taken = None
    if row.unread:
        raise PlatformFailure(
            Reason.PLATFORM_ERROR,
            "The platform lists the workload in a row that is nested too deep, has too many values, or numbers that "
            "JSON has not. Nothing is compared. Correct it on the platform. The operator checks again automatically.",
        )
    return row, whose


def _refuse_the_moved(workload: Workload, who: Identity, row: LiveWorkload, project: Project) -> None:
    """Raise where the recorded workload has another slug, or is in another project, by now."""
    if row.slug == who.slug and project.cache.owns(row):
        return
    name, was, now = (
        ("slug", who.slug, row.slug) if row.slug != who.slug else ("project", who.project, row.project_slug or "")
    )
    raise ConfigurationError(
        Reason.IDENTITY_CHANGED,
        f'The {name} of workload {row.id} was changed on the platform, from "{was}" to "{excerpt(now, 128)}". The '
        f"operator sends nothing. Change it back on the platform; or declare a new Workload with {name} "
        f'"{excerpt(now, 128)}", which adopts the workload, and delete this one, which leaves it in place: '
        f"kubectl delete {workload.argument}",
    )


def made_by(context: Context, workload: Workload, row: LiveWorkload) -> Origin:
    """Who made a row with our slug, where no id is recorded."""
    memory = context.store.memory(workload.key)
    record, lag = pending_creation(workload, memory), context.settings.uncertain_create_timeout
    sent_at = memory.uncertain_since
    lately = sent_at is not None and asyncio.get_running_loop().time() - sent_at <= IN_TIME * lag
    return origin(record, row, lag=lag, sent_here=memory.posted and lately)


def refuse_the_nameless(who: Identity, project: Project) -> None:
    """Raises where a row without an id that can be read has our slug: it is there, and nothing can be said of it."""
    if who.slug in project.cache.unreadable:
        raise PlatformFailure(
            Reason.PLATFORM_ERROR,
            "The platform lists this slug in a row that cannot be read. The operator sends nothing, "
            "and checks again automatically.",
        )


def settled(workload: Workload) -> bool:
    """Whether what is declared was looked at, and what came of it was no passing trouble."""
    if workload.status.observed_generation != workload.generation or workload.deleting:
        return False
    ready = condition(workload.status, "Ready")
    return ready is not None and workload.status.workload_id is not None and ready.reason not in _PASSING


def _fresh_since(workload: Workload, memory: Memory, project: Project) -> float:
    """How new a list must be to decide from: any will do for what is settled."""
    if memory.absent_since is not None or memory.recheck_from is not None or memory.denied_since is not None:
        return newest_needed(memory)
    waits = pending_approval(workload) is not None or look_requested(workload)
    if settled(workload) and not waits:
        return float("-inf")
    return max(memory.seen, project.uncertain_since)


def refuse_rivals(context: Context, workload: Workload, who: Identity) -> None:
    """Raises where the identity belongs to another Workload."""
    rival = context.claims.rival(workload.key)
    if rival is not None:
        raise ConfigurationError(
            Reason.SLUG_CONFLICT,
            f"Slug {who.slug} of project {who.project} belongs to Workload {rival}. This one changes nothing, "
            "and takes over when that one is deleted. To use another slug, declare a new Workload, "
            "and delete this one, which "
            f"deletes nothing on the platform: kubectl delete {workload.argument}",
        )

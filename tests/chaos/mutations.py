"""Faults that the operator does not have, to be put into it: a judge who finds none of them is no judge.

Each is a patch for as long as a run lasts. Decides nothing about how soon it has to be found.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from inferencekey_operator.api.workload import Workload
from inferencekey_operator.inferencekey.project import Project
from inferencekey_operator.plan.ownership import Origin
from inferencekey_operator.plan.plan import _APPLY, PlanInput, _Verdict
from inferencekey_operator.reconcile.deletion import Deletion
from inferencekey_operator.reconcile.ensure import Reconciler

Mutation = Callable[[], AbstractContextManager[Any]]

_OPERATOR = "inferencekey_operator"


def no_record_before_the_post() -> AbstractContextManager[Any]:
    """A creation leaves no record."""

    async def nothing(world: Any, workload: Workload, observed: Any, *, again: bool) -> Workload:
        return workload

    return patch(f"{_OPERATOR}.reconcile.creation._record", nothing)


def a_lost_answer_is_no() -> AbstractContextManager[Any]:
    """What got no answer was not carried out, and is sent again at once."""

    return patch(f"{_OPERATOR}.reconcile.apply.wait_for_the_uncertain", lambda world, workload: float("-inf"))


def every_policy_repairs() -> AbstractContextManager[Any]:
    """What a policy withholds is sent."""

    def applied(situation: PlanInput, plan: Any) -> _Verdict:
        return _APPLY

    return patch(f"{_OPERATOR}.plan.plan._verdict", applied)


def any_approval_will_do() -> AbstractContextManager[Any]:
    """An approval of any id is one of the plan that is offered."""

    def weighed(situation: PlanInput, plan: Any) -> Any:
        return replace(plan, plan_id="0" * 32, approved=plan.approval is not None)

    return patch(f"{_OPERATOR}.plan.plan._weigh_approval", weighed)


def what_was_found_is_deleted() -> AbstractContextManager[Any]:
    """A deletion takes along what was adopted, or is to stay."""
    return patch(f"{_OPERATOR}.reconcile.deletion.stays", lambda workload: False)


def nothing_is_deleted() -> AbstractContextManager[Any]:
    """The finalizer goes, the workload stays, and nobody is told."""

    async def release(self: Deletion, workload: Workload) -> None:
        await self._release(workload)

    return patch.object(Deletion, "carry_out", release)


def everything_is_known() -> AbstractContextManager[Any]:
    """What is found counts as made here, whatever its age and the adoption policy."""

    def found(world: Any, workload: Workload, who: Any, project: Project) -> Any:
        return project.cache.by_slug(who.slug), Origin.OURS

    stack = ExitStack()
    for module in ("reconcile.observe", "reconcile.apply"):
        stack.enter_context(patch(f"{_OPERATOR}.{module}.find", found))
    return stack


def nobody_claims() -> AbstractContextManager[Any]:
    """Two Workloads with one identity know nothing of each other."""
    return patch(f"{_OPERATOR}.cache.claims.Claims.rival", lambda self, key: None)


def a_status_is_always_written() -> AbstractContextManager[Any]:
    """Each look writes, whether anything moved or not."""
    return patch(f"{_OPERATOR}.reconcile.status_writer.merge_patch", lambda old, new: new)


def suspended_all_the_same() -> AbstractContextManager[Any]:
    """`suspend` is not heeded."""

    ensure = Reconciler.ensure

    async def on(self: Reconciler, workload: Workload) -> None:
        await ensure(self, replace(workload, spec=replace(workload.spec, suspend=False)))

    return patch.object(Reconciler, "ensure", on)


def a_write_leaves_readiness_as_it_was() -> AbstractContextManager[Any]:
    """What the platform told before an update counts after it."""
    stack = ExitStack()
    stack.enter_context(patch(f"{_OPERATOR}.cache.readiness.Serving.written", lambda self, key: None))
    stack.enter_context(patch(f"{_OPERATOR}.plan.records.shows_a_write", lambda workload, agreed: False))
    return stack


def everything_is_followed_at_once() -> AbstractContextManager[Any]:
    """What changes many times a second is acted on as often."""
    return patch(f"{_OPERATOR}.controller.damping.Damper._wait", lambda self, found, now: 0.0)


FOUND_BY: dict[Mutation, int] = {
    no_record_before_the_post: 33,
    a_lost_answer_is_no: 10,
    every_policy_repairs: 2,
    any_approval_will_do: 9,
    what_was_found_is_deleted: 5,
    nothing_is_deleted: 9,
    everything_is_known: 11,
    nobody_claims: 0,
    a_status_is_always_written: 0,
    suspended_all_the_same: 3,
    a_write_leaves_readiness_as_it_was: 1,
    everything_is_followed_at_once: 22,
}
"""Each of them, and a seed that found it: where one of the operator's steps moves, one of the next seeds does."""

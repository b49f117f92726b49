"""From what was observed to a plan, and what has to be certain before it is carried out.

The decision itself is pure, and `plan.plan`'s; here it is fed. Must not know how a plan is carried out or reported.
"""

from __future__ import annotations

from inferencekey_operator.api.workload import Workload
from inferencekey_operator.errors import PlatformFailure, Reason
from inferencekey_operator.plan import plan as pure
from inferencekey_operator.plan.plan import Plan, PlanInput
from inferencekey_operator.reconcile.context import Context
from inferencekey_operator.reconcile.observe import Observed
from inferencekey_operator.reconcile.safeguards import Safeguards


class Decider:
    """Knows the safeguards beside what was observed."""

    def __init__(self, context: Context, safeguards: Safeguards) -> None:
        self._context, self._safeguards = context, safeguards

    def decide(self, workload: Workload, observed: Observed) -> tuple[PlanInput, Plan]:
        """The plan, and all that it was decided from."""
        plan_input = self._input(workload, observed)
        return plan_input, pure.decide(plan_input)

    def _input(self, workload: Workload, observed: Observed) -> PlanInput:
        missing = self._safeguards.missing(workload, observed.project, present=observed.known)
        return PlanInput(
            workload=workload,
            identity=observed.identity,
            declared=observed.declared,
            live=observed.live,
            policy=observed.policy,
            known=observed.known,
            missing=missing,
            mass_missing=missing and self._safeguards.vanished_en_masse(workload, observed.project),
            contested=self._safeguards.contested(workload),
            untouched=self._untouched(workload, observed),
        )

    def _untouched(self, workload: Workload, observed: Observed) -> bool:
        """Whether the platform undid our repair by itself. Of the first time it is not believed: a time that tells of
        seconds alone may be that of somebody else's change as well.
        """
        repaired = bool(self._context.store.memory(workload.key).repairs)
        return repaired and observed.live is not None and observed.project.cache.restated(observed.live)


async def refuse_the_unconfirmed(observed: Observed, plan: Plan) -> None:
    """Before a row is adopted: a list may still show what is gone, and the readiness route knows better."""
    live = observed.live
    if live is None or observed.known or plan.reason is Reason.ADOPTION_PENDING:
        return
    if not await observed.project.exists(live.slug):
        raise PlatformFailure(
            Reason.PLATFORM_ERROR,
            f"The platform lists {live.slug}, but its readiness route does not know it. The operator adopts "
            "nothing while the two disagree, and retries automatically.",
        )

"""`python -m argocd.testdata`: write what Argo CD's ConfigMap and its test data are made from here.

The objects that the scripts are tried on are what the operator itself makes of a few situations, so that they cannot
come to differ from what it writes. What the scripts are expected to say of them is written by hand: of health here, as
the operator's own words are part of it; of actions in action_test.yaml.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from argocd import customization
from inferencekey_operator.api.status import DriftClass
from inferencekey_operator.api.workload import APPROVE_PLAN, RECONCILE_REQUESTED_AT, OnDrift, Workload
from inferencekey_operator.errors import ConfigurationError
from inferencekey_operator.plan.credentials import Allowed, credential
from unit import verdicts
from unit.builders import PLATFORM, a_workload, at_rest, redeclared

Json = dict[str, Any]

HEALTH_DATA = customization.WORKLOAD / "testdata"
HEALTH_TEST = customization.WORKLOAD / "health_test.yaml"
ACTIONS_DATA = customization.WORKLOAD / "actions" / "testdata"
SOME_TIME = "0001-01-01T00:00:00Z"
"""Stands in expected outputs where an action puts the time."""


def without_a_secret() -> Workload:
    """One that the operator has no token for, in the operator's own words."""
    new = a_workload()
    try:
        credential(new, None, Allowed(PLATFORM, ("inferencekey",)))
    except ConfigurationError as error:
        return verdicts.refused(new, error)
    raise AssertionError("a token out of nothing")


def health() -> Iterator[tuple[str, Workload, str]]:
    """What the health script is tried on, by the name of its file, and the message that it is to give.

    The first word of the name is the status that it is to give. In a message, `{ready}` and `{suspended}` are the
    messages of these conditions.
    """
    serving = at_rest(a_workload())
    waits = "Plan {plan} waits for approval, here by the action approve-plan. {ready}"
    yield "progressing_new", a_workload(), "Waiting for the operator"
    yield "progressing_edited", redeclared(serving, model="llama-4"), "Waiting for the operator"
    yield "progressing_provisioning", verdicts.at_phase("provisioning"), "{ready}"
    yield "progressing_secretNotFound", without_a_secret(), "{ready}"
    yield "progressing_deleted", verdicts.deleted(verdicts.contested()), "Waiting for the operator"
    yield "healthy_serving", serving, "Serving"
    held = verdicts.decided(OnDrift.DRY_RUN, DriftClass.OUT_OF_BAND)
    yield "healthy_driftHeld", held, "{ready}. Plan {plan} may be approved: model"
    yield "suspended_planPending", verdicts.decided(OnDrift.DRY_RUN, DriftClass.SPEC_CHANGE), waits
    yield "suspended_notCreated", verdicts.decided(OnDrift.DRY_RUN, DriftClass.NOT_CREATED), waits
    yield "suspended_adoptionPending", verdicts.adoptable("Never"), waits
    yield "suspended_bySpec", verdicts.paused(serving), "{suspended}"
    yield "degraded_driftDetected", verdicts.decided(OnDrift.FAIL, DriftClass.OUT_OF_BAND), "{ready}"
    yield "degraded_missing", verdicts.decided(OnDrift.WARN, DriftClass.MISSING), "{ready}"
    yield "degraded_contested", verdicts.contested(), "{ready}"


def actions() -> Iterator[tuple[str, Json]]:
    """What the actions are tried on, and what they are to make of it, by the name of the file."""
    serving = verdicts.document(at_rest(a_workload()))
    pending = verdicts.document(verdicts.decided(OnDrift.DRY_RUN, DriftClass.SPEC_CHANGE))
    suspended = verdicts.document(verdicts.paused(at_rest(a_workload())))
    yield "serving", serving
    yield "serving_reconcileRequested", _annotated(serving, RECONCILE_REQUESTED_AT, SOME_TIME)
    yield "serving_suspended", _with_suspend(serving, suspend=True)
    yield "suspended", suspended
    yield "suspended_resumed", _with_suspend(suspended, suspend=False)
    yield "planPending", pending
    yield "planPending_approved", _annotated(pending, APPROVE_PLAN, pending["status"]["drift"]["planId"])
    edited = verdicts.decided(OnDrift.DRY_RUN, DriftClass.SPEC_CHANGE)
    yield "planPending_edited", verdicts.document(redeclared(edited, model="llama-5"))


def files() -> dict[Path, str]:
    """Everything that is made here, by its place."""
    tried = {HEALTH_DATA / f"{name}.yaml": _dump(verdicts.document(each)) for name, each, _ in health()}
    acted_on = {ACTIONS_DATA / f"{name}.yaml": _dump(each) for name, each in actions()}
    expected = {"tests": [_expected(*each) for each in health()]}
    return {
        customization.CONFIG_MAP: customization.config_map(),
        HEALTH_TEST: _dump(expected),
        **tried,
        **acted_on,
    }


def _expected(name: str, workload: Workload, message: str) -> Json:
    words = {each.type.lower(): each.message for each in workload.status.conditions}
    told = message.format(plan=workload.status.drift.plan_id, **words)
    status = name.partition("_")[0].capitalize()
    return {"inputPath": f"testdata/{name}.yaml", "healthStatus": {"status": status, "message": told}}


def _annotated(document: Json, name: str, value: str) -> Json:
    changed = deepcopy(document)
    changed["metadata"].setdefault("annotations", {})[name] = value
    return changed


def _with_suspend(document: Json, *, suspend: bool) -> Json:
    changed = deepcopy(document)
    changed["spec"]["suspend"] = suspend
    return changed


def _dump(document: Json) -> str:
    return str(yaml.safe_dump(document, sort_keys=False, width=1000, allow_unicode=True))


def main() -> None:
    """Write the files."""
    for path, text in files().items():
        path.write_text(text)


if __name__ == "__main__":
    main()

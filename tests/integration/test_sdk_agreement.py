"""The operator beside the official SDK: for the same declaration and policy both send the same, where they agree.

Each case is carried out twice in one project, by the SDK's ensure() and by a Workload, on two slugs.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from inferencekey import Backend, ManagementClient, OnDrift, WorkloadSpec
from inferencekey.errors import ApiError

from harness.drifting import until_policy
from harness.team import ON_DRIFT, Team

pytestmark = pytest.mark.usefixtures("operator")

POLICIES = {
    "Reconcile": OnDrift.RECONCILE,
    "Fail": OnDrift.FAIL,
    "DryRun": OnDrift.DRY_RUN,
    "Warn": OnDrift.WARN,
    "Ignore": OnDrift.IGNORE,
}
DECLARED: dict[str, Any] = {
    "description": "For customers",
    "command": "vllm serve llama-3",
    "vllmVersion": "0.9.1",
    "executionPolicy": "autoscaling",
    "executionPolicyConfig": {
        "min_workers": 1,
        "workers": {"source": "private", "private_worker_ids": ["wrk_1"]},
    },
}
LIVE: dict[str, dict[str, Any] | None] = {
    "absent": None,
    "another": {"name": "Theirs", "backend": "sglang", "model_name": "theirs", "description": "theirs"},
    "scaled": {
        "backend": "vllm",
        "model_name": "llama-3",
        "description": "For customers",
        "config": {"command": "vllm serve llama-3", "vllm_version": "0.9.0"},
        "execution_policy": "fixed",
        "execution_policy_config": {"replicas": 1},
    },
}


def _by_the_sdk(team: Team, slug: str, policy: str) -> None:
    client = ManagementClient(base_url=team.platform.url, sdk_token=team.token, project=team.name)
    spec = WorkloadSpec(
        name=slug,
        slug=slug,
        model="llama-3",
        backend=Backend.VLLM,
        description=DECLARED["description"],
        command=DECLARED["command"],
        vllm_version=DECLARED["vllmVersion"],
        execution_policy=DECLARED["executionPolicy"],
        execution_policy_config=DECLARED["executionPolicyConfig"],
    )
    with suppress(ApiError):  # how Fail tells of drift
        client.ensure(spec, on_drift=POLICIES[policy])


def _by_us(team: Team, slug: str, policy: str) -> None:
    team.declare(slug, {ON_DRIFT: policy}, **DECLARED)
    until_policy(team, slug, policy)


def _writes(team: Team, slug: str) -> list[tuple[str, Any]]:
    """What was sent about a slug, in words that are the same for each."""
    calls = team.calls("create", "update", "delete")
    about = [call for call in calls if slug in (call["slug"], call["body"].get("slug"))]
    return [(call["operation"], json.loads(json.dumps(call["body"]).replace(slug, "<slug>"))) for call in about]


@pytest.mark.parametrize("situation", LIVE)
def test_the_same_is_sent(team: Team, situation: str) -> None:
    """Under each policy: where there is nothing, where everything differs, and where the policy's kind does."""
    sent = {}
    for policy in POLICIES:
        theirs, ours = f"sdk-{policy.lower()}", f"ours-{policy.lower()}"
        live = LIVE[situation]
        if live is not None:
            team.platform.add_many(team.name, [{"slug": slug, "name": slug, **live} for slug in (theirs, ours)])
        _by_the_sdk(team, theirs, policy)
        _by_us(team, ours, policy)
        sent[policy] = _writes(team, ours)
        assert sent[policy] == _writes(team, theirs), policy
    acted = {policy for policy, writes in sent.items() if writes}
    assert acted == ({"Reconcile"} if LIVE[situation] else set(POLICIES) - {"DryRun"})

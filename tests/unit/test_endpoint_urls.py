"""Where a workload is reached: its URLs, and the ConfigMap that hands them to applications."""

from __future__ import annotations

import json

import pytest

from inferencekey_operator.api.workload import EndpointSpec, TaskType
from inferencekey_operator.plan.endpoint import config_map, config_map_name, data
from inferencekey_operator.plan.plan import Identity
from unit.builders import IDENTITY, PLATFORM, SECRET_HALF, a_live, a_workload

ASYNC_ONLY = {"reranker", "classification", "reward"}
BASE = {
    "INFERENCEKEY_BASE_URL": PLATFORM,
    "INFERENCEKEY_PROJECT": "prod",
    "INFERENCEKEY_WORKLOAD": "support-bot",
    "INFERENCEKEY_ENDPOINT_URL": f"{PLATFORM}/endpoint/prod/support-bot",
}


@pytest.mark.parametrize("task_type", [kind for kind in TaskType if kind not in ASYNC_ONLY])
def test_an_openai_client_needs_nothing_but_its_key(task_type: str) -> None:
    """For each modality with a synchronous route: the base and the live model, under OpenAI's own names."""
    keys = data(IDENTITY, a_live(task_type=task_type, model_name="llama-3-70b"), None)

    assert keys == BASE | {
        "OPENAI_BASE_URL": f"{PLATFORM}/endpoint/prod/support-bot/v1",
        "OPENAI_MODEL": "llama-3-70b",
    }


@pytest.mark.parametrize("task_type", sorted(ASYNC_ONLY))
def test_what_takes_jobs_has_no_openai_route(task_type: str) -> None:
    """An application that finds OPENAI_BASE_URL would call what does not exist."""
    keys = data(IDENTITY, a_live(task_type=task_type), None)

    assert keys == BASE | {"INFERENCEKEY_JOBS_URL": f"{PLATFORM}/endpoint/prod/support-bot/jobs"}


@pytest.mark.parametrize(
    ("live", "declared", "jobs", "why"),
    [
        ("embedding", "reward", False, "the live task type is what answers"),
        (None, "reward", True, "a platform that does not say has what was declared"),
        (None, None, False, "and else text2text"),
        ("newer", None, False, "a modality that nobody knows yet is taken for a synchronous one"),
    ],
)
def test_which_task_type_counts(live: str | None, declared: str | None, jobs: bool, why: str) -> None:
    """Live before declared before the default."""
    assert ("INFERENCEKEY_JOBS_URL" in data(IDENTITY, a_live(task_type=live), declared)) is jobs, why


def test_without_a_live_model_there_is_none_to_name() -> None:
    """While it is missing the addresses stay, and a model that nobody serves is not promised."""
    assert data(IDENTITY, None, None) == BASE | {"OPENAI_BASE_URL": f"{PLATFORM}/endpoint/prod/support-bot/v1"}
    assert "OPENAI_MODEL" not in data(IDENTITY, a_live(model_name=""), None)


def test_an_odd_name_stays_one_segment() -> None:
    """Project and slug are percent-encoded: neither climbs to another path."""
    assert Identity(PLATFORM, "a/../b", "c d?e").url == f"{PLATFORM}/endpoint/a%2F..%2Fb/c%20d%3Fe"


def test_the_name_is_the_workloads_unless_the_spec_says_otherwise() -> None:
    """`<workload>-endpoint`: by the object's name, not by its slug."""
    assert config_map_name(a_workload({"slug": "bot"})) == "support-bot-endpoint"
    assert config_map_name(a_workload({"endpoint": EndpointSpec(config_map_name="where")})) == "where"


def test_the_config_map_is_owned_by_its_workload() -> None:
    """The garbage collector takes it along, and no deletion waits for it: no blockOwnerDeletion."""
    written = config_map(a_workload(uid="u-1"), dict(BASE))

    assert (written["apiVersion"], written["kind"], written["data"]) == ("v1", "ConfigMap", BASE)
    assert written["metadata"] == {
        "name": "support-bot-endpoint",
        "namespace": "team-a",
        "labels": {"app.kubernetes.io/managed-by": "inferencekey-operator"},
        "ownerReferences": [
            {
                "apiVersion": "inferencekey.com/v1alpha1",
                "kind": "Workload",
                "name": "support-bot",
                "uid": "u-1",
                "controller": True,
            }
        ],
    }


def test_there_is_never_a_token_in_it() -> None:
    """Every value is an address or a name."""
    written = json.dumps(config_map(a_workload(), data(IDENTITY, a_live(), None)))

    assert "ik_" not in written
    assert SECRET_HALF not in written


@pytest.mark.parametrize("model", ["m" * 513, "a\ud800", "a\nb", "a\x1b[1m", f"ik_sdk_a1b2c3d4_{SECRET_HALF}"])
def test_a_model_that_no_configmap_should_hold_is_not_handed_on(model: str) -> None:
    """Not what the API server would refuse, or store in another spelling for ever, and never a token."""
    assert "OPENAI_MODEL" not in data(IDENTITY, a_live(model_name=model), None)

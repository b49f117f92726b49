"""What the operator may do and what it does are one set: the manifest grants all that is used, and nothing else."""

from __future__ import annotations

import pytest

from controlplane.access import Cluster
from harness import permissions
from harness.audit import Audit
from harness.operators import Operator
from harness.team import Team
from harness.waiting import equals, eventually


@pytest.mark.usefixtures("operator")
def test_what_is_granted_is_what_is_used(team: Team, audit: Audit) -> None:
    """Over everything that an operator ever does in a cluster."""
    _creation_and_deletion(team)
    _conflict_over_a_config_map(team)
    _another_config_map(team)
    _repeated_event(team)
    requests = audit.requests()
    used = {(request.verb, request.group, request.resource) for request in requests if request.allowed}
    assert {str(request) for request in requests if not request.allowed} == set()
    assert sorted(used) == sorted(permissions.granted())


def test_nobody_else_has_these_permissions(operator: Operator, control_plane: Cluster) -> None:
    """The ServiceAccount has no others by a way that the manifest does not show."""
    answers = {
        wish: control_plane.kubectl("auth", "can-i", *wish.split(), kubeconfig=operator.kubeconfig, check=False).stdout
        for wish in (
            "create workloads.inferencekey.com -A",
            "delete workloads.inferencekey.com -A",
            "update workloads.inferencekey.com -A",
            "get pods -A",
            "get leases.coordination.k8s.io -n kube-system",
            "update leases.coordination.k8s.io/other -n inferencekey-system",
            "create clusterrolebindings",
            "patch customresourcedefinitions",
            "delete namespaces",
        )
    }
    assert {wish: answer.strip() for wish, answer in answers.items()} == dict.fromkeys(answers, "no")


def _creation_and_deletion(team: Team) -> None:
    team.declare("passing")
    team.until_ready("passing")
    team.kubectl("delete", "ikw", "passing", "--timeout=30s")


def _conflict_over_a_config_map(team: Team) -> None:
    """One that has its name already is read, to see whose it is."""
    team.kubectl("create", "configmap", "support-bot-endpoint")
    team.declare("support-bot")
    team.until("support-bot", "False ConfigMapConflict")


def _another_config_map(team: Team) -> None:
    """The former one is deleted; an edited one is patched."""
    team.edit("support-bot", endpoint={"configMapName": "first"})
    team.until_ready("support-bot")
    team.edit("support-bot", endpoint={"configMapName": "second"})
    eventually(lambda: team.config_map("first"), lambda found: found is None)
    team.kubectl("patch", "configmap", "second", "--type=merge", "-p", '{"data":{"OPENAI_MODEL":"mine"}}')
    eventually(lambda: (team.config_map("second") or {})["data"]["OPENAI_MODEL"] == "llama-3")


def _repeated_event(team: Team) -> None:
    """The same repair twice is one Event that counts two."""
    for count in (1, 2):
        team.platform.edit(team.name, "support-bot", model_name="another")
        eventually(lambda: team.live("support-bot")["model_name"] == "llama-3")
        eventually(lambda: _repairs_told(team), equals([count]))


def _repairs_told(team: Team) -> list[int]:
    """How often each Event about a repair was counted."""
    return [told.count for told in team.events("support-bot") if told.reason == "DriftDetected"]

"""What the operator may do and what it does are one set: the chart grants all that is used, and nothing else."""

from __future__ import annotations

import pytest

from controlplane.access import Cluster
from harness import everything, permissions
from harness.audit import Audit
from harness.operators import Operator
from harness.team import Team


@pytest.mark.usefixtures("operator")
def test_what_is_granted_is_what_is_used(team: Team, audit: Audit) -> None:
    """Over everything that an operator ever does in a cluster."""
    everything.happens_to(team)
    requests = audit.requests()
    used = {(request.verb, request.group, request.resource) for request in requests if request.allowed}
    assert {str(request) for request in requests if not request.allowed} == set()
    assert sorted(used) == sorted(permissions.granted(permissions.of_the_manifest()))


def test_nobody_else_has_these_permissions(operator: Operator, control_plane: Cluster) -> None:
    """The ServiceAccount has no others by a way that the chart does not show."""
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

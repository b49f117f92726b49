"""With `watchNamespaces`, what the operator may do and what it does are one set too: Roles, and no ClusterRole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from controlplane.access import Cluster
from harness import everything, operators, permissions
from harness.api import Api
from harness.audit import Audit, Request
from harness.operators import Operator, Surroundings
from harness.permissions import Grant
from harness.team import Team
from harness.teams import another_team
from harness.waiting import eventually
from helmchart.render import Helm, Json, documents
from inferencekey_operator.election.leadership import lease_name
from inferencekey_simulator.admin import Admin

NAME = "namespaced-operator"


@pytest.fixture(scope="module")
def watched(control_plane: Cluster, api: Api, platform: Admin) -> Iterator[list[Team]]:
    """Two teams whose namespaces are watched, and a third whose is not."""
    with ExitStack() as stack:
        yield [stack.enter_context(another_team(control_plane, api, platform)) for _ in range(3)]


@pytest.fixture(scope="module")
def names(watched: list[Team]) -> tuple[str, ...]:
    """The namespaces that are watched."""
    return tuple(team.name for team in watched[:2])


@pytest.fixture(scope="module")
def rendered(helm_path: Path, names: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> list[Json]:
    """The ServiceAccount and its roles, as the chart has them for these namespaces."""
    values = f"--set=fullnameOverride={NAME},watchNamespaces={{{','.join(names)}}}"
    chart = Helm(helm_path, tmp_path_factory.mktemp("helm")).template(values)
    return permissions.of_the_operator(documents(chart))


@pytest.fixture(scope="module")
def surroundings(
    control_plane: Cluster,
    surroundings: Surroundings,
    names: tuple[str, ...],
    rendered: list[Json],
) -> Surroundings:
    """What the operator is started with: its own account and Lease."""
    account = permissions.apply(control_plane, rendered, NAME)
    permissions.in_force(control_plane, account, (*names,))
    return replace(surroundings, kubeconfig=account, lease=lease_name(names))


@pytest.fixture(scope="module")
def operator_options(names: tuple[str, ...]) -> tuple[str, ...]:
    """It looks at its Namespaces anew every few seconds."""
    return (*operators.USUAL, "--resync-period=2s", *(f"--namespace={name}" for name in names))


def test_what_is_granted_is_what_is_used(
    watched: list[Team],
    rendered: list[Json],
    operator: Operator,
    control_plane: Cluster,
    api: Api,
) -> None:
    """In a watched namespace, in the one of Events about a Namespace, and in the operator's own; nowhere else."""
    if control_plane.audit_log is None:
        pytest.skip("this cluster is not our own, and tells nobody what was asked of it")
    busy, quiet, elsewhere = watched
    elsewhere.declare("unseen")
    everything.happens_to(busy)
    everything.comes_and_goes(quiet)
    _orphan(quiet)
    requests = Audit(control_plane.audit_log, api, f"system:serviceaccount:{permissions.NAMESPACE}:{NAME}").requests()
    assert [str(request) for request in requests if not request.allowed] == []
    for namespace in (busy.name, "default", permissions.NAMESPACE):
        assert sorted(_used(requests, namespace)) == sorted(permissions.granted_in(rendered, namespace)), namespace
    assert _used(requests, quiet.name) <= permissions.granted_in(rendered, quiet.name)
    assert {request.namespace for request in requests} == {busy.name, quiet.name, "default", permissions.NAMESPACE}
    assert "conditions" not in elsewhere.status("unseen")
    assert operator.running


def test_it_may_do_nothing_elsewhere(operator: Operator, watched: list[Team], control_plane: Cluster) -> None:
    """Neither in the whole cluster, nor in a namespace that is not watched; nor may it read another Secret."""
    answers = {
        wish: control_plane.kubectl("auth", "can-i", *wish.split(), kubeconfig=operator.kubeconfig, check=False).stdout
        for wish in (
            "list workloads.inferencekey.com -A",
            "list namespaces",
            f"list workloads.inferencekey.com -n {watched[2].name}",
            f"list secrets/inferencekey -n {watched[2].name}",
            f"list secrets/other -n {watched[0].name}",
            f"get namespace/{watched[1].name} -n {watched[0].name}",
        )
    }
    assert {wish: answer.strip() for wish, answer in answers.items()} == dict.fromkeys(answers, "no")


def _used(requests: list[Request], namespace: str) -> set[Grant]:
    return {(each.verb, each.group, each.resource) for each in requests if each.namespace == namespace}


def _orphan(team: Team) -> None:
    """What is let go without a token is told about the Namespace."""
    team.declare("orphan")
    team.until_ready("orphan")
    team.platform.revoke(team.token)
    team.delete("orphan")
    team.until_gone("orphan", within=120)
    eventually(lambda: [each for each in _told_in_default(team) if each["reason"] == "Orphaned"])


def _told_in_default(team: Team) -> list[Json]:
    events = team.api.items("/apis/events.k8s.io/v1/namespaces/default/events")
    return [each for each in events if each["regarding"].get("name") == team.name]

"""The chart's ValidatingAdmissionPolicies and roles for people, tried by people: one who edits, and one who approves.

They are on the session's cluster for as long as this module lasts.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml

from controlplane.access import Cluster
from harness.api import WORKLOADS, Api
from harness.team import APPROVE_PLAN, ON_DRIFT, Team
from harness.waiting import eventually
from helmchart.render import Helm, documents, of_kind
from integration.manifests import Kubectl, manifest

EDITOR, APPROVER, VIEWER = "test-editor", "test-approver", "test-viewer"
VALUES = "--set=fullnameOverride=tried,admissionPolicy.enabled=true,admissionPolicy.namespaceIsFloor=true"
RBAC = "rbac.authorization.k8s.io"
KINDS = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ClusterRole")

As = Callable[..., CompletedProcess[str]]
"""kubectl as somebody: `act(EDITOR, "apply", "-f", "-", document=...)`."""

pytestmark = pytest.mark.usefixtures("policies")


@pytest.fixture(scope="module")
def policies(
    helm_path: Path, control_plane: Cluster, api: Api, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """In force from the first test to the last."""
    if not control_plane.has_controller_manager:
        pytest.skip("there is no kube-controller-manager: roles are not aggregated")
    rendered = documents(Helm(helm_path, tmp_path_factory.mktemp("helm")).template(VALUES))
    wanted = [each for each in of_kind(rendered, *KINDS) if each["metadata"]["name"] != "tried"]
    text = yaml.safe_dump_all(wanted)
    control_plane.kubectl("apply", "-f", "-", stdin=text)
    probe = f"test-{secrets.token_hex(4)}"
    api.create("/api/v1/namespaces", {"metadata": {"name": probe, "annotations": {ON_DRIFT: "DryRun"}}})
    eventually(lambda: "is no drift policy" in _objection(api, probe, {ON_DRIFT: "nonsense"}))
    eventually(lambda: "is looser than" in _objection(api, probe, {ON_DRIFT: "Reconcile"}))
    yield
    control_plane.kubectl("delete", "-f", "-", stdin=text)
    eventually(lambda: _objection(api, probe, {ON_DRIFT: "nonsense"}) == "")
    control_plane.kubectl("delete", "namespace", probe, "--wait=false")


def _objection(api: Api, namespace: str, annotations: dict[str, str]) -> str:
    body = manifest("bot")
    body["metadata"]["annotations"] = annotations
    return api.objection(f"{WORKLOADS}/namespaces/{namespace}/workloads", body)


@pytest.fixture
def act(kubectl: Kubectl, api: Api, namespace: str) -> As:
    """kubectl in the test's namespace, as one of those who have roles there."""
    for who, roles in {EDITOR: ["edit"], APPROVER: ["edit", "tried-approver"], VIEWER: ["view"]}.items():
        for role in roles:
            body = {
                "metadata": {"name": f"{who}-{role}"},
                "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": RBAC, "kind": "User", "name": who}],
            }
            api.create(f"/apis/{RBAC}/v1/namespaces/{namespace}/rolebindings", body)

    def run(who: str, *arguments: str, document: object = None, check: bool = True) -> CompletedProcess[str]:
        return kubectl(f"--as={who}", *arguments, document=document, check=check)

    # Bindings are heard of, and roles aggregated, a moment later.
    for who, last in {VIEWER: "list", EDITOR: "create", APPROVER: "approve"}.items():
        eventually(partial(may, api, namespace, who, last))
    eventually(partial(may, api, namespace, APPROVER, "create"))
    return run


def may(api: Api, namespace: str, who: str, verb: str) -> bool:
    """Whether somebody has a verb on Workloads."""
    wish = {"group": "inferencekey.com", "resource": "workloads", "namespace": namespace, "verb": verb}
    review = {"spec": {"user": who, "resourceAttributes": wish}}
    return bool(api.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"])


def refused(result: CompletedProcess[str]) -> str:
    """What kubectl said; AssertionError if it was not refused."""
    assert result.returncode != 0, f"accepted: {result.stdout}"
    return " ".join(result.stderr.split())


def declared(act: As, who: str, name: str, policy: str | None = None, check: bool = True) -> CompletedProcess[str]:
    """Somebody creates a Workload."""
    body = manifest(name)
    body["metadata"]["annotations"] = {} if policy is None else {ON_DRIFT: policy}
    return act(who, "create", "-f", "-", document=body, check=check)


@pytest.mark.usefixtures("act")
def test_the_clusters_own_roles_know_workloads(api: Api, namespace: str) -> None:
    """Who may edit the namespace may do all but approve; who may view it sees."""
    verbs = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "approve")
    granted = {who: [verb for verb in verbs if may(api, namespace, who, verb)] for who in (VIEWER, EDITOR, APPROVER)}
    assert granted == {VIEWER: list(verbs[:3]), EDITOR: list(verbs[:-1]), APPROVER: list(verbs)}


@pytest.mark.usefixtures("operator")
def test_a_plan_is_approved_by_who_may(act: As, team: Team) -> None:
    """The same annotation: refused to the one with the way to get it said, carried out for the other."""
    declared(act, EDITOR, "support-bot", "DryRun")
    team.until("support-bot", "False PlanPending")
    plan = f"{APPROVE_PLAN}={team.status('support-bot')['drift']['planId']}"
    said = refused(act(EDITOR, "annotate", "ikw/support-bot", plan, check=False))
    assert "takes the verb 'approve' on workloads.inferencekey.com" in said
    assert f"ClusterRole tried-approver in the namespace {team.name}" in said
    assert team.slugs() == []
    act(APPROVER, "annotate", "ikw/support-bot", plan)
    team.until_ready("support-bot")
    assert team.slugs() == ["support-bot"]


def test_who_may_not_approve_may_edit_all_else(act: As) -> None:
    """Also beside an approval that stands, which may be taken away, but not be replaced."""
    declared(act, EDITOR, "support-bot", "DryRun")
    act(EDITOR, "label", "ikw/support-bot", "team=a")
    act(APPROVER, "annotate", "ikw/support-bot", f"{APPROVE_PLAN}=0123456789abcdef0123456789abcdef")
    act(EDITOR, "label", "ikw/support-bot", "--overwrite", "team=b")
    another = ("annotate", "ikw/support-bot", "--overwrite", f"{APPROVE_PLAN}=fedcba9876543210fedcba9876543210")
    assert "takes the verb 'approve'" in refused(act(EDITOR, *another, check=False))
    act(EDITOR, "annotate", "ikw/support-bot", f"{APPROVE_PLAN}-")
    act(EDITOR, "delete", "ikw/support-bot", "--wait=false")


def test_a_policy_that_does_not_exist_is_refused(act: As, kubectl: Kubectl, namespace: str) -> None:
    """On a Workload and on a Namespace, with those that exist; each spelling of those is accepted."""
    for policy in ("Reconcile", "fail", "DryRun", "dry_run", "DRY_RUN", "Warn", "Ignore"):
        declared(act, EDITOR, f"bot-{policy.lower().replace('_', '-')}-{secrets.token_hex(2)}", policy)
    said = refused(declared(act, EDITOR, "bot", "Repair", check=False))
    assert f"{ON_DRIFT}: 'Repair' is no drift policy: write Reconcile, Fail, DryRun, Warn or Ignore" in said
    changed = kubectl("annotate", "ns", namespace, f"{ON_DRIFT}=off", check=False)
    assert "'off' is no drift policy" in refused(changed)


def test_a_workload_is_not_looser_than_its_namespace(api: Api, namespace: str) -> None:
    """What the Namespace states is the least, in the order from strict to loose; who states nothing follows it."""
    strict_first = ["DryRun", "Fail", "Warn", "Ignore", "Reconcile"]
    for place, floor in enumerate(strict_first):
        api.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"annotations": {ON_DRIFT: floor}}})
        looser = set(strict_first[place + 1 :])
        said = eventually(lambda: _objections(api, namespace), lambda said, looser=looser: set(said) == looser)
        for policy, words in said.items():
            assert f"'{policy}' is looser than '{floor}', which the namespace demands" in words


def _objections(api: Api, namespace: str) -> dict[str | None, str]:
    """What is said against a Workload of each drift policy, and of none; those that are accepted are left out."""
    stated = ("DryRun", "dry_run", "Fail", "Warn", "Ignore", "Reconcile", None)
    said = {policy: _objection(api, namespace, {} if policy is None else {ON_DRIFT: policy}) for policy in stated}
    return {policy: words for policy, words in said.items() if words}


def test_what_was_there_before_can_be_edited(act: As, api: Api, namespace: str) -> None:
    """A Workload that was looser before its Namespace became strict is not locked: nor for the operator's writes."""
    declared(act, EDITOR, "support-bot", "Reconcile")
    api.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"annotations": {ON_DRIFT: "DryRun"}}})
    eventually(lambda: "is looser than" in _objection(api, namespace, {ON_DRIFT: "Reconcile"}))
    act(EDITOR, "label", "ikw/support-bot", "team=a")
    act(EDITOR, "annotate", "ikw/support-bot", "--overwrite", f"{ON_DRIFT}=DryRun")
    back = ("annotate", "ikw/support-bot", "--overwrite", f"{ON_DRIFT}=Reconcile")
    assert "is looser than 'DryRun'" in refused(act(EDITOR, *back, check=False))

"""A real Argo CD and the operator on one cluster: Synced and Healthy without a fight. Run by `make e2e-argocd` alone.

Whatever is synced here is synced by itself, pruned, and healed: each field that both wanted would be fought over.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from argocd import binaries, customization
from argocd.application import Application
from argocd.installation import VIEWER, ArgoCD
from controlplane.access import Cluster
from harness.audit import Audit
from harness.simulator import behaving
from harness.team import APPROVE_PLAN, GROUP, ON_DRIFT, PROJECT_KEY, SECRET, TOKEN_KEY, Team
from harness.waiting import equals, eventually
from integration.manifests import manifest

Json = dict[str, Any]

WAVE = "argocd.argoproj.io/sync-wave"
TRACKED = "argocd.argoproj.io/tracking-id"
NAME = "support-bot"

pytestmark = pytest.mark.usefixtures("operator", "controllers")


def workload(annotations: dict[str, str] | None = None, **spec: Any) -> Json:
    """A Workload as it stands in Git."""
    body = manifest(NAME, **spec)
    body["metadata"]["annotations"] = annotations or {}
    return body


def secret(team: Team) -> Json:
    """The team's Secret, as nobody should have it in Git; in an earlier wave."""
    metadata = {"name": SECRET, "annotations": {WAVE: "-1"}}
    keys = {TOKEN_KEY: team.token, PROJECT_KEY: team.name}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": keys}


def config_map(name: str, wave: str) -> Json:
    """Something that belongs into a wave."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "annotations": {WAVE: wave}}}


def health(application: Application) -> str:
    """What Argo CD calls the Workload."""
    return str(application.health("Workload", NAME).get("status"))


def test_synced_and_healthy_and_then_silence(team: Team, application: Application, audit: Audit) -> None:
    """A wave waits for Ready; then refreshes find no difference, nobody writes, and foreign labels trigger nothing."""
    team.drop_secret()
    application.repository.commit(secret=secret(team), workload=workload(), after=config_map("after", "1"))
    with behaving(team.platform, readiness={"hold_at": "bootstrapping"}):
        application.create()
        eventually(lambda: team.find(NAME), within=120)
        team.until(NAME, "False Progressing")
        eventually(lambda: (health(application), application.states()[2]), equals(("Progressing", "Running")))
        application.refresh()
        assert team.config_map("after") is None
        team.platform.phase(team.name, NAME, "ready")
        application.until("Synced", "Healthy", "Succeeded")
    assert team.config_map("after") is not None
    assert application.managed() == {f"Secret/{SECRET}", f"Workload/{NAME}", "ConfigMap/after"}
    assert TRACKED in team.workload(NAME)["metadata"]["annotations"]
    endpoint = team.config_map(f"{NAME}-endpoint")
    assert endpoint is not None
    assert TRACKED not in endpoint["metadata"].get("annotations", {})
    assert "app.kubernetes.io/instance" not in endpoint["metadata"].get("labels", {})

    team.until_told(NAME)
    mark, since = audit.mark(), team.platform.last()
    seen = team.workload(NAME)
    for _ in range(5):
        application.refresh()
    assert application.states() == ("Synced", "Healthy", "Succeeded")
    assert team.workload(NAME) == seen
    marks = {"labels": {"team": "a"}, "annotations": {"example.com/note": "by hand"}}
    team.api.patch(f"/apis/{GROUP}/v1alpha1/namespaces/{team.name}/workloads/{NAME}", {"metadata": marks})
    application.refresh()
    team.pass_intervals()
    assert application.states() == ("Synced", "Healthy", "Succeeded")
    assert team.workload(NAME)["metadata"]["labels"] == {"team": "a"}
    assert application.syncs() == 1
    assert audit.writes(mark, team.name) == []
    assert team.platform_writes(since) == []


def test_an_edit_in_git_reaches_the_platform_once(team: Team, application: Application) -> None:
    """A commit is one PATCH, and one sync; what somebody changes on the platform is repaired without a sync."""
    application.repository.commit(workload=workload())
    application.create()
    application.until("Synced", "Healthy")
    since = team.platform.last()
    application.repository.commit(workload=workload(model="llama-4"))
    application.refresh()
    eventually(lambda: team.live(NAME)["model_name"], equals("llama-4"), within=120)
    application.until("Synced", "Healthy")
    team.platform.edit(team.name, NAME, model_name="theirs")
    eventually(lambda: team.live(NAME)["model_name"], equals("llama-4"), within=120)
    application.refresh()
    application.until("Synced", "Healthy")
    assert team.platform_writes(since) == [f"update {NAME}"] * 2
    assert application.syncs() == 2


def test_a_plan_is_suspended_and_approved_by_the_button(team: Team, application: Application) -> None:
    """The id is in the message; whoever may only look may not approve; the one that may is obeyed, once."""
    application.repository.commit(workload=workload({ON_DRIFT: "DryRun"}))
    application.create()
    told = eventually(
        lambda: application.health("Workload", NAME), lambda seen: seen.get("status") == "Suspended", within=120
    )
    application.until("Synced", "Suspended")
    plan = team.status(NAME)["drift"]["planId"]
    assert told["message"].startswith(f"Plan {plan} waits for approval, here by the action approve-plan.")
    assert application.act("approve-plan", NAME, VIEWER) == 403
    assert APPROVE_PLAN not in team.workload(NAME)["metadata"]["annotations"]
    offered = application.actions(NAME)["approve-plan"]
    assert (offered.get("disabled", False), offered["displayName"]) == (False, f"Approve plan {plan}")
    assert team.slugs() == []

    assert application.act("approve-plan", NAME) == 200
    team.until_ready(NAME)
    application.until("Synced", "Healthy")
    assert team.status(NAME)["lastHandledApproval"] == {"planId": plan, "result": "Applied"}
    assert team.platform_writes() == [f"create {NAME}"]
    assert application.actions(NAME)["approve-plan"]["disabled"] is True
    assert application.act("approve-plan", NAME) >= 400
    application.refresh()
    assert (application.states()[0], application.syncs()) == ("Synced", 1)


def test_a_drift_that_is_refused_is_degraded(team: Team, application: Application) -> None:
    """Under Fail a change on the platform makes the Application Degraded, within a refresh that nobody asked for."""
    application.repository.commit(workload=workload({ON_DRIFT: "Fail"}))
    application.create()
    application.until("Synced", "Healthy")
    team.platform.edit(team.name, NAME, model_name="theirs")
    application.until("Synced", "Degraded")
    assert application.act("approve-plan", NAME) == 200
    application.until("Synced", "Healthy")
    assert team.live(NAME)["model_name"] == "llama-3"


def test_the_other_actions(team: Team, application: Application) -> None:
    """Suspend and Resume; Reconcile now; none of them is drift for Argo CD, where Git does not speak of it."""
    application.repository.commit(workload=workload())
    application.create()
    application.until("Synced", "Healthy")
    assert application.act("suspend", NAME) == 200
    application.until("Synced", "Suspended")
    assert application.act("resume", NAME) == 200
    application.until("Synced", "Healthy")
    since = team.platform.last()
    assert application.act("reconcile", NAME) == 200
    handled = eventually(lambda: team.status(NAME).get("lastHandledReconcileAt"), within=120)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", handled)
    application.refresh()
    assert (application.states()[0], application.syncs()) == ("Synced", 1)
    assert team.platform_writes(since) == []


def test_a_status_is_no_news(team: Team, application: Application) -> None:
    """What a status tells of a drift refreshes nothing, while the health stays what it is."""
    application.repository.commit(workload=workload({ON_DRIFT: "Warn"}))
    application.create()
    application.until("Synced", "Healthy")
    before = application.until_quiet()
    team.platform.edit(team.name, NAME, model_name="theirs")
    eventually(lambda: team.status(NAME)["drift"].get("class"), equals("OutOfBand"))
    assert application.until_quiet() == before
    application.refresh()
    assert application.compared() > before
    assert application.states()[:2] == ("Synced", "Healthy")
    plan = team.status(NAME)["drift"]["planId"]
    assert application.health("Workload", NAME)["message"].endswith(f". Plan {plan} may be approved: model")


def test_what_leaves_git_leaves_the_platform(team: Team, application: Application) -> None:
    """Pruned, it is deleted on the platform; and so is the rest when the Application is, though its Secret goes too."""
    other = manifest("reranker")
    application.repository.commit(secret=secret(team), workload=workload(), other=other)
    application.create()
    application.until("Synced", "Healthy")
    eventually(team.slugs, equals(["reranker", NAME]))
    application.repository.commit(other=None)
    application.refresh()
    team.until_gone("reranker", within=120)
    assert team.slugs() == [NAME]
    application.until("Synced", "Healthy")
    application.delete()
    eventually(application.find, lambda found: found is None, within=120)
    assert (team.slugs(), team.find(NAME)) == ([], None)


def test_the_examples_are_taken(control_plane: Cluster, argo: ArgoCD) -> None:
    """By the definition of an Application that this Argo CD brings."""
    file = Path(__file__).parents[3] / "examples" / "argocd" / "applications.yaml"
    took = control_plane.kubectl("apply", "--dry-run=server", "-f", str(file)).stdout
    assert len(re.findall(r"^application\.argoproj\.io/\S+ created", took, re.MULTILINE)) == 2


# -- the scripts, by Argo CD's own engine ------------------------------------------------------------------------------


def settings(*arguments: str) -> str:
    """What `argocd admin settings resource-overrides` says, with our patch as its ConfigMap."""
    command = [str(binaries.find() / binaries.ARGOCD), "admin", "settings", "resource-overrides", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The patch as the whole ConfigMap."""
    path = tmp_path_factory.mktemp("settings") / "argocd-cm.yaml"
    whole = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "argocd-cm", "labels": {"app.kubernetes.io/part-of": "argocd"}},
    }
    path.write_text(yaml.safe_dump(whole | yaml.safe_load(customization.CONFIG_MAP.read_text())))
    return f"--argocd-cm-path={path}"


HEALTH_CASES = yaml.safe_load((customization.WORKLOAD / "health_test.yaml").read_text())["tests"]
DISCOVERY_CASES = yaml.safe_load((customization.DISCOVERY.parent / "action_test.yaml").read_text())["discoveryTests"]


@pytest.mark.parametrize("case", HEALTH_CASES, ids=lambda case: case["inputPath"])
def test_argo_cds_engine_says_the_same(case: Json, overrides: str) -> None:
    """Status and message as the default tests have them from their Lua; of a deletion it speaks itself."""
    path = customization.WORKLOAD / case["inputPath"]
    deleted = "deletionTimestamp" in yaml.safe_load(path.read_text())["metadata"]
    expected = {"status": "Progressing", "message": "Pending deletion"} if deleted else case["healthStatus"]
    told = settings("health", str(path), overrides)
    assert told == f"STATUS: {expected['status']}\nMESSAGE: {expected['message']}\n"


@pytest.mark.parametrize("case", DISCOVERY_CASES, ids=lambda case: case["inputPath"])
def test_argo_cds_engine_offers_the_same(case: Json, overrides: str) -> None:
    """Which actions there are, and which are disabled."""
    told = settings("list-actions", str(customization.DISCOVERY.parent / case["inputPath"]), overrides)
    offered = dict(line.split() for line in told.splitlines()[1:])
    assert offered == {each["name"]: str(each.get("disabled", False)).lower() for each in case["result"]}

"""The ConfigMap that hands a workload's address to applications: published, kept, and never somebody else's."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import openai
import pytest

from harness.api import Json
from harness.team import LOOK_NOW, Team
from harness.waiting import equals, eventually
from inferencekey_simulator.admin import Admin

SOON = 60.0
NAME = "support-bot-endpoint"
LABEL = "app.kubernetes.io/managed-by"

pytestmark = pytest.mark.usefixtures("operator")


@pytest.fixture
def served(team: Team) -> Json:
    """The endpoint of a Workload that is ready."""
    team.declare("support-bot")
    team.until_ready("support-bot")
    return _published(team)


def test_it_says_all_that_an_application_needs(team: Team, served: Json) -> None:
    """Its keys are what an OpenAI client and the SDK read from their environment; the status names it."""
    url = f"{team.platform.url}/endpoint/{team.name}/support-bot"
    assert served["data"] == {
        "INFERENCEKEY_BASE_URL": team.platform.url,
        "INFERENCEKEY_PROJECT": team.name,
        "INFERENCEKEY_WORKLOAD": "support-bot",
        "INFERENCEKEY_ENDPOINT_URL": url,
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_MODEL": "llama-3",
    }
    assert team.status("support-bot")["endpoint"] == {"url": url, "configMapName": NAME}


def test_an_application_is_answered(team: Team, served: Json, platform: Admin) -> None:
    """With these values and a key from the dashboard an OpenAI client gets its answer."""
    key = platform.mint_key(team.name, "support-bot")
    client = openai.OpenAI(base_url=served["data"]["OPENAI_BASE_URL"], api_key=key, max_retries=0)
    messages: list[Any] = [{"role": "user", "content": "Hello"}]
    answer = client.chat.completions.create(model=served["data"]["OPENAI_MODEL"], messages=messages)
    assert answer.choices[0].message.content


def test_jobs_instead_of_a_route(team: Team) -> None:
    """A task type that has no OpenAI route gets the address that takes jobs."""
    team.declare("support-bot", taskType="reranker")
    data = _published(team)["data"]
    assert data["INFERENCEKEY_JOBS_URL"] == f"{data['INFERENCEKEY_ENDPOINT_URL']}/jobs"
    assert not [key for key in data if key.startswith("OPENAI")]


def test_it_is_there_before_the_workload_serves(team: Team, platform: Admin) -> None:
    """It is published once the workload exists, so that applications can start to wait."""
    platform.settings(readiness={"hold_at": "provisioning"})
    try:
        team.declare("support-bot")
        _published(team)
        assert team.until("support-bot", "False Progressing")
    finally:
        platform.settings(readiness={"hold_at": None})


def test_it_is_owned_by_its_workload(team: Team, served: Json) -> None:
    """The owner does not wait for it: it is collected, and blocks nobody's deletion."""
    uid = team.workload("support-bot")["metadata"]["uid"]
    owner = {"apiVersion": "inferencekey.com/v1alpha1", "kind": "Workload", "name": "support-bot", "uid": uid}
    assert served["metadata"]["ownerReferences"] == [{**owner, "controller": True}]
    assert served["metadata"]["labels"] == {LABEL: "inferencekey-operator"}


@pytest.mark.usefixtures("controllers")
def test_it_is_collected_with_its_workload(team: Team, served: Json) -> None:
    """Garbage collection removes it; the operator itself deletes nothing."""
    team.kubectl("delete", "ikw", "support-bot", "--timeout=30s")
    eventually(lambda: team.config_map(NAME), lambda found: found is None)


@pytest.mark.parametrize(
    "edit",
    [
        {"data": {"OPENAI_BASE_URL": "http://elsewhere.example"}},
        {"data": {"OPENAI_BASE_URL": None}},
        {"data": {"OPENAI_API_KEY": "mine"}},
        {"data": None},
        {"binaryData": {"blob": "AAAA"}},
        {"metadata": {"labels": {LABEL: None}}},
        {"metadata": {"labels": {LABEL: "helm"}}},
    ],
    ids=["changed", "key-removed", "key-added", "emptied", "binary-added", "label-removed", "label-changed"],
)
def test_it_is_restored(team: Team, served: Json, edit: Json) -> None:
    """Whatever is edited of it is put right within seconds."""
    wanted = {"data": served["data"], "labels": served["metadata"]["labels"], "binary": None}
    team.api.patch(f"/api/v1/namespaces/{team.name}/configmaps/{NAME}", edit)
    eventually(lambda: _substance(team), equals(wanted), within=SOON)


def test_an_immutable_one_is_made_anew(team: Team, served: Json) -> None:
    """Forged, it would have applications send their keys elsewhere, and nobody can set it right."""
    wanted = {"data": served["data"], "labels": served["metadata"]["labels"], "binary": None}
    forged = {"data": {"OPENAI_BASE_URL": "http://elsewhere.example/v1"}, "immutable": True}
    team.api.patch(f"/api/v1/namespaces/{team.name}/configmaps/{NAME}", forged)
    eventually(lambda: _substance(team), equals(wanted), within=SOON)
    assert "immutable" not in _published(team)
    team.until_ready("support-bot")


def test_a_refused_one_is_told(team: Team) -> None:
    """By a quota: not Ready, with the refusal, told once; and Ready once the quota is gone and a look asked for."""
    quotas = f"/api/v1/namespaces/{team.name}/resourcequotas"
    team.api.create(quotas, {"metadata": {"name": "small"}, "spec": {"hard": {"count/configmaps": "0"}}})
    team.declare("support-bot")
    team.until("support-bot", "False ConfigMapRefused")
    conditions = team.conditions("support-bot")
    assert "quota" in conditions["Ready"]["message"]
    assert "Stalled" not in conditions
    eventually(lambda: team.status("support-bot")["readiness"].get("phase"), equals("ready"))
    team.pass_intervals(2)
    assert team.verdict("support-bot") == "False ConfigMapRefused"
    assert [told.reason for told in team.events("support-bot")].count("ConfigMapRefused") == 1
    team.api.delete(f"{quotas}/small")
    team.annotate("support-bot", {LOOK_NOW: "1"})
    team.until_ready("support-bot")
    assert _published(team)["data"]["INFERENCEKEY_WORKLOAD"] == "support-bot"


@pytest.mark.parametrize("immutable", [False, True])
def test_one_without_an_owner_is_taken_back(team: Team, immutable: bool) -> None:
    """A restore, or `kubectl delete --cascade=orphan`, leaves one that names this workload: that is no conflict."""
    data = {"INFERENCEKEY_PROJECT": team.name, "INFERENCEKEY_WORKLOAD": "support-bot", "OPENAI_MODEL": "stale"}
    left = {"metadata": {"name": NAME, "labels": {LABEL: "inferencekey-operator"}}, "data": data}
    path = f"/api/v1/namespaces/{team.name}/configmaps"
    former = team.api.create(path, left | ({"immutable": True} if immutable else {}))["metadata"]["uid"]
    team.declare("support-bot")
    workload = team.until_ready("support-bot")
    found = _published(team)
    assert found["metadata"]["ownerReferences"][0]["uid"] == workload["metadata"]["uid"]
    assert found["data"]["OPENAI_MODEL"] == "llama-3"
    assert (found["metadata"]["uid"] == former) != immutable


def test_it_is_made_again(team: Team, served: Json) -> None:
    """When it was deleted it comes back within seconds, as it was."""
    team.kubectl("delete", "configmap", NAME)
    again = eventually(lambda: team.config_map(NAME), within=SOON)
    assert again is not None
    assert again["data"] == served["data"]
    assert again["metadata"]["uid"] != served["metadata"]["uid"]


@pytest.mark.parametrize("labels", [{}, {LABEL: "inferencekey-operator"}], ids=["plain", "with-our-label"])
def test_somebody_elses_is_never_touched(team: Team, labels: dict[str, str]) -> None:
    """Not even if it has our label: the Workload says that the name is taken, and how to go on."""
    metadata = {"name": NAME, "labels": labels}
    path = f"/api/v1/namespaces/{team.name}/configmaps"
    theirs = team.api.create(path, {"metadata": metadata, "data": {"THEIRS": "1"}})
    team.declare("support-bot")
    team.until("support-bot", "False ConfigMapConflict")
    assert f"kubectl delete configmap {NAME} -n {team.name}" in team.conditions("support-bot")["Stalled"]["message"]
    team.pass_intervals(2)
    assert team.config_map(NAME) == theirs
    team.edit("support-bot", endpoint={"configMapName": "another"})
    team.until_ready("support-bot")
    assert team.config_map("another") is not None
    team.kubectl("delete", "ikw", "support-bot", "--timeout=30s")
    assert team.config_map(NAME) == theirs


def test_a_name_that_became_free_is_taken(team: Team) -> None:
    """Once the other one was deleted, and a look asked for, the endpoint is published under its name."""
    team.api.create(f"/api/v1/namespaces/{team.name}/configmaps", {"metadata": {"name": NAME}})
    team.declare("support-bot")
    team.until("support-bot", "False ConfigMapConflict")
    team.kubectl("delete", "configmap", NAME)
    team.annotate("support-bot", {LOOK_NOW: "1"})
    team.until_ready("support-bot", within=SOON)
    assert _published(team)["data"]["INFERENCEKEY_WORKLOAD"] == "support-bot"


def test_one_of_another_workload_is_not_taken_over(team: Team) -> None:
    """Two Workloads that want one name: the second says that it is taken."""
    team.declare("first", endpoint={"configMapName": "shared"})
    team.until_ready("first")
    team.declare("second", endpoint={"configMapName": "shared"})
    team.until("second", "False ConfigMapConflict")
    shared = team.config_map("shared")
    assert shared is not None
    assert shared["data"]["INFERENCEKEY_WORKLOAD"] == "first"


@pytest.mark.usefixtures("controllers")
def test_one_of_a_predecessor_is_waited_for(team: Team) -> None:
    """Deleted and created again at once, as a forced replace does: no conflict that a person would have to end."""
    owner = {
        "apiVersion": "inferencekey.com/v1alpha1",
        "kind": "Workload",
        "name": "support-bot",
        "uid": str(uuid4()),
        "controller": True,
    }
    held = {"name": NAME, "ownerReferences": [owner], "finalizers": ["example.com/hold"]}
    path = f"/api/v1/namespaces/{team.name}/configmaps"
    team.api.create(path, {"metadata": held})
    team.declare("support-bot")
    message = team.until("support-bot", "False Progressing") and eventually(
        lambda: team.conditions("support-bot")["Ready"]["message"], lambda said: NAME in said
    )
    assert f"kubectl delete configmap {NAME} -n {team.name}" in message
    assert "Stalled" not in team.conditions("support-bot")
    eventually(lambda: team.config_map(NAME)["metadata"].get("deletionTimestamp"), within=120)  # the collector's work
    team.api.patch(f"{path}/{NAME}", {"metadata": {"finalizers": None}})
    team.until_ready("support-bot")
    assert _published(team)["data"]["INFERENCEKEY_WORKLOAD"] == "support-bot"
    assert [told for told in team.events("support-bot") if told.type == "Warning"] == []


def test_another_name_replaces_it(team: Team, served: Json) -> None:
    """The new one is there, the old one is deleted, and nothing happens on the platform."""
    since = team.platform.last()
    team.edit("support-bot", endpoint={"configMapName": "bot"})
    found = eventually(lambda: team.config_map("bot"), within=SOON)
    assert found is not None
    assert found["data"] == served["data"]
    eventually(lambda: team.config_map(NAME), lambda old: old is None, within=SOON)
    team.until_ready("support-bot")
    assert team.status("support-bot")["endpoint"]["configMapName"] == "bot"
    assert team.platform_writes(since) == []


def test_it_follows_the_model(team: Team, served: Json) -> None:
    """OPENAI_MODEL is what the platform serves now."""
    team.edit("support-bot", model="llama-4")
    eventually(lambda: _substance(team)["data"], equals({**served["data"], "OPENAI_MODEL": "llama-4"}))


def _published(team: Team) -> Json:
    found = eventually(lambda: team.config_map(NAME))
    assert found is not None
    return found


def _substance(team: Team) -> Json:
    found = team.config_map(NAME) or {"metadata": {}}
    return {
        "data": found.get("data"),
        "labels": found["metadata"].get("labels"),
        "binary": found.get("binaryData"),
    }

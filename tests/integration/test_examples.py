"""The examples, folder by folder: applied as their users apply them, and their applications really run.

An application is given what `envFrom` of its own manifest gives it, out of the ConfigMap that the operator wrote, and
nothing else. Keys are minted as the dashboard mints them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from controlplane.access import Cluster
from harness import external_secrets
from harness.api import Api, Json
from harness.examples import EXAMPLES, FOLDERS, documents, environment, mounted, workloads
from harness.operators import Operator
from harness.team import Team
from harness.waiting import eventually
from inferencekey_simulator.admin import Admin
from integration.manifests import Kubectl, manifest, refusal

DRY = "--dry-run=server"
_RUN_SECONDS = 60

pytestmark = pytest.mark.usefixtures("operator")


def apply(team: Team, folder: str) -> None:
    """As the folder's kustomization says."""
    team.kubectl("apply", "-k", str(EXAMPLES / folder))


def give_key(team: Team, slug: str, variable: str = "OPENAI_API_KEY") -> str:
    """The key that the dashboard makes, in the Secret of its convention."""
    key = team.platform.mint_key(team.name, slug)
    team.kubectl("create", "secret", "generic", f"{slug}-key", f"--from-literal={variable}={key}")
    return key


def pod(team: Team, group: str, plural: str, name: str) -> Json:
    """What the stored object has its pods be."""
    found: Json = team.api.get(f"/apis/{group}/namespaces/{team.name}/{plural}/{name}")["spec"]["template"]["spec"]
    return found


def command(team: Team, pod: Json, folder: Path) -> tuple[list[str], dict[str, str]]:
    """How the pod's one container is started, with the same interpreter and file, and in which environment."""
    (container,) = pod["containers"]
    assert container["command"][-1].endswith("python /app/app.py") or container["command"] == ["python", "/app/app.py"]
    script = folder / "app.py"
    script.write_text(mounted(team.api, team.name, pod, "app.py"), encoding="utf-8")
    return [sys.executable, "-I", str(script)], environment(team.api, team.name, container)


def finished(team: Team, pod: Json, folder: Path) -> str:
    """What a pod that runs to its end prints; AssertionError if it fails."""
    arguments, given = command(team, pod, folder)
    done = subprocess.run(arguments, env=given, capture_output=True, text=True, timeout=_RUN_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def serving(team: Team, pod: Json, folder: Path) -> Iterator[str]:
    """Where a pod that stays answers; it ends with the context."""
    arguments, given = command(team, pod, folder)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(arguments, env=given | {"PORT": "0"}, stdout=log, stderr=log)
    with process:
        try:
            port = eventually(lambda: _port(folder / "log", process), within=120)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _port(log: Path, process: subprocess.Popen[bytes]) -> str | None:
    text = log.read_text(encoding="utf-8")
    assert process.poll() is None, text
    found = re.search(r"on port (\d+)\n", text)
    return found[1] if found else None


def test_the_chat_application_is_answered(team: Team, tmp_path: Path) -> None:
    """With the ConfigMap and its key it needs nothing else; when the model stops serving it says so to its caller."""
    apply(team, "chat")
    team.until_ready("chat")
    give_key(team, "chat")
    with serving(team, pod(team, "apps/v1", "deployments", "chat-app"), tmp_path) as url:
        answer = httpx.post(url, content="Good morning", timeout=30, trust_env=False)
        assert (answer.status_code, answer.text) == (200, "[Qwen/Qwen3-8B] You said: Good morning\n")
        team.platform.phase(team.name, "chat", "error", "out of memory")
        refused = httpx.post(url, content="Good evening", timeout=30, trust_env=False)
        assert refused.status_code == 502
        assert "out of memory" in refused.text


def test_one_application_has_two_models(team: Team, tmp_path: Path) -> None:
    """`prefix` tells the two ConfigMaps apart, and each model is asked for what it does, with its own key."""
    apply(team, "two-models")
    for name in ("assistant", "embedding-ollama"):
        team.until_ready(name)
        give_key(team, name)
    since = team.platform.last()
    told = finished(team, pod(team, "batch/v1", "jobs", "two-models"), tmp_path)
    assert "answer: [Qwen/Qwen3-14B] You said: When are invoices paid?\n" in told
    asked = [(call["slug"], call["body"]["model"], call["status"]) for call in team.calls("data", since=since)]
    assert asked == [("embedding-ollama", "nomic-embed-text", 200), ("assistant", "Qwen/Qwen3-14B", 200)]


def test_the_reranker_takes_a_job(team: Team, tmp_path: Path) -> None:
    """Its ConfigMap says where jobs go, and the platform's receipt is what the application prints."""
    apply(team, "reranker")
    team.until_ready("reranker")
    give_key(team, "reranker", "INFERENCEKEY_API_KEY")
    receipt = json.loads(finished(team, pod(team, "batch/v1", "jobs", "rerank"), tmp_path))
    assert (receipt["status"], receipt["task_type"]) == ("queued", "reranker")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_no_example_holds_a_credential(folder: Path) -> None:
    """Neither a token nor a Secret to put one into."""
    for path in (each for each in folder.rglob("*") if each.is_file()):
        assert not re.search(r"ik_(sdk|live)_[0-9a-f]", path.read_text(encoding="utf-8")), path
    assert "Secret" not in {document.get("kind") for path in folder.rglob("*.yaml") for document in documents(path)}


def test_no_two_examples_have_one_slug() -> None:
    """All of them can live in one project."""
    slugs = [each["spec"].get("slug") or each["metadata"]["name"] for each in workloads()]
    assert len(set(slugs)) == len(slugs) >= 10


# -- a namespace for a team --------------------------------------------------------------------------------------------

TEAM = EXAMPLES / "team"
TEAM_A = "team-a"
KIND = "externalsecrets.external-secrets.io"
MEMBER = ("--as=jane", "--as-group=team-a", "--as-group=system:authenticated")
TOO_DEAR = "in namespace team-a a Workload may cost at most 5 USD an hour: write executionPolicy: autoscaling with"
ORPHANED = "deletionPolicy: Orphan would leave a workload that costs on and is counted by nobody: remove it"


@pytest.fixture(scope="module")
def team_a(control_plane: Cluster, api: Api, platform: Admin, module_operator: Operator) -> Iterator[Team]:
    """The folder's namespace, as the platform team leaves it, but that its Secret has not come yet."""
    if not control_plane.has_controller_manager:
        pytest.skip("a quota counts, and a namespace is emptied, where there is a kube-controller-manager")
    module_operator.see_to_it()
    for name in ("namespace", "access", "quota", "cost"):  # create: what somebody has already is none of ours
        control_plane.kubectl("create", "-f", str(TEAM / f"{name}.yaml"))

    def kubectl(*arguments: str, document: object = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        stdin = None if document is None else json.dumps(document)
        return control_plane.kubectl("-n", TEAM_A, *arguments, stdin=stdin, check=check)

    made = Team(TEAM_A, kubectl, api, platform)
    member = partial(kubectl, *MEMBER)
    eventually(
        lambda: TOO_DEAR in member("create", DRY, "-f", "-", document=manifest(), check=False).stderr, within=120
    )
    quota = f"/api/v1/namespaces/{TEAM_A}/resourcequotas/workloads"
    eventually(lambda: made.api.get(quota)["status"].get("hard"), within=120)
    yield made
    control_plane.kubectl("delete", "-f", str(TEAM / "cost.yaml"))
    control_plane.kubectl("delete", "namespace", TEAM_A, "--timeout=50s")


@pytest.fixture
def member(team_a: Team) -> Kubectl:
    """kubectl as somebody of the team, in the team's namespace."""
    return partial(team_a.kubectl, *MEMBER)


def test_a_team_in_its_namespace(team_a: Team, member: Kubectl) -> None:
    """A member's Workload waits for the Secret and is served with it; what costs more than allowed is refused."""
    member("apply", "-f", str(TEAM / "workload.yaml"))
    team_a.until("team-chat", "False SecretNotFound")
    assert "Reconciling" in team_a.conditions("team-chat")
    team_a.secret()  # as External Secrets would
    team_a.until_ready("team-chat")
    assert team_a.live("team-chat")["execution_policy_config"]["max_hourly_cost_usd"] == 4.5

    dearer = {"spec": {"executionPolicyConfig": {"max_hourly_cost_usd": 5.5}}}
    assert TOO_DEAR in refusal(member, "patch", "ikw/team-chat", "--type=merge", "-p", json.dumps(dearer))
    as_dear = {"spec": {"executionPolicyConfig": {"max_hourly_cost_usd": 5}}}
    member("patch", "ikw/team-chat", "--type=merge", "-p", json.dumps(as_dear))
    orphaned = {"spec": {"deletionPolicy": "Orphan"}}
    assert ORPHANED in refusal(member, "patch", "ikw/team-chat", "--type=merge", "-p", json.dumps(orphaned))
    for uncapped in (
        manifest(executionPolicy="fixed", executionPolicyConfig={"replicas": 1}),
        manifest(executionPolicy="scheduled", executionPolicyConfig={"cron": "0 2 * * *"}),
        manifest(),
    ):
        assert TOO_DEAR in refusal(member, "create", DRY, "-f", "-", document=uncapped)
    workers = {"source": "private", "private_worker_ids": ["wrk_1a2b3c"]}
    own = manifest(executionPolicy="autoscaling", executionPolicyConfig={"workers": workers})
    member("create", DRY, "-f", "-", document=own)

    for number in range(3):
        own["metadata"]["name"] = f"own-{number}"
        member("create", "-f", "-", document=own)
    own["metadata"]["name"] = "one-too-many"
    assert "exceeded quota: workloads" in refusal(member, "create", "-f", "-", document=own)
    member("delete", "ikw", "--all", "--timeout=50s")
    assert team_a.slugs() == []


def test_what_a_member_may_not(member: Kubectl) -> None:
    """Neither read the token nor move what holds the team, nor write what is the operator's."""
    for what in (
        "get secrets",
        "create secrets",
        "update resourcequotas",
        f"patch namespaces/{TEAM_A}",
        "patch workloads.inferencekey.com --subresource=status",
    ):
        answer = member("auth", "can-i", *what.split(), check=False)
        assert answer.stdout.strip() == "no", f"{what}: {answer}"


def test_external_secrets_takes_what_the_folder_has(team_a: Team, control_plane: Cluster) -> None:
    """The whole folder is accepted where External Secrets' own definition is installed."""
    definition = external_secrets.definition()
    if definition is None:
        pytest.skip("the definition of ExternalSecret takes Go, and the Go module of External Secrets")
    theirs = control_plane.kubectl("get", "crd", KIND, "--ignore-not-found").stdout
    if not theirs:
        control_plane.kubectl("create", "-f", str(definition))
    try:
        eventually(lambda: control_plane.established(KIND))
        accepted = "externalsecret.external-secrets.io/inferencekey created (server dry run)"
        eventually(lambda: control_plane.kubectl("apply", DRY, "-k", str(TEAM), check=False), partial(_says, accepted))
    finally:
        if not theirs:
            control_plane.kubectl("delete", "-f", str(definition))


def _says(words: str, result: subprocess.CompletedProcess[str]) -> bool:
    return words in result.stdout

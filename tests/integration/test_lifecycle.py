"""A Workload from its creation to its end, with the operator as a process under its ServiceAccount and real kubectl."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from harness.api import EVENTS, Json
from harness.audit import Audit
from harness.examples import EXAMPLES, alone
from harness.operators import Operator
from harness.simulator import behaving
from harness.team import Team
from harness.waiting import equals, eventually
from inferencekey_simulator.admin import Admin
from integration.manifests import manifest

FINALIZER = "inferencekey.com/workload"

pytestmark = pytest.mark.usefixtures("operator")


def test_what_is_applied_is_on_the_platform(team: Team) -> None:
    """After kubectl apply, kubectl wait returns, and the platform has what was declared, once."""
    team.kubectl("apply", "-f", "-", document=manifest(command="vllm serve llama-3", taskType="text2text"))
    team.kubectl("wait", "--for=condition=Ready", "ikw/support-bot", "--timeout=30s")
    assert team.slugs() == ["support-bot"]
    live = team.live("support-bot")
    assert (live["name"], live["model_name"], live["backend"]) == ("support-bot", "llama-3", "vllm")
    assert live["config"]["command"] == "vllm serve llama-3"
    assert team.platform_writes() == ["create support-bot"]
    row = team.kubectl("get", "ikw", "support-bot", "--no-headers").stdout.split()
    assert row[:7] == ["support-bot", "True", "Ready", "none", "Reconcile", "vllm", "llama-3"]


def test_what_is_edited_is_changed_on_the_platform(team: Team) -> None:
    """An edit is one PATCH with the field that moved, and Ready speaks of the new generation."""
    team.kubectl("apply", "-f", "-", document=manifest(description="For customers"))
    team.until_ready("support-bot")
    since = team.platform.last()
    team.kubectl("apply", "-f", "-", document=manifest(description="For customers", model="llama-4"))
    workload = team.until_ready("support-bot")
    assert workload["status"]["observedGeneration"] == 2
    assert workload["status"]["drift"] == {"policy": "Reconcile", "summary": "none"}
    assert [call["body"] for call in team.calls("update", since=since)] == [{"model_name": "llama-4"}]
    assert team.platform_writes(since) == ["update support-bot"]
    assert team.live("support-bot")["description"] == "For customers"


def test_what_is_deleted_is_gone_from_the_platform(team: Team) -> None:
    """kubectl delete returns after one DELETE on the platform, and nothing of it is left."""
    team.declare("support-bot")
    team.until_ready("support-bot")
    since = team.platform.last()
    team.kubectl("delete", "ikw", "support-bot", "--timeout=30s")
    assert team.slugs() == []
    assert team.platform_writes(since) == ["delete support-bot"]


def test_deleted_before_it_was_made(bare: Team) -> None:
    """A Workload that never could be created goes at once, and the platform is not called."""
    bare.declare("support-bot")
    bare.until("support-bot", "False SecretNotFound")
    bare.kubectl("delete", "ikw", "support-bot", "--timeout=30s")
    assert bare.calls() == []


def test_a_creation_is_as_few_writes_as_can_be(team: Team, audit: Audit, platform: Admin) -> None:
    """Finalizer, record, ConfigMap and status, then one status for each phase of readiness, and two Events."""
    with behaving(platform, readiness={"hold_at": "scheduling"}):
        before = audit.mark()
        team.declare("support-bot")
        for phase in ("scheduling", "provisioning", "bootstrapping", "ready"):
            eventually(team.slugs)
            platform.phase(team.name, "support-bot", phase)
            eventually(lambda: team.status("support-bot").get("readiness", {}).get("phase"), equals(phase))
    team.until_told("support-bot")
    writes = Counter(f"{write.verb} {write.resource}" for write in audit.writes(before, team.name))
    assert writes == {
        "patch workloads": 1,
        "create configmaps": 1,
        "patch workloads/status": 6,
        "create events": 2,
    }
    assert {write.code for write in audit.writes(before, team.name)} <= {200, 201}


def test_the_finalizer_and_the_record_come_before_the_creation(team: Team, audit: Audit) -> None:
    """While the POST is under way, the status pins the identity and records the creation; then the record goes."""
    before = audit.mark()
    team.platform.fault("delay", operation="create", project=team.name, seconds=2.0)
    team.declare("support-bot")
    eventually(lambda: team.calls("create"))
    workload = team.workload("support-bot")
    assert workload["metadata"]["finalizers"] == [FINALIZER]
    pinned = {"platformURL": team.platform.url, "projectSlug": team.name, "workloadSlug": "support-bot"}
    assert pinned.items() <= workload["status"].items()
    assert {"time", "sent"} == set(workload["status"]["creation"])
    assert "workloadId" not in workload["status"]
    team.until_ready("support-bot")
    assert "creation" not in team.status("support-bot")
    writes = [(write.verb, write.resource) for write in audit.writes(before, team.name)]
    assert writes[:2] == [("patch", "workloads"), ("patch", "workloads/status")]


def test_nothing_is_written_while_nothing_happens(team: Team, audit: Audit) -> None:
    """The platform is listed once an interval; that is all."""
    for number in range(3):
        team.declare(f"bot-{number}")
    for number in range(3):
        team.until_told(f"bot-{number}")
    before, since = audit.mark(), team.platform.last()
    team.pass_intervals(5)
    assert audit.writes(before, team.name) == []
    assert {call["operation"] for call in team.calls(since=since)} == {"list"}


def test_nothing_is_written_at_a_restart(team: Team, audit: Audit, operator: Operator) -> None:
    """Neither to Kubernetes nor to the platform; and the next edit is seen as if nothing had been."""
    team.declare("support-bot")
    team.until_ready("support-bot")
    team.until_told("support-bot")
    before, since = audit.mark(), team.platform.last()
    assert operator.stop() == 0
    operator.start()
    team.pass_intervals(3)
    assert audit.writes(before, team.name) == []
    assert team.platform_writes(since) == []
    team.edit("support-bot", model="llama-4")
    team.until_ready("support-bot")
    assert team.platform_writes(since) == ["update support-bot"]


def test_all_workloads_are_listed_once_at_a_start(team: Team, audit: Audit, operator: Operator) -> None:
    """Beside that it is asked whether they can be listed, and where to watch from: no answer to that has them."""
    team.declare("support-bot")
    team.until_ready("support-bot")
    before = audit.mark()
    assert operator.stop() == 0
    operator.start()
    time.sleep(3.0)
    asked = [request for request in audit.requests(before) if (request.verb, request.resource) == ("list", "workloads")]
    whole = [request for request in asked if "limit=1" not in request.query.split("&")]
    assert [request.query.partition("fieldSelector=")[2] for request in whole] == ["metadata.name%3D_", ""]


def test_what_happened_while_it_was_away_is_caught_up_with(team: Team, operator: Operator) -> None:
    """One was created, one edited and one deleted meanwhile, and one changed on the platform."""
    for name in ("edited", "deleted", "drifted"):
        team.declare(name)
    for name in ("edited", "deleted", "drifted"):
        team.until_ready(name)
    assert operator.stop() == 0
    team.declare("created")
    team.edit("edited", model="llama-4")
    team.delete("deleted")
    team.platform.edit(team.name, "drifted", model_name="another")
    operator.start()
    team.until_ready("created")
    team.until_ready("edited")
    team.until_gone("deleted")
    eventually(lambda: team.live("drifted")["model_name"], equals("llama-3"))
    assert team.slugs() == ["created", "drifted", "edited"]
    assert team.live("edited")["model_name"] == "llama-4"


def test_orphaned_on_request(team: Team) -> None:
    """With deletionPolicy Orphan the workload stays where it is, and an Event says so."""
    team.declare("support-bot", deletionPolicy="Orphan")
    team.until_ready("support-bot")
    team.kubectl("delete", "ikw", "support-bot", "--timeout=30s")
    assert team.slugs() == ["support-bot"]
    eventually(lambda: [told.reason for told in team.events("support-bot")], lambda reasons: "Orphaned" in reasons)


def test_what_was_found_is_left(team: Team) -> None:
    """A workload that was there before is adopted, and survives the Workload."""
    found = team.platform.add(team.name, "support-bot", backend="vllm", model_name="llama-3")
    team.declare("support-bot")
    status = team.until_ready("support-bot")["status"]
    assert (status["adopted"], status["workloadId"]) == (True, found["id"])
    team.kubectl("delete", "ikw", "support-bot", "--timeout=30s")
    assert team.slugs() == ["support-bot"]
    assert team.platform_writes() == []


@pytest.mark.usefixtures("controllers")
def test_a_whole_namespace_goes(team: Team) -> None:
    """Also when its Secret goes first: nothing hangs, and nothing is left on the platform."""
    for number in range(3):
        team.declare(f"bot-{number}")
    for number in range(3):
        team.until_ready(f"bot-{number}")
    team.kubectl("delete", "namespace", team.name, "--timeout=50s")
    assert team.slugs() == []


@pytest.mark.usefixtures("controllers")
def test_without_a_token_it_is_let_go_and_reported(team: Team, operator: Operator) -> None:
    """After the grace time a namespace goes without its token; what stays on the platform is named in an Event."""
    team.declare("support-bot")
    identity = team.until_ready("support-bot")["status"]["workloadId"]
    assert operator.stop() == 0
    team.drop_secret()
    operator.start()
    team.kubectl("delete", "namespace", team.name, "--timeout=50s")
    assert team.slugs() == ["support-bot"]
    told = eventually(lambda: _told_of_namespace(team))
    assert [event["reason"] for event in told] == ["Orphaned"]
    assert identity in told[0]["note"]
    assert "support-bot" in told[0]["note"]


def test_every_example_is_served(team: Team) -> None:
    """Each Workload of the examples becomes Ready as it stands; the one that asks for review waits for it."""
    team.kubectl("apply", "-k", str(EXAMPLES))
    names = [workload["metadata"]["name"] for workload in team.api.workloads(team.name)]
    assert len(names) == len(alone())
    verdicts = eventually(
        lambda: {name: team.verdict(name) for name in names},
        lambda seen: set(seen.values()) == {"True Ready", "False PlanPending"},
        within=120,
    )
    assert [name for name, verdict in verdicts.items() if verdict != "True Ready"] == ["reviewed"]


def _told_of_namespace(team: Team) -> list[Json]:
    """The Events about the team's namespace, which is gone: they are stored in `default`."""
    found = team.api.items(f"{EVENTS}/namespaces/default/events")
    about = {"kind": "Namespace", "name": team.name}
    return [event for event in found if about.items() <= event["regarding"].items()]

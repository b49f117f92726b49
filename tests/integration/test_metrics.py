"""What people look at: metrics, probes and the log of a real operator, leading and standing by."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.metrics import MetricWrapperBase

from harness import operators
from harness.drifting import until_drift
from harness.operators import Operator, Surroundings
from harness.promtool import says
from harness.scrape import Scrape, free_port
from harness.team import ON_DRIFT, Team
from harness.waiting import equals, eventually
from inferencekey_operator import metrics
from inferencekey_operator.metrics import GaugeSpec

NAME = "support-bot"
PROBES = ("startupz", "healthz", "readyz")


@pytest.fixture(scope="module")
def scrape() -> Scrape:
    """What the module's operator shows."""
    return Scrape(free_port())


@pytest.fixture(scope="module")
def operator_options(scrape: Scrape) -> tuple[str, ...]:
    """As usual, with metrics, and a log that a machine reads."""
    return (*operators.USUAL, scrape.option, "--log-format=json")


@pytest.fixture
def standby(surroundings: Surroundings, operator: Operator) -> Iterator[Scrape]:
    """What a second process shows, which waits for the Lease."""
    shown = Scrape(free_port())
    second = Operator(replace(surroundings, log=surroundings.log.with_name("standby")), *operators.USUAL, shown.option)
    second.stand_by()
    yield shown
    second.close()


@pytest.fixture
def held(team: Team, operator: Operator) -> Team:
    """A team with a Workload whose model was changed on the platform, under Warn."""
    team.declare(NAME, annotations={ON_DRIFT: "Warn"})
    team.until_ready(NAME)
    team.platform.edit(team.name, NAME, model_name="theirs")
    until_drift(team, NAME, "OutOfBand")
    return team


def test_workloads_by_state_reason_and_policy(held: Team, scrape: Scrape) -> None:
    """Each Workload counts in one series, and its drift in another; they go with it."""
    ready = {"state": "Ready", "reason": "Ready", "policy": "Warn"}
    drifted = {"class": "OutOfBand", "policy": "Warn"}
    eventually(lambda: scrape.value("inferencekey_workloads", **ready), equals(1.0))
    eventually(lambda: scrape.value("inferencekey_workloads_drifted", **drifted), equals(1.0))
    held.delete(NAME)
    held.until_gone(NAME)
    eventually(lambda: scrape.value("inferencekey_workloads", **ready), equals(None))
    assert scrape.value("inferencekey_workloads_drifted", **drifted) is None


def test_drift_is_counted_when_it_is_found_and_when_it_is_repaired(held: Team, scrape: Scrape) -> None:
    """Once each, however often the drift is looked at while it is held."""
    model = {"class": "OutOfBand", "field": "model"}
    eventually(lambda: scrape.value("inferencekey_drift_found_total", **model), lambda found: found)
    found = scrape.value("inferencekey_drift_found_total", **model)
    repaired = scrape.value("inferencekey_drift_repaired_total", **model) or 0.0
    held.pass_intervals()
    assert scrape.value("inferencekey_drift_found_total", **model) == found
    held.annotate(NAME, {ON_DRIFT: "Reconcile"})
    eventually(lambda: scrape.value("inferencekey_drift_repaired_total", **model), equals(repaired + 1))


def test_what_nobody_declares_is_counted(team: Team, scrape: Scrape, operator: Operator) -> None:
    """A workload on the platform without a Workload, in a project that is listed; it is billed all the same."""
    team.declare(NAME)
    team.until_ready(NAME)
    eventually(lambda: scrape.value("inferencekey_undeclared_workloads", project=team.name), equals(0.0))
    team.platform.add(team.name, "forgotten")
    eventually(lambda: scrape.value("inferencekey_undeclared_workloads", project=team.name), equals(1.0))
    age = scrape.value("inferencekey_project_list_age_seconds", project=team.name)
    assert age is not None
    assert 0 <= age < 60
    team.delete(NAME)
    team.until_gone(NAME)
    eventually(lambda: scrape.value("inferencekey_project_list_age_seconds", project=team.name), equals(None))
    assert scrape.value("inferencekey_undeclared_workloads", project=team.name) is None


def test_calls_and_writes_are_counted_by_how_they_ended(team: Team, scrape: Scrape, operator: Operator) -> None:
    """A creation that the platform refuses, and one that it accepts; and what was written in Kubernetes."""
    refused = {"route": "create", "code": "400", "result": "PlatformRefused"}
    before = scrape.value("inferencekey_platform_calls_total", **refused) or 0.0
    no = {"error": "bad_request"}
    team.platform.fault("respond", status=400, body=no, operation="create", project=team.name, times=1)
    team.declare(NAME)
    team.until(NAME, "False PlatformRefused")
    eventually(lambda: scrape.value("inferencekey_platform_calls_total", **refused), equals(before + 1))
    team.edit(NAME, description="another")
    team.until_ready(NAME)
    assert scrape.value("inferencekey_platform_calls_total", route="list", code="200", result="ok")
    assert scrape.value("inferencekey_platform_call_seconds_count", route="readiness")
    for resource, verb, code in (
        ("workloads", "patch", "200"),
        ("workloads/status", "patch", "200"),
        ("configmaps", "create", "201"),
        ("events", "create", "201"),
        ("leases", "update", "200"),
    ):
        assert scrape.value("inferencekey_kubernetes_writes_total", resource=resource, verb=verb, code=code), resource


def test_every_metric_is_there(held: Team, scrape: Scrape) -> None:
    """Whatever is described is shown, of a name that Prometheus' own linter accepts, and without a token."""
    described = {each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase | GaugeSpec)}
    names = {each.name if isinstance(each, GaugeSpec) else each.describe()[0].name for each in described}
    text = scrape.text()
    missing = {name for name in names if f"# TYPE {name}" not in text}
    assert missing == set()
    assert held.token.split("_")[3] not in text
    assert says("check", "metrics", stdin=text) == (0, "")


@pytest.mark.parametrize("path", PROBES)
def test_the_leader_is_well(path: str, operator: Operator, scrape: Scrape) -> None:
    """Started, alive and ready, each check with a line of its own."""
    status, words = eventually(lambda: scrape.probe(path), lambda seen: seen[0] == 200)
    assert all(line.startswith("[+] ") for line in words.splitlines()), (status, words)


def test_a_standby_is_ready_and_shows_no_workload(held: Team, scrape: Scrape, standby: Scrape) -> None:
    """So a rollout goes on, and each Workload counts once over both."""
    eventually(lambda: standby.probe("readyz"), lambda seen: seen[0] == 200, within=120)
    assert (scrape.value("inferencekey_leader"), standby.value("inferencekey_leader")) == (1.0, 0.0)
    assert scrape.value("inferencekey_workloads")
    assert standby.labels("inferencekey_workloads") == []
    assert {each["resource"] for each in standby.labels("inferencekey_watch_idle_seconds")} == {
        "workloads",
        "secrets",
        "configmaps",
        "namespaces",
    }


def test_the_log_says_what_happened_and_to_whom(held: Team, operator: Operator) -> None:
    """Each line is JSON; what happened to a Workload has its namespace, name, slug and reason."""
    lines = [json.loads(line) for line in operator.log().splitlines()]
    ours = [line for line in lines if line.get("namespace") == held.name and line.get("name") == NAME]
    told = [(line["level"], line["slug"], line["reason"]) for line in ours]
    assert told == [
        ("info", NAME, "Created"),
        ("info", NAME, "Ready"),
        ("warning", NAME, "DriftDetected"),
    ]


def test_the_log_is_quiet_at_rest(held: Team, operator: Operator) -> None:
    """Nothing happens, so nothing is said, though the project is looked at again and again."""
    held.pass_intervals(2)
    before = _lines_about(operator, held)
    held.pass_intervals(4)
    assert _lines_about(operator, held) == before


def _lines_about(operator: Operator, team: Team) -> list[Any]:
    return [line for line in operator.log().splitlines() if team.name in line]

"""The alert rules, as Prometheus reads and runs them: each fires when it should, and is silent when it should."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.promtool import says
from unit.exposed import exposed, unknown_in
from unit.pages import ROOT

RULES = ROOT / "charts/inferencekey-operator/files/alerts.yaml"
TESTS = Path(__file__).parents[1] / "prometheus/alerts.yaml"


def rules() -> list[dict[str, Any]]:
    """All of them."""
    found = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return [rule for group in found["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_they_speak_of_metrics_that_exist(rule: dict[str, Any]) -> None:
    """Of names and labels that /metrics has; and say how bad it is, what is, and where to read on."""
    assert unknown_in(rule["expr"], exposed()) == set()
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}


def test_each_is_seen_to_fire_and_to_be_silent() -> None:
    """Else a rule that never fires, or always does, would pass."""
    cases = [case for test in yaml.safe_load(TESTS.read_text())["tests"] for case in test["alert_rule_test"]]
    fires = Counter(case["alertname"] for case in cases if case["exp_alerts"])
    silent = Counter(case["alertname"] for case in cases if not case["exp_alerts"])
    assert set(fires) == set(silent) == {rule["alert"] for rule in rules()}


def test_prometheus_accepts_them() -> None:
    """As a file of rules."""
    code, words = says("check", "rules", str(RULES))
    assert code == 0, words


def test_prometheus_runs_them() -> None:
    """Over recorded series: tests/prometheus/alerts.yaml."""
    code, words = says("test", "rules", str(TESTS))
    assert code == 0, words

"""The Grafana dashboard: the file is what the generator writes, and it shows metrics that exist."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import pytest

from charts.dashboard import dashboard, written
from harness.promtool import says
from unit.exposed import exposed, unknown_in
from unit.pages import ROOT

FILE = ROOT / "charts/inferencekey-operator/files/dashboard.json"
PANELS: list[dict[str, Any]] = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
VARIABLES = {"$__rate_interval": "5m", "$__range": "6h", "$namespace": ".*", "$job": ".*"}


def expressions() -> list[tuple[str, str]]:
    """Every expression, with the title of its panel."""
    return [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]


def filled(expression: str) -> str:
    """As Prometheus gets it: with values for what Grafana fills in."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def test_the_file_is_what_is_generated() -> None:
    """`make generate` writes it; nothing is edited by hand."""
    assert FILE.read_text(encoding="utf-8") == written()


@pytest.mark.parametrize(("title", "expression"), expressions())
def test_it_shows_what_exists(title: str, expression: str) -> None:
    """Names and labels that /metrics has, of the installations that are chosen."""
    assert unknown_in(expression, exposed()) == set()
    selectors = re.findall(r"\b(?:inferencekey|process)_\w+(\{[^}]*\})?", expression)
    assert all('namespace=~"$namespace",job=~"$job"' in selector for selector in selectors), title
    assert "$" not in filled(expression)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))
def test_series_are_called_by_labels_that_they_have(panel: dict[str, Any]) -> None:
    """A legend names what the expression is grouped by; a number has none."""
    for target in panel["targets"]:
        labels = {label.strip() for by in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in by.split(",")}
        named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        assert named == labels - {"le"} or panel["type"] == "stat"


def test_every_metric_about_something_wrong_is_shown() -> None:
    """What alerts speak of can be looked at."""
    rules = (ROOT / "charts/inferencekey-operator/files/alerts.yaml").read_text(encoding="utf-8")
    shown = " ".join(expression for _, expression in expressions())
    spoken = set(re.findall(r"^\s+(?:expr:)?.*?(inferencekey_\w+)", rules, re.MULTILINE))
    unseen = {"inferencekey_build_info", "inferencekey_queue_longest_running_seconds"}
    assert {name for name in spoken - unseen if name not in shown} == set()


def test_panels_do_not_overlap() -> None:
    """Each has its place, within the width, and a number of its own."""
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or apart, (one, other)
        assert one["x"] + one["w"] <= 24


def test_every_panel_says_what_it_tells() -> None:
    """A title, and words on what to think of it."""
    assert all(panel["title"] and panel["description"].endswith(".") for panel in PANELS)


def test_prometheus_can_read_every_expression(tmp_path: Any) -> None:
    """As rules, which promtool parses."""
    rules = [{"record": f"panel:{number}", "expr": filled(expr)} for number, (_, expr) in enumerate(expressions())]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    code, words = says("check", "rules", "--lint=none", str(file))
    assert code == 0, words

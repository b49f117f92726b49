"""`python -m charts.dashboard`: the Grafana dashboard, written from the panels below.

One place says what is shown, in the order of the questions: is anything wrong, what about the Workloads, what about
drift, what about the platform, what about the operator itself. Grafana's JSON is made from it, and nothing is edited
there by hand. Knows nothing of how the metrics come about; a test holds every expression to those that exist.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

WIDTH = 24
SCOPE = 'namespace=~"$namespace",job=~"$job"'
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_RED, _YELLOW, _GREEN = "red", "yellow", "green"


@dataclass(frozen=True)
class Query:
    """One expression, and how its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """What one field of the dashboard shows, and what to think of it."""

    title: str
    tells: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 7
    steps: tuple[tuple[str, float | None], ...] = ((_GREEN, None),)
    stacked: bool = False
    colors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """Panels about one question."""

    title: str
    panels: tuple[Panel, ...]


def query(expr: str, legend: str = "") -> Query:
    """An expression over what the dashboard's variables choose: `$scope` stands within braces."""
    return Query(" ".join(expr.split()).replace("$scope", SCOPE), legend)


def number(
    title: str, tells: str, expr: str, *, unit: str = "short", bad: float | None = None, low: bool = False
) -> Panel:
    """One number; red from `bad` on, or below it where low is bad."""
    steps: tuple[tuple[str, float | None], ...] = ((_GREEN, None),)
    if bad is not None:
        steps = ((_RED, None), (_GREEN, bad)) if low else ((_GREEN, None), (_RED, bad))
    return Panel(title, tells, (query(expr),), kind="stat", unit=unit, width=4, height=4, steps=steps)


STATES = {
    "Ready": "green",
    "Reconciling": "blue",
    "New": "light-blue",
    "Waiting": "yellow",
    "Stalled": "red",
    "Suspended": "text",
    "Deleting": "purple",
}

ROWS = (
    Row(
        "Is anything wrong?",
        (
            number("Leader", "One process leads.", "sum(inferencekey_leader{$scope})", bad=1.0, low=True),
            number("Workloads", "That are declared.", "sum(inferencekey_workloads{$scope})"),
            number(
                "Not as declared",
                "Stalled, or waiting for an approval.",
                'sum(inferencekey_workloads{$scope,state=~"Stalled|Waiting"}) or vector(0)',
                bad=1.0,
            ),
            number(
                "Undeclared",
                "Workloads on the platform that no Workload declares. They are billed.",
                "sum(max by (project) (inferencekey_undeclared_workloads{$scope})) or vector(0)",
                bad=1.0,
            ),
            number(
                "Orphans",
                "Workloads let go within the range shown, which may still run, and be billed.",
                "sum(increase(inferencekey_orphans_total{$scope}[$__range]))",
                bad=0.5,
            ),
            number(
                "Oldest list",
                "So old may a drift be before it is seen.",
                "max(inferencekey_project_list_age_seconds{$scope})",
                unit="s",
                bad=300.0,
            ),
        ),
    ),
    Row(
        "Workloads",
        (
            Panel(
                "By state",
                "Waiting: somebody may approve. Stalled: nothing changes until somebody acts.",
                (query("sum by (state) (inferencekey_workloads{$scope})", "{{state}}"),),
                width=12,
                stacked=True,
                colors=STATES,
            ),
            Panel(
                "Not ready, by reason",
                "The reasons of docs/troubleshooting.md.",
                (
                    query(
                        'sum by (reason) (inferencekey_workloads{$scope,state=~"New|Reconciling|Waiting|Stalled"})',
                        "{{reason}}",
                    ),
                ),
                width=12,
                stacked=True,
            ),
            Panel(
                "Looks, by how they ended",
                "A look that the platform or a person stopped has the reason's word.",
                (
                    query(
                        "sum by (result) (rate(inferencekey_reconciles_total{$scope}[$__rate_interval]))", "{{result}}"
                    ),
                ),
                unit="ops",
            ),
            Panel(
                "How long a look takes",
                "Calls to the platform and to Kubernetes included.",
                tuple(
                    query(
                        f"""histogram_quantile({share}, sum by (le)
                        (rate(inferencekey_reconcile_seconds_bucket{{$scope}}[$__rate_interval])))""",
                        legend,
                    )
                    for share, legend in ((0.5, "half"), (0.99, "99 %"))
                ),
                unit="s",
            ),
            Panel(
                "How long edits wait for their turn",
                "Of a hundred, the slowest; urgent is what people wait for.",
                (
                    query(
                        """histogram_quantile(0.99, sum by (le, lane)
                        (rate(inferencekey_queue_wait_seconds_bucket{$scope}[$__rate_interval])))""",
                        "{{lane}}",
                    ),
                ),
                unit="s",
            ),
        ),
    ),
    Row(
        "Drift",
        (
            Panel(
                "Workloads that differ now",
                "By who moved, and the policy that holds it.",
                (query("sum by (class, policy) (inferencekey_workloads_drifted{$scope})", "{{class}}, {{policy}}"),),
                stacked=True,
            ),
            Panel(
                "Found, by field",
                "Differences that appeared, per hour.",
                (
                    query(
                        "sum by (class, field) (increase(inferencekey_drift_found_total{$scope}[1h])) > 0",
                        "{{field}}, {{class}}",
                    ),
                ),
            ),
            Panel(
                "Repaired, by field",
                "Differences that a write ended, per hour. OutOfBand again and again: somebody else changes it.",
                (
                    query(
                        "sum by (class, field) (increase(inferencekey_drift_repaired_total{$scope}[1h])) > 0",
                        "{{field}}, {{class}}",
                    ),
                ),
            ),
        ),
    ),
    Row(
        "The platform",
        (
            Panel(
                "Calls",
                "By route.",
                (
                    query(
                        "sum by (route) (rate(inferencekey_platform_calls_total{$scope}[$__rate_interval]))",
                        "{{route}}",
                    ),
                ),
                unit="reqps",
            ),
            Panel(
                "Calls that failed",
                "By route and what came instead.",
                (
                    query(
                        """sum by (route, code, result)
                        (rate(inferencekey_platform_calls_total{$scope,result!~"ok|cancelled"}[$__rate_interval]))""",
                        "{{route}}: {{code}} {{result}}",
                    ),
                ),
                unit="reqps",
            ),
            Panel(
                "How long the platform takes",
                "Of a hundred calls, the slowest.",
                (
                    query(
                        """histogram_quantile(0.99, sum by (le, route)
                        (rate(inferencekey_platform_call_seconds_bucket{$scope}[$__rate_interval])))""",
                        "{{route}}",
                    ),
                ),
                unit="s",
            ),
            Panel(
                "Age of lists",
                "The five projects that were not listed for longest.",
                (query("topk(5, max by (project) (inferencekey_project_list_age_seconds{$scope}))", "{{project}}"),),
                unit="s",
            ),
            Panel(
                "Undeclared workloads",
                "The five projects with most of them; billed.",
                (query("topk(5, max by (project) (inferencekey_undeclared_workloads{$scope}))", "{{project}}"),),
            ),
            Panel(
                "Projects that cannot be listed",
                "By reason.",
                (query("sum by (reason) (inferencekey_failing_projects{$scope})", "{{reason}}"),),
            ),
        ),
    ),
    Row(
        "The operator",
        (
            Panel(
                "Queue",
                "Workloads that wait for their turn, are looked at, or come back later.",
                (
                    query("sum(inferencekey_queue_depth{$scope})", "waiting"),
                    query("sum(inferencekey_queue_running{$scope})", "looked at"),
                    query("sum(inferencekey_queue_delayed{$scope})", "delayed"),
                    query("sum(inferencekey_readiness_streams{$scope})", "readiness streams"),
                ),
            ),
            Panel(
                "Writes to Kubernetes",
                "But for the Lease, which is renewed all the time. At rest there are none.",
                (
                    query(
                        """sum by (resource, verb)
                        (rate(inferencekey_kubernetes_writes_total{$scope,resource!="leases"}[$__rate_interval]))""",
                        "{{verb}} {{resource}}",
                    ),
                ),
                unit="wps",
            ),
            Panel(
                "Writes that were refused",
                "409 is another writer, and heals by itself.",
                (
                    query(
                        """sum by (resource, code)
                        (rate(inferencekey_kubernetes_writes_total{$scope,code!~"2.."}[$__rate_interval]))""",
                        "{{resource}}: {{code}}",
                    ),
                ),
                unit="wps",
            ),
            Panel(
                "Silence of the watches",
                "Each is told something about once a minute.",
                (query("max by (resource) (inferencekey_watch_idle_seconds{$scope})", "{{resource}}"),),
                unit="s",
            ),
            Panel(
                "Shards",
                "Held by each process; together they are as many as there are. Without shards, one process holds one.",
                (
                    query("sum by (pod) (inferencekey_shards_held{$scope})", "{{pod}}"),
                    query("max(inferencekey_shards{$scope})", "there are"),
                ),
            ),
            Panel(
                "CPU",
                "Seconds per second.",
                (query("sum by (pod) (rate(process_cpu_seconds_total{$scope}[$__rate_interval]))", "{{pod}}"),),
                unit="percentunit",
            ),
            Panel(
                "Memory",
                "Resident.",
                (query("sum by (pod) (process_resident_memory_bytes{$scope})", "{{pod}}"),),
                unit="bytes",
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """The whole of it, as Grafana imports it."""
    return {
        "title": "InferenceKey operator",
        "uid": "inferencekey-operator",
        "description": "Workloads, drift, the platform and the operator itself. What to do: docs/operations.md.",
        "tags": ["inferencekey", "kubernetes"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_choice_of_source(), _choice("namespace"), _choice("job")]},
        "panels": list(_placed(ROWS)),
    }


def written() -> str:
    """The file's text."""
    return json.dumps(dashboard(), indent=2) + "\n"


def _placed(rows: Iterable[Row]) -> Iterable[dict[str, Any]]:
    """Every panel in its place: from left to right, in lines of equal height."""
    number, y = 1, 0
    for row in rows:
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "panels": [],
            "gridPos": _at(0, y, WIDTH, 1),
        }
        number, y, x = number + 1, y + 1, 0
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y = 0, y + panel.height
            yield {"id": number, "gridPos": _at(x, y, panel.width, panel.height), **_drawn(panel)}
            number, x = number + 1, x + panel.width
        y += row.panels[-1].height


def _at(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _drawn(panel: Panel) -> dict[str, Any]:
    steps = [{"color": color, "value": value} for color, value in panel.steps]
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    options: dict[str, Any] = {"colorMode": "value", "graphMode": "area", "reduceOptions": {"calcs": ["lastNotNull"]}}
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.stacked else "none"}
        defaults["custom"] = {"fillOpacity": 40 if panel.stacked else 10, "showPoints": "never", "stacking": stacking}
        options = {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.tells,
        "datasource": _SOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": _SOURCE,
                "expr": each.expr,
                "legendFormat": each.legend or "__auto",
            }
            for place, each in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": defaults, "overrides": [_colored(*pair) for pair in panel.colors.items()]},
        "options": options,
    }


def _colored(name: str, color: str) -> dict[str, Any]:
    fixed = {"id": "color", "value": {"mode": "fixed", "fixedColor": color}}
    return {"matcher": {"id": "byName", "options": name}, "properties": [fixed]}


def _choice_of_source() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _choice(label: str) -> dict[str, Any]:
    """A variable with the values that a label has, all of them at first."""
    values = f"label_values(inferencekey_build_info, {label})"
    return {
        "name": label,
        "label": label.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": values, "refId": label},
        "definition": values,
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
        "sort": 1,
    }


if __name__ == "__main__":
    sys.stdout.write(written())

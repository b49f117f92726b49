"""What is counted and measured, for Prometheus: every metric of this process by name, help and labels.

What happens is counted here, where it happens; what stands is only described here, and counted by `gauges` at the
moment of a scrape, so that nothing costs anything at rest and no series outlives what it was about. Labels are bounded:
words of this code, HTTP statuses, and the projects, of which `gauges` names only so many. Never a token, nor a value.
"""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import Counter, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series beside each counter, only to say when it began, serves nobody

OTHER = "other"
"""The label of what has no word of ours."""
NONE = "none"
"""The label of what is not there."""

_CALL_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_WORK_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


@dataclass(frozen=True, slots=True)
class GaugeSpec:
    """A metric that is read at the moment of a scrape."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


# -- what happens ------------------------------------------------------------------------------------------------------

RECONCILES = Counter(
    "inferencekey_reconciles_total",
    "Looks at a Workload, by how they ended: done, again, cluster, stopped, or the reason that stopped them.",
    ["result"],
)
RECONCILE_SECONDS = Histogram(
    "inferencekey_reconcile_seconds", "How long a look at a Workload took.", buckets=_WORK_BUCKETS
)
QUEUE_SECONDS = Histogram(
    "inferencekey_queue_wait_seconds", "How long a Workload waited for its turn.", ["lane"], buckets=_WORK_BUCKETS
)
DRIFT_FOUND = Counter(
    "inferencekey_drift_found_total",
    "Differences that appeared, by who moved and by the field of the spec; field is workload where it is Missing.",
    ["class", "field"],
)
DRIFT_REPAIRED = Counter(
    "inferencekey_drift_repaired_total",
    "Differences that a write to the platform ended, by who had moved and by the field of the spec.",
    ["class", "field"],
)
CALLS = Counter(
    "inferencekey_platform_calls_total",
    "Calls to the platform, by route, HTTP status (none: no answer), and ok or the reason.",
    ["route", "code", "result"],
)
CALL_SECONDS = Histogram(
    "inferencekey_platform_call_seconds",
    "How long the platform took to answer; of a readiness stream, to open it.",
    ["route"],
    buckets=_CALL_BUCKETS,
)
WRITES = Counter(
    "inferencekey_kubernetes_writes_total",
    "Writes to the API server, by resource, verb and HTTP status (none: no answer).",
    ["resource", "verb", "code"],
)
ORPHANS = Counter("inferencekey_orphans_total", "Workloads let go without knowing that the platform deleted them.")
VANISHED = Counter(
    "inferencekey_vanished_total",
    "Workloads that disappeared without the operator having released them: their finalizer was removed by hand.",
)

# -- what stands -------------------------------------------------------------------------------------------------------

WORKLOADS = GaugeSpec(
    "inferencekey_workloads",
    "Workloads of the leader, by state, reason of Ready, and drift policy.",
    ("state", "reason", "policy"),
)
DRIFTED = GaugeSpec(
    "inferencekey_workloads_drifted",
    "Workloads that differ from the platform now, by who moved and by the drift policy that holds them.",
    ("class", "policy"),
)
UNDECLARED = GaugeSpec(
    "inferencekey_undeclared_workloads",
    "Workloads on the platform that no Workload declares, in projects that Workloads use. They are billed.",
    ("project",),
)
PROJECT_LIST_AGE = GaugeSpec(
    "inferencekey_project_list_age_seconds", "Age of the newest list of a project on the platform.", ("project",)
)
PROJECTS = GaugeSpec("inferencekey_projects", "Projects that are listed, one for each credential.")
FAILING_PROJECTS = GaugeSpec(
    "inferencekey_failing_projects", "Projects that the platform refuses to list now, by reason.", ("reason",)
)
STREAMS = GaugeSpec("inferencekey_readiness_streams", "Readiness streams that are open, or wait for a place.")
QUEUE_DEPTH = GaugeSpec("inferencekey_queue_depth", "Workloads that wait for their turn.")
QUEUE_DELAYED = GaugeSpec("inferencekey_queue_delayed", "Workloads that come back after a delay.")
QUEUE_RUNNING = GaugeSpec("inferencekey_queue_running", "Workloads that are looked at now.")
QUEUE_LONGEST = GaugeSpec(
    "inferencekey_queue_longest_running_seconds", "How long the longest of the looks that go on has taken so far."
)
QUEUE_ADDS = GaugeSpec("inferencekey_queue_adds_total", "Workloads that were given a turn.")
QUEUE_RETRIES = GaugeSpec("inferencekey_queue_retries_total", "Turns that were given after a failure.")
WATCH_IDLE = GaugeSpec(
    "inferencekey_watch_idle_seconds",
    "Since when the quietest watch of a resource said nothing; the API server says something about each minute.",
    ("resource",),
)
ROUND_AGE = GaugeSpec("inferencekey_round_idle_seconds", "Since when the full round over all Workloads made no step.")
SHARDS = GaugeSpec("inferencekey_shards", "How many shards this process is for: --shards.")
SHARDS_HELD = GaugeSpec(
    "inferencekey_shards_held",
    "How many shards this process works on; over all replicas, that adds up to all.",
)
LEADER = GaugeSpec("inferencekey_leader", "1 in the process that holds the Lease, 0 in those that stand by.")
BUILD = GaugeSpec("inferencekey_build_info", "1; which operator this is.", ("version", "python"))

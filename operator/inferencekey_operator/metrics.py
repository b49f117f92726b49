"""All metrics for Prometheus: name, help and labels.

Counters and histograms are updated when something happens. Gauges are only described here; `gauges` computes them at
each scrape, so that they cost nothing at rest and no series outlives its object. Labels are bounded: words of this
code, HTTP statuses, and projects, of which `gauges` names a limited number. A label never holds a token or a value.
"""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import Counter, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series beside each counter, only to say when it began, serves nobody

OTHER = "other"
"""The label of everything else."""
NONE = "none"
"""The label of what is missing."""

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
    "Reconciles of a Workload by result: done, requeue, kubernetes_error, leadership_lost, or the reason.",
    ["result"],
)
RECONCILE_SECONDS = Histogram("inferencekey_reconcile_seconds", "Duration of reconciles.", buckets=_WORK_BUCKETS)
QUEUE_SECONDS = Histogram(
    "inferencekey_queue_wait_seconds",
    "Time that Workloads waited in the queue, by lane: urgent or background.",
    ["lane"],
    buckets=_WORK_BUCKETS,
)
DRIFT_FOUND = Counter(
    "inferencekey_drift_found_total",
    "Differences that appeared, by which side changed and by field of the spec; Missing has the field workload.",
    ["class", "field"],
)
DRIFT_REPAIRED = Counter(
    "inferencekey_drift_repaired_total",
    "Differences that a write to the platform resolved, by which side had changed and by field of the spec.",
    ["class", "field"],
)
CALLS = Counter(
    "inferencekey_platform_calls_total",
    "Calls to the platform by route, HTTP status (none: no answer), and ok, cancelled or the reason.",
    ["route", "code", "result"],
)
CALL_SECONDS = Histogram(
    "inferencekey_platform_call_seconds",
    "Response time of the platform; for a readiness stream, the time to open it.",
    ["route"],
    buckets=_CALL_BUCKETS,
)
WRITES = Counter(
    "inferencekey_kubernetes_writes_total",
    "Writes to the API server by resource, verb and HTTP status (none: no answer).",
    ["resource", "verb", "code"],
)
ORPHANS = Counter(
    "inferencekey_orphans_total", "Workloads released without confirmation that the platform deleted them."
)
VANISHED = Counter(
    "inferencekey_vanished_total",
    "Workloads that disappeared without being released, because someone removed their finalizer.",
)

# -- what stands -------------------------------------------------------------------------------------------------------

WORKLOADS = GaugeSpec(
    "inferencekey_workloads",
    "Workloads by state, reason of Ready, and drift policy in force.",
    ("state", "reason", "policy"),
)
DRIFTED = GaugeSpec(
    "inferencekey_workloads_drifted",
    "Workloads that currently differ from the platform, by which side changed and by drift policy.",
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
PROJECTS = GaugeSpec("inferencekey_projects", "Projects that are listed, counted once for each credential.")
FAILING_PROJECTS = GaugeSpec(
    "inferencekey_failing_projects", "Projects whose last list failed, by reason.", ("reason",)
)
STREAMS = GaugeSpec("inferencekey_readiness_streams", "Readiness streams that are open or wait for a free slot.")
QUEUE_DEPTH = GaugeSpec("inferencekey_queue_depth", "Workloads that wait in the queue.")
QUEUE_DELAYED = GaugeSpec("inferencekey_queue_delayed", "Workloads that are requeued after a delay.")
QUEUE_RUNNING = GaugeSpec("inferencekey_queue_running", "Workloads that are being reconciled.")
QUEUE_LONGEST = GaugeSpec(
    "inferencekey_queue_longest_running_seconds", "How long the longest running reconcile has taken so far."
)
QUEUE_ADDS = GaugeSpec("inferencekey_queue_adds_total", "Workloads added to the queue since the process started.")
QUEUE_RETRIES = GaugeSpec("inferencekey_queue_retries_total", "Requeues after a failure since the process started.")
WATCH_IDLE = GaugeSpec(
    "inferencekey_watch_idle_seconds",
    "Seconds since the quietest watch of this resource last received data. Bookmarks arrive about once a minute.",
    ("resource",),
)
RESYNC_IDLE = GaugeSpec("inferencekey_resync_idle_seconds", "Seconds since the resync last made progress.")
SHARDS = GaugeSpec("inferencekey_shards", "The number of shards, as set by --shards.")
SHARDS_HELD = GaugeSpec(
    "inferencekey_shards_held",
    "The number of shards that this process holds.",
)
LEADER = GaugeSpec("inferencekey_leader", "1 in a process that holds a Lease, 0 in a standby.")
BUILD = GaugeSpec("inferencekey_build_info", "Always 1; the labels give the versions.", ("version", "python"))

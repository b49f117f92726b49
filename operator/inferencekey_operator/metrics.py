"""What is counted and measured, for Prometheus. No label ever carries a name that users choose, nor a value."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

LOOKS = Counter(
    "inferencekey_looks_total", "Looks at a Workload, by how they ended: done, again, or the reason.", ["result"]
)
LOOK_SECONDS = Histogram("inferencekey_look_seconds", "How long a look at a Workload took.")
CALLS = Counter(
    "inferencekey_platform_calls_total", "Calls to the platform, by operation and outcome.", ["operation", "result"]
)
ORPHANS = Counter("inferencekey_orphans_total", "Workloads let go without knowing that the platform deleted them.")
WORKLOADS = Gauge("inferencekey_workloads", "Workloads known.")
QUEUED = Gauge("inferencekey_queue_depth", "Workloads that wait for their turn.")
STREAMS = Gauge("inferencekey_readiness_streams", "Readiness streams that are open or wait for a place.")
LIST_AGE = Gauge("inferencekey_oldest_list_seconds", "Age of the oldest list that is in use.")

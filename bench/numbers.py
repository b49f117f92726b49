"""What scenarios return: plain numbers, frozen, which can be written to JSON and read again.

Everything is as it was counted. Ratios, medians and goals are computed elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.procfs import Memory


@dataclass(frozen=True)
class Span:
    """What was spent and asked in some time."""

    seconds: float
    cpu: float
    """Seconds of the contestant; of one that was started in this time, since its start."""
    cpu_api_server: float
    cpu_etcd: float
    cpu_bench: float
    writes: dict[str, int]
    """`patch workloads/status` and the like that the contestant sent and that were accepted; Leases apart."""
    refused: dict[str, int]
    """The writes that were not."""
    reads: dict[str, int]
    calls: dict[str, int]
    """Of the platform, by operation, about all projects."""
    platform_bytes: int
    """That the platform sent."""
    memory: Memory
    """At the end of it."""

    @property
    def total_writes(self) -> int:
        """All that were accepted."""
        return sum(self.writes.values())


@dataclass(frozen=True)
class Quantiles:
    """Of some durations, in seconds."""

    count: int
    p50: float
    p90: float
    p99: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Quantiles:
        """By the nearest rank: a quantile is one of the values."""
        ranked = sorted(values)

        def quantile(share: float) -> float:
            return ranked[min(len(ranked) - 1, int(share * len(ranked)))]

        return cls(len(ranked), quantile(0.5), quantile(0.9), quantile(0.99), ranked[-1])


@dataclass(frozen=True)
class Creation:
    """A fleet applied at once."""

    seconds: float
    """From the first request until every status was written."""
    latency: Quantiles
    """Of each Workload, from the request that creates it to its status."""
    span: Span
    """Until there was nothing more to write: with the phases of readiness, and with the Events."""
    phases: int
    """How often a status told of another phase of readiness than before, over all Workloads."""
    rows: int
    """Workloads that the project had on the platform then."""
    stored: int = 0
    """Bytes, as JSON, of what stays in Kubernetes of it: Workloads and ConfigMaps."""


@dataclass(frozen=True)
class Rest:
    """Some intervals in which nothing happens."""

    intervals: int
    span: Span
    list_seconds: float = 0.0
    """From the first list of the platform in it to the last one."""


@dataclass(frozen=True)
class Restart:
    """A new process takes over a fleet that is in order."""

    seconds: float
    """From its start until each Workload was looked at."""
    span: Span


@dataclass(frozen=True)
class Edit:
    """One field of each Workload's spec changed, of all at once."""

    seconds: float
    """From the first request until every status tells of it."""
    span: Span


@dataclass(frozen=True)
class Storm:
    """One field of each workload changed on the platform, of all at once."""

    seconds: float
    """From the first change to the last repair."""
    most_repairs: int
    """Of a single workload."""
    span: Span


@dataclass(frozen=True)
class Deletion:
    """All deleted at once."""

    seconds: float
    """Until nothing was left in Kubernetes."""
    left: int
    """On the platform."""
    span: Span


@dataclass(frozen=True)
class Round:
    """One contestant with one fleet, from creation to deletion; what it does not do is None."""

    contestant: str
    size: int
    number: int
    creation: Creation | None = None
    rest: Rest | None = None
    restart: Restart | None = None
    beside_idle: Quantiles | None = None
    """A new Workload of the same project until the platform is asked for it."""
    drift: Quantiles | None = None
    """A single change on the platform until its repair is on the way."""
    edit: Edit | None = None
    storm: Storm | None = None
    beside_busy: Quantiles | None = None
    """A new Workload of another project while many others are being created."""
    deletion: Deletion | None = None
    gave_up: str | None = None
    """What was waited for in vain; nothing after it was done."""


@dataclass(frozen=True)
class Teams:
    """Many projects at once: all in order, and then some of them in trouble."""

    size: int
    number: int
    projects: int
    each: int
    slow: int
    bad: int
    healthy: Quantiles
    """From request to status, of the teams that are in order in both cases, while the others are, too."""
    troubled: Quantiles
    """Of the same teams, while the others are not."""


@dataclass(frozen=True)
class Conditions:
    """Where and how a result came about."""

    date: str
    commit: str
    machine: str
    cores: int
    load_before: float
    """The load average of the minute before: of a quiet machine it is near 0."""
    versions: dict[str, str]
    interval: float
    sizes: tuple[int, ...]
    rounds: int


@dataclass(frozen=True)
class Result:
    """All that one run of the bench has measured."""

    conditions: Conditions
    rounds: list[Round] = field(default_factory=list)
    teams: list[Teams] = field(default_factory=list)

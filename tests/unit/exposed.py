"""The names and labels that /metrics has, and which names and labels an expression speaks of that it has not.

Knows PromQL as the rules and the dashboard use it: selectors in braces, and labels after `by`. Whether it is PromQL at
all, promtool says.
"""

from __future__ import annotations

import re

from prometheus_client.metrics import MetricWrapperBase

from inferencekey_operator import metrics
from inferencekey_operator.metrics import GaugeSpec

SCRAPED = frozenset({"namespace", "job", "pod", "instance", "le"})
"""What Prometheus adds to every series, and to histograms."""
STANDARD = frozenset({"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"})
"""What every process in Python shows."""

_NAME = re.compile(r"\b(?:inferencekey|process)_\w+")
_SELECTOR = re.compile(r"(\w+)\{([^}]*)\}")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPED = re.compile(r"\bby\s*\(([^)]*)\)")


def exposed() -> dict[str, frozenset[str]]:
    """Labels by name; a histogram has three names."""
    found: dict[str, frozenset[str]] = dict.fromkeys(STANDARD, frozenset())
    for metric in vars(metrics).values():
        if isinstance(metric, GaugeSpec):
            found[metric.name] = frozenset(metric.labels)
        elif isinstance(metric, MetricWrapperBase):
            endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}[metric._type]
            found |= {metric._name + ending: frozenset(metric._labelnames) for ending in endings}
    return found


def unknown_in(expression: str, known: dict[str, frozenset[str]]) -> set[str]:
    """Names that are not shown, and labels that none of the names has."""
    names = set(_NAME.findall(expression))
    unknown = names - set(known)
    labels = SCRAPED.union(*(known.get(name, frozenset()) for name in names))
    for name, selector in _SELECTOR.findall(expression):
        of_it = SCRAPED | known.get(name, frozenset())
        unknown |= {label for label in _LABEL.findall(selector) if label not in of_it}
    for grouped in _GROUPED.findall(expression):
        unknown |= {label.strip() for label in grouped.split(",")} - labels
    return unknown or ({"no metric"} if not names else set())

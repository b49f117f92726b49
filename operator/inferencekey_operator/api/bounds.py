"""How deep and how large a declaration may be: what is beyond that is refused before it is walked. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

MOST_LEVELS = 100
"""How deep a declaration can be nested: each walk of it recurses as deep."""
MOST_VALUES = 2_000
"""How many values it can hold over all levels: each one takes time, in which no other Workload is reconciled."""
TOO_MUCH = (
    f"config or executionPolicyConfig is nested deeper than {MOST_LEVELS} levels, or holds more than {MOST_VALUES} "
    "values, which no platform takes"
)
"""What is said of it then."""


def beyond_reason(declared: Mapping[str, Any]) -> bool:
    """Whether a declaration is deeper or larger than anybody means."""
    level: list[Any] = [declared]
    size = 0
    for _ in range(MOST_LEVELS):
        level = [inner for value in level for inner in _within(value)]
        size += len(level)
        if size > MOST_VALUES:
            return True
        if not level:
            return False
    return True


def _within(value: Any) -> Collection[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else ()

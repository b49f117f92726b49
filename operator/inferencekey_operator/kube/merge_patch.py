"""JSON merge patches (RFC 7386): the smallest one that turns what is stored into what is wanted.

Knows nothing of what it compares. Lists are values: where they differ, the wanted one goes whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merge_patch(seen: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """The patch that makes `wanted` of `seen`, with a null for each key that goes; None when they are equal.

    Both are JSON objects. A null in `wanted` is allowed inside lists only: a merge patch cannot ask for one.
    """
    patch: dict[str, Any] = {key: None for key in seen if key not in wanted}
    for key, value in wanted.items():
        if key not in seen:
            patch[key] = value
            continue
        stored = seen[key]
        if isinstance(stored, Mapping) and isinstance(value, Mapping):
            if (within := merge_patch(stored, value)) is not None:
                patch[key] = within
        elif not _same(stored, value):
            patch[key] = value
    return patch or None


def _same(one: Any, other: Any) -> bool:
    """Equality of JSON, where true is not 1 as it is in Python."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)

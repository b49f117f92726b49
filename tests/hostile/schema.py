"""Whether a status is one that the API server takes: the CRD's structural schema, without its CEL rules.

Knows as much of OpenAPI as the schema of the status uses, and fails on a word that it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from inferencekey_operator.crd.schema import crd

STATUS: Mapping[str, Any] = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_SAYS_NOTHING = {"description", "default", "x-kubernetes-list-type"}


def objections(value: Any, schema: Mapping[str, Any] = STATUS, at: str = "status") -> Iterator[str]:
    """What the API server would say against it."""
    wanted = _TYPES[schema["type"]]
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        yield f"{at}: {value!r:.80} is no {schema['type']}"
        return
    for word, told in schema.items():
        if word not in _SAYS_NOTHING | {"type"}:
            yield from _CHECKS[word](value, told, schema, at)


def _properties(value: Any, told: Any, _: Any, at: str) -> Iterator[str]:
    for key, inner in value.items():
        if key not in told:
            yield f"{at}.{key} is no field"
        else:
            yield from objections(inner, told[key], f"{at}.{key}")


def _required(value: Any, told: Any, _: Any, at: str) -> Iterator[str]:
    yield from (f"{at}.{key} is missing" for key in told if key not in value)


def _items(value: Any, told: Any, _: Any, at: str) -> Iterator[str]:
    for number, inner in enumerate(value):
        yield from objections(inner, told, f"{at}[{number}]")


def _enum(value: Any, told: Any, _: Any, at: str) -> Iterator[str]:
    if value not in told:
        yield f"{at}: {value!r:.80} is none of {told}"


def _keys(value: Any, told: Any, _: Any, at: str) -> Iterator[str]:
    seen = [tuple(str(item.get(key)) for key in told) for item in value if isinstance(item, dict)]
    if len(set(seen)) != len(seen):
        yield f"{at} holds one of {told} twice"


def _format(value: Any, told: str, _: Any, at: str) -> Iterator[str]:
    if told == "int64" and not -(2**63) <= value < 2**63:
        yield f"{at}: {value} has more than 64 bits"
    if told == "date-time" and not _TIME.fullmatch(value):
        yield f"{at}: {value!r:.80} is no time"


_CHECKS: dict[str, Callable[[Any, Any, Any, str], Iterator[str]]] = {
    "properties": _properties,
    "required": _required,
    "items": _items,
    "enum": _enum,
    "x-kubernetes-list-map-keys": _keys,
    "format": _format,
}

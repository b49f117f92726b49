"""Reads a Workload out of the API server's JSON, and builds nothing that is not kept.

The API server stores up to 1.5 MB in an object, and half a million empty objects in a `config` take forty times their
bytes as Python's. So an object is split into its parts first, as bytes; what is larger than anybody means is left out
before it is built, and a marker says so. `managedFields` and other people's annotations are never built. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from inferencekey_operator.api.bounds import MOST_LEVELS, TOO_MUCH, beyond_reason
from inferencekey_operator.api.workload import EXCESS, GROUP

MOST_BYTES = 256 * 1024
"""Of a spec's JSON, and of a status'."""
OPEN = ("config", "executionPolicyConfig")
"""The fields of a spec that have no schema of their own, and so no bounds."""

Body = dict[str, Any]

_SPLIT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw] | None)
_BRACKET = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]')
_DEEP = 2 * MOST_LEVELS
_UNUSED = frozenset({"managedFields", "annotations", "labels", "ownerReferences"})
_OF_AN_OBJECT = frozenset({"ADDED", "MODIFIED", "DELETED"})


def read_workload(raw: bytes) -> Body:
    """The object, without what nobody uses; with `EXCESS` where its spec is beyond reason.

    Raises ValueError where it is no JSON object.
    """
    return _patiently(_workload, raw)


def read_page(raw: bytes) -> Body:
    """A page of a list of Workloads."""
    return _patiently(_page, raw)


def read_event(line: bytes) -> Body:
    """An event of a watch of Workloads; one that tells of no object as it came."""
    return _patiently(_event, line)


def trimmed(line: bytes) -> bytes:
    """A line of a watch of Workloads for a reader of its own, who builds whatever is in it."""
    try:
        return msgspec.json.encode(read_event(line))
    except ValueError:
        return line


def _patiently(read: Callable[[bytes], Body], raw: bytes) -> Body:
    """What is nested deeper than any reader goes is made shallow first: it would stop the list of all others."""
    try:
        return read(raw)
    except RecursionError:
        pass
    try:
        return read(_shallow(raw))
    except RecursionError as error:  # brackets without end, and no JSON
        raise ValueError(str(error)) from None


def _workload(raw: bytes | msgspec.Raw) -> Body:
    parts = _split(raw)
    body: Body = {"metadata": _metadata(parts.get("metadata", b"{}"))}
    if "spec" in parts:
        body["spec"], excess = _spec(parts["spec"])
        body |= {EXCESS: excess} if excess else {}
    if "status" in parts and _size(parts["status"]) <= MOST_BYTES:
        body["status"] = _decoded(parts["status"])
    return body


def _page(raw: bytes) -> Body:
    parts = _split(raw)
    page: Body = {"metadata": _decoded(parts.get("metadata", b"{}"))}
    if "items" in parts:
        page["items"] = [_workload(item) for item in _decode(_ITEMS, parts["items"]) or ()]
    return page


def _event(line: bytes) -> Body:
    parts = _split(line)
    kind = _decoded(parts.get("type", b"null"))
    if kind in _OF_AN_OBJECT and "object" in parts:
        return {"type": kind, "object": _workload(parts["object"])}
    return {key: _decoded(part) for key, part in parts.items()}


def _metadata(raw: bytes | msgspec.Raw) -> Body:
    parts = _split(raw)
    metadata = {key: _decoded(part) for key, part in parts.items() if key not in _UNUSED}
    annotations = _decoded(parts["annotations"]) if "annotations" in parts else None
    if isinstance(annotations, dict):
        metadata["annotations"] = {key: text for key, text in annotations.items() if key.startswith(f"{GROUP}/")}
    return metadata


def _spec(raw: msgspec.Raw) -> tuple[Any, str]:
    """The spec, and what is too much of it: that is left out."""
    size = _size(raw)
    if size > MOST_BYTES:
        parts = _split(raw)
        bounded = {key: _decoded(part) for key, part in parts.items() if key not in OPEN}
        return bounded, (
            f"{_largest(parts)} makes the spec {size:,} bytes long, and the operator reads at most {MOST_BYTES:,}"
        )
    spec = _decoded(raw)
    if not isinstance(spec, dict) or not beyond_reason({key: spec[key] for key in OPEN if key in spec}):
        return spec, ""
    return {key: value for key, value in spec.items() if key not in OPEN}, TOO_MUCH


def _largest(parts: Mapping[str, msgspec.Raw]) -> str:
    return max(OPEN, key=lambda key: _size(parts[key]) if key in parts else 0)


def _split(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    return _decode(_SPLIT, raw)  # type: ignore[no-any-return]


def _decode(decoder: msgspec.json.Decoder[Any], raw: bytes | msgspec.Raw) -> Any:
    try:
        return decoder.decode(raw)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None


def _decoded(raw: bytes | msgspec.Raw) -> Any:
    return json.loads(bytes(raw))


def _size(raw: msgspec.Raw) -> int:
    return memoryview(raw).nbytes


def _shallow(raw: bytes) -> bytes:
    """The same JSON with null for whatever lies deeper than anybody reads: still too deep, and so noticed."""
    kept: list[bytes] = []
    depth = done = 0
    for match in _BRACKET.finditer(raw):
        bracket = match[0][:1]
        if bracket == b'"':
            continue
        if bracket in b"[{":
            depth += 1
            if depth == _DEEP:
                kept += raw[done : match.start()], b"null"
        else:
            depth -= 1
            if depth == _DEEP - 1:
                done = match.end()
    return b"".join([*kept, raw[done:]]) if depth == 0 else raw

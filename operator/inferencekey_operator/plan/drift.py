"""What differs between a declaration and the live workload, leaf by leaf, and who moved.

Pure: values in, values out. A *leaf* is one declared value: a scalar, or an array as a whole. Objects are walked, so
that a key which the platform adds beside a declared one is no drift. Each leaf has two names: its path on the wire
(`("config", "command")`), and the path users write below `spec` (`command`).

The comparison is three-way. `lastApplied` remembers, per leaf, what was declared and what the platform answered, as
hashes. A leaf that still equals both is settled, however the platform spells it; else the side that moved names the
class. White space at the ends of strings is no move of the platform's. This module decides nothing about what to do:
`plan` does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from inferencekey_operator.api.status import AppliedField, DriftClass
from inferencekey_operator.api.workload import Workload
from inferencekey_operator.inferencekey.wire import LiveWorkload

MOST_BYTES = 5_000
RECORD_BYTES = 75
"""A status stays small: beyond so many bytes of records, one pair of hashes is remembered per top-level key."""

Path = tuple[str, ...]

_USERS_NAME: dict[Path, str] = {
    ("model_name",): "model",
    ("config", "command"): "command",
    ("config", "vllm_version"): "vllmVersion",
    ("worker_id",): "workerId",
    ("gpu_resource_id",): "gpuResourceId",
    ("execution_policy",): "executionPolicy",
    ("execution_policy_config",): "executionPolicyConfig",
}

COMPARED = (
    "name",
    "backend",
    "model_name",
    "description",
    "config",
    "worker_id",
    "gpu_resource_id",
    "execution_policy",
    "execution_policy_config",
)
"""The wire fields that can drift, in the order in which the platform's SDK looks at them."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One declared value beside the live one; `live` is None where the platform has none."""

    path: Path
    declared: Any
    live: Any

    @property
    def field(self) -> str:
        """The path below `spec`, as users write it: `model`, `executionPolicyConfig.max_workers`."""
        return users_name(self.path)

    @property
    def equal(self) -> bool:
        """Whether both sides are the same JSON value, integers and equal floats alike."""
        if isinstance(self.declared, str):
            return bool(self.declared == self.live)
        return canonical(self.declared) == canonical(self.live)


@dataclass(frozen=True, slots=True)
class FieldDiff:
    """A leaf that differs, and who moved: `SpecChange`, `OutOfBand` or `Both`."""

    leaf: Leaf
    moved: DriftClass


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome of `compare`: what differs, and what is now known to be settled.

    `settled` holds a record for every leaf that agrees (or that the platform is known to spell its own way) and the
    former record of every leaf that differs, ready to be stored. `restated` names those of which only now became known
    that the platform spells them in its own way.
    """

    differences: tuple[FieldDiff, ...]
    settled: tuple[AppliedField, ...]
    restated: tuple[str, ...] = ()

    @property
    def drift_class(self) -> DriftClass | None:
        """One class for all differences together; None where there are none."""
        moved = {difference.moved for difference in self.differences}
        if not moved:
            return None
        return moved.pop() if len(moved) == 1 else DriftClass.BOTH


def declared_document(workload: Workload) -> dict[str, Any]:
    """What is declared, in the platform's spelling, with `command` and `vllmVersion` laid over `config`.

    `name` and `slug` are always there. `task_type` is there only where it is declared.
    """
    spec = workload.spec
    config = dict(spec.config or {})
    if spec.command is not None:
        config["command"] = spec.command
    if spec.vllm_version is not None:
        config["vllm_version"] = spec.vllm_version
    document = {
        "name": workload.effective_name,
        "slug": workload.effective_slug,
        "task_type": spec.task_type,
        "backend": spec.backend,
        "model_name": spec.model,
        "description": spec.description,
        "config": config or None,
        "worker_id": spec.worker_id,
        "gpu_resource_id": spec.gpu_resource_id,
        "execution_policy": spec.execution_policy,
        "execution_policy_config": spec.execution_policy_config,
    }
    return {key: value for key, value in document.items() if value is not None}


def leaves(declared: Mapping[str, Any], live: LiveWorkload) -> tuple[Leaf, ...]:
    """Every declared leaf that can drift, beside its live value, in the SDK's order of fields."""
    found: list[Leaf] = []
    for field in COMPARED:
        if field in declared:
            found.extend(_walk((field,), declared[field], getattr(live, field)))
    return tuple(found)


def compare(
    declared: Mapping[str, Any], live: LiveWorkload, applied: tuple[AppliedField, ...], *, untouched: bool = False
) -> Comparison:
    """Three-way comparison of `declared` and `live` with the hashes of what was last applied.

    `untouched` says that nobody changed the live workload since our last write: what moved, the platform restated.
    """
    known = {record.field: record for record in applied}
    differences: list[FieldDiff] = []
    settled: list[AppliedField] = []
    restated: list[str] = []
    found = leaves(declared, live)
    for unit in _units(found):
        record = known.get(unit.field)
        moved = _who_moved(unit, record)
        if moved is None:
            settled.append(record if record is not None and not unit.equal else _record(unit))
            continue
        if moved is DriftClass.OUT_OF_BAND and untouched:
            settled.append(_record(unit))
            restated.append(unit.field)
            continue
        if record is not None:
            settled.append(record)
        differences.extend(FieldDiff(leaf, moved) for leaf in _within(unit, found) if not leaf.equal)
    return Comparison(tuple(differences), tuple(settled), tuple(restated))


def applied_records(
    declared: Mapping[str, Any], answer: LiveWorkload, sent: Collection[str] = COMPARED
) -> tuple[AppliedField, ...]:
    """What to remember after a write of these wire fields: each declared leaf beside what the platform made of it.

    Of a field that was not sent the answer proves nothing: somebody else may have moved it in the meantime.
    """
    return tuple(_record(unit) for unit in _units(leaves(declared, answer)) if unit.path[0] in sent)


def kept_by_platform(declared: Mapping[str, Any], answer: LiveWorkload, sent: Collection[str]) -> tuple[str, ...]:
    """The fields that were sent and of which the answer has a value of its own: normalised, or clamped."""
    return tuple(leaf.field for leaf in leaves(declared, answer) if leaf.path[0] in sent and not leaf.equal)


def declared_leaves(declared: Mapping[str, Any]) -> tuple[Leaf, ...]:
    """What is remembered of a declaration, without a look at the platform; `live` is None."""
    return _units(tuple(leaf for field in COMPARED for leaf in _walk((field,), declared.get(field), None)))


def canonical(value: Any) -> str:
    """Canonical JSON of `value`: sorted keys, no white space, integral floats as integers, null keys left out."""
    return json.dumps(_normal(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=True)


def fingerprint(value: Any, digits: int = 16) -> str:
    """The first hex digits of the SHA-256 of the canonical JSON of `value`."""
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()[:digits]


def users_name(path: Path) -> str:
    """The wire path in the words of the resource."""
    for length in (2, 1):
        head = _USERS_NAME.get(path[:length])
        if head is not None:
            return "".join((head, *map(_step, path[length:])))
    return "".join((path[0], *map(_step, path[1:])))


def _step(key: str) -> str:
    """`.key`, or `["a.b"]` where a dot of the key's own would make two paths read the same."""
    return f"[{json.dumps(key)}]" if "." in key or "[" in key else f".{key}"


def _walk(path: Path, declared: Any, live: Any) -> Iterator[Leaf]:
    if declared is None:
        return
    if not isinstance(declared, Mapping):
        yield Leaf(path, declared, live)
        return
    beside = live if isinstance(live, Mapping) else {}
    for key in sorted(declared):
        yield from _walk((*path, key), declared[key], beside.get(key))


def _who_moved(leaf: Leaf, record: AppliedField | None) -> DriftClass | None:
    if leaf.equal:
        return None
    if record is None:
        return DriftClass.SPEC_CHANGE
    declared_moved = fingerprint(leaf.declared) != record.declared
    live_moved = fingerprint(leaf.live) != record.answered
    if declared_moved and live_moved:
        return DriftClass.BOTH
    if declared_moved:
        return DriftClass.SPEC_CHANGE
    return DriftClass.OUT_OF_BAND if live_moved and not _trimmed_alike(leaf) else None


def _trimmed_alike(leaf: Leaf) -> bool:
    """Whether only white space at the ends of strings differs: many platforms drop it, and some in lists alone."""
    return canonical(_trimmed(leaf.declared)) == canonical(_trimmed(leaf.live))


def _trimmed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _trimmed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_trimmed(item) for item in value]
    return value.strip() if isinstance(value, str) else value


def _record(leaf: Leaf) -> AppliedField:
    return AppliedField(field=leaf.field, declared=fingerprint(leaf.declared), answered=fingerprint(leaf.live))


def _units(found: tuple[Leaf, ...]) -> tuple[Leaf, ...]:
    """What is remembered: the leaves themselves or, where they are too many, one bundle per top-level key."""
    size = sum(RECORD_BYTES + len(leaf.field.encode()) for leaf in found)
    if size <= MOST_BYTES:
        return found
    bundles: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for leaf in found:
        if len(leaf.path) > 1:
            declared, live = bundles.setdefault(leaf.path[0], ({}, {}))
            declared[json.dumps(leaf.path)] = leaf.declared
            live[json.dumps(leaf.path)] = leaf.live
    scalars = tuple(leaf for leaf in found if len(leaf.path) == 1)
    return scalars + tuple(Leaf((key,), *sides) for key, sides in bundles.items())


def _within(unit: Leaf, found: tuple[Leaf, ...]) -> Iterator[Leaf]:
    """The leaves that `unit` stands for: itself, or what its bundle holds."""
    return (leaf for leaf in found if leaf.path[: len(unit.path)] == unit.path)


def _normal(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _normal(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_normal(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value

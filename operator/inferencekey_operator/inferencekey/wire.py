"""The platform's JSON and paths: what its workloads look like on the wire, read without trust.

Decides what a workload needs to count (an id and a slug) and what is made of everything else: optional fields
may be missing, null or of another type, and fields that nobody knows yet are ignored. A configuration that is deep
or large beyond reason, or holds a number that JSON has not, is not read at all, so that whatever walks one may go as
deep as it is. What an error answer means is decided in `answers`; `failure` is offered here too. Pure: must not know
httpx, Kubernetes, or what a difference means.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeAlias
from urllib.parse import quote

from inferencekey_operator.errors import PlatformFailure, Reason
from inferencekey_operator.inferencekey.echoes import Echoes

Json: TypeAlias = Any
"""What `json` returns: nothing is known of it before it was looked at."""
LONGEST_ID = 256
"""Characters: an id stands in a status, in Events and in a path."""
LONGEST_TIME = 64
MOST_LEVELS = 100
"""How deep a configuration may be nested."""
MOST_VALUES = 20_000
"""How many values a configuration may hold, over all levels: what is declared may hold a tenth of that."""
MOST_PIECES = 1_000_000
"""Commas and brackets in an answer, of ten thousand workloads with a hundred each: a value takes a hundred times the
memory of its letters, and all together seconds, in which nobody else is looked at."""
_EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
"""No workload is older than the platform: an earlier time is a default that nobody set."""
_UNBOUNDED = frozenset((float("inf"), float("-inf")))
"""What `1e999` is read as, and what no JSON can say again."""


@dataclass(frozen=True, slots=True)
class LiveWorkload:
    """A workload as it stands on the platform.

    Ten thousand of these are held at once, so what is not used is not kept. Optional fields are None, and
    configurations empty, where the platform says nothing.
    """

    id: str
    slug: str
    name: str = ""
    backend: str = ""
    model_name: str = ""
    description: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    worker_id: str | None = None
    gpu_resource_id: str | None = None
    task_type: str | None = None
    execution_policy: str | None = None
    execution_policy_config: dict[str, Any] = field(default_factory=dict)
    project_slug: str | None = None
    created_at: datetime | None = None
    """By the platform's clock; None where it has no time zone, or cannot be right."""
    updated_at: str | None = field(default=None, compare=False)
    """When it was last changed, as the platform writes it: a mark of one state, and no part of it."""
    deleted: bool = False
    """Whether the platform lists it as deleted (`deleted_at`)."""
    unread: bool = False
    """Whether one of the configurations is empty here because it is beyond reason."""


def parse_workload(body: bytes, echoes: Echoes | None = None) -> LiveWorkload:
    """Read the answer to a create or an update; one whose id or slug is one of the `echoes` counts as none.

    Raises:
        PlatformFailure: `PlatformError`, uncertain, when it is no workload: the write was accepted though.
    """
    try:
        refuse_the_endless(body)
        workload = workload_of(decoded(body))
        if workload is not None and echoes is not None and echoes.within(names_of(workload)):
            workload = None
    except PlatformFailure as error:
        raise PlatformFailure(error.reason, error.message, uncertain=True) from None
    if workload is None or workload.unread:
        lacks = "without the workload's id and slug" if workload is None else "with a configuration beyond reason"
        raise PlatformFailure(
            Reason.PLATFORM_ERROR,
            f"The platform accepted the request but answered {lacks}. "
            "The operator reads the list of workloads again before it sends anything else.",
            uncertain=True,
        )
    return workload


def workloads_path(project: str) -> str:
    """Return the path that lists (GET) and creates (POST) workloads of a project."""
    return f"/api/projects/{_segment(project)}/workloads"


def workload_path(workload_id: str) -> str:
    """Return the path that updates (PATCH) and deletes (DELETE) a workload."""
    return f"/api/workloads/{_segment(workload_id)}"


def readiness_path(project: str, slug: str) -> str:
    """Return the path of a workload's readiness stream."""
    return f"{workloads_path(project)}/{_segment(slug)}/readiness-events"


def _segment(text: str) -> str:
    """Percent-encode one segment; dots too where they would climb to another path."""
    return quote(text, safe="") if text.strip(".") else text.replace(".", "%2E")


def refuse_the_endless(body: bytes) -> None:
    """Raise PlatformFailure where a body has more values than are read."""
    if sum(map(body.count, (b",", b"[", b"{"))) > MOST_PIECES:
        raise PlatformFailure(
            Reason.PLATFORM_ERROR,
            f"The platform's answer has more than {MOST_PIECES} values and was not read. The operator "
            "retries automatically.",
        )


def decoded(body: bytes) -> Json:
    """Read JSON as the standard has it; a body too deep for the reader is as bad as a truncated one."""
    try:
        return json.loads(body, parse_constant=_not_json)
    except (ValueError, RecursionError):
        raise PlatformFailure(
            Reason.PLATFORM_ERROR,
            "The platform's answer is not valid JSON: it is truncated, or comes from something in between. "
            "The operator retries automatically.",
        ) from None


def _not_json(word: str) -> NoReturn:
    raise ValueError(word)


def workload_of(row: Json) -> LiveWorkload | None:
    """The workload that a row is; None where it has no id or no slug."""
    if not isinstance(row, dict):
        return None
    workload_id, slug = _id(row), slug_of(row)
    if not workload_id or not slug:
        return None
    configurations = [row[key] for key in ("config", "execution_policy_config") if isinstance(row.get(key), dict)]
    unread = any(map(_beyond_reason, configurations))
    if unread:
        row = {**row, "config": None, "execution_policy_config": None}
    return LiveWorkload(
        id=workload_id,
        slug=slug,
        name=_text(row.get("name")) or "",
        backend=_shared(row.get("backend")) or "",
        model_name=_shared(row.get("model_name")) or "",
        description=_text(row.get("description")),
        config=_object(row.get("config")),
        worker_id=_shared(row.get("worker_id")),
        gpu_resource_id=_shared(row.get("gpu_resource_id")),
        task_type=_shared(row.get("task_type")),
        execution_policy=_shared(row.get("execution_policy")),
        execution_policy_config=_object(row.get("execution_policy_config")),
        project_slug=_shared(row.get("project_slug")),
        created_at=_time(row.get("created_at")),
        updated_at=_mark(row.get("updated_at")),
        deleted=bool(row.get("deleted_at")),
        unread=unread,
    )


def names_of(workload: LiveWorkload) -> str:
    """What is told of a workload wherever it is spoken of."""
    return f"{workload.id} {workload.slug} {workload.project_slug}"


def _beyond_reason(configuration: dict[str, Any]) -> bool:
    """Level by level, as what is too deep must not be walked in another way; in one loop, as there are thousands."""
    level: list[Json] = [configuration]
    size = 0
    for _ in range(MOST_LEVELS):
        deeper: list[Json] = []
        for inner in level:
            size += len(inner)
            for value in inner.values() if type(inner) is dict else inner:
                kind = type(value)
                if kind is dict or kind is list:
                    deeper.append(value)
                elif kind is float and value in _UNBOUNDED:
                    return True
        if not deeper or size > MOST_VALUES:
            return size > MOST_VALUES
        level = deeper
    return True


def _id(row: Json) -> str | None:
    """An id that can be written down and sent back; anything else is none."""
    text = _text(row.get("id"))
    return text if text and len(text) <= LONGEST_ID and text.isprintable() else None


def slug_of(row: Json) -> str | None:
    """The slug that a row has, whatever else it lacks."""
    if not isinstance(row, dict):
        return None
    return _text(row.get("slug")) or _text(row.get("workload_slug"))


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def _mark(value: Json) -> str | None:
    """A time as it is written, of a length that a time may have."""
    return value if isinstance(value, str) and 0 < len(value) <= LONGEST_TIME else None


def _shared(value: Json) -> str | None:
    """Keep one copy of a string that many rows have."""
    return sys.intern(value) if isinstance(value, str) else None


def _object(value: Json) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _time(value: Json) -> datetime | None:
    """Read an ISO 8601 time. One without a zone cannot be compared with another clock, so it is none."""
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo and moment >= _EARLIEST else None
    except (TypeError, ValueError, OverflowError):
        return None

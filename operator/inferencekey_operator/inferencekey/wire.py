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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, NoReturn, TypeAlias
from urllib.parse import quote

import msgspec

from inferencekey_operator.errors import PlatformFailure, Reason
from inferencekey_operator.inferencekey.answers import failure
from inferencekey_operator.inferencekey.echoes import Echoes
from inferencekey_operator.inferencekey.pieces import elements, members, texts

__all__ = [
    "Listing",
    "LiveWorkload",
    "Reader",
    "failure",
    "one_page_of_several",
    "parse_list",
    "parse_workload",
    "read_list",
    "readiness_path",
    "workload_path",
    "workloads_path",
]

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

_SPLIT = msgspec.json.Decoder(list[msgspec.Raw] | dict[str, msgspec.Raw] | None)
_SPLIT_AGAIN = msgspec.json.Decoder(list[msgspec.Raw] | None)
_EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
"""No workload is older than the platform: an earlier time is a default that nobody set."""
_MORE_PAGES = ("next_cursor", "next_page", "next_page_token", "next", "has_more", "has_next")
_TOTALS = ("total", "total_count")
_ENVELOPES = ("pagination", "page_info", "meta", "links")
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


@dataclass(frozen=True, slots=True)
class Listing:
    """The workloads of a project, and what of the list could not be read."""

    workloads: tuple[LiveWorkload, ...]
    """Rows that have an id and a slug, in the platform's order."""
    skipped: int = 0
    """How many rows have not."""
    slugs_without_id: frozenset[str] = frozenset()
    """Slugs of skipped rows: they are taken on the platform, so a create would make a duplicate."""


def parse_list(body: bytes) -> tuple[LiveWorkload, ...]:
    """Return the workloads of a list answer; `read_list` also says what was skipped.

    Raises:
        PlatformFailure: `PlatformError` when `body` is no list of workloads.
    """
    return read_list(body).workloads


def read_list(body: bytes) -> Listing:
    """Read a list answer: a bare array, `{"workloads": […]}`, or `null` for none.

    Raises:
        PlatformFailure: `PlatformError` when `body` is no JSON (truncated, say), another document, or only one page.
    """
    return Reader().read(body)


class Reader:
    """Reads the lists of one project, one after the other.

    A row whose bytes are those of a row of the list before is that row, the same object: of ten thousand, few change
    from one list to the next, and reading all of them would keep everybody waiting for a third of a second.

    `echoes` makes what tells whether a row's id, slug or project shows the secret of the token that it was asked with:
    such a row counts as one that cannot be read.
    """

    def __init__(self, echoes: Callable[[], Echoes] = lambda: Echoes("")) -> None:
        self._known: dict[bytes, LiveWorkload] = {}
        self._echoes = echoes

    def read(self, body: bytes) -> Listing:
        """As `read_list`, which it raises the same errors as."""
        _refuse_the_endless(body)
        pieces: Sequence[msgspec.Raw | bytes] | None = _split(body)
        if pieces is None:  # beyond the fast reader: the patient one reads it, or tells what is wrong
            pieces = _cut(body)
        before, self._known = self._known, {}
        return _listing(self._without_echoes([self._read(piece, before) for piece in pieces], before))

    def _without_echoes(self, read: list[_Read], before: Mapping[bytes, LiveWorkload]) -> list[_Read]:
        """All new rows are searched in one go, since almost never anything is found."""
        former = set(map(id, before.values()))
        new = [each for each in read if isinstance(each, LiveWorkload) and id(each) not in former]
        if not new or not (echoes := self._echoes()).within("\n".join(map(_names, new))):
            return read
        echoed = {id(workload) for workload in new if echoes.within(_names(workload))}
        self._known = {digest: row for digest, row in self._known.items() if id(row) not in echoed}
        return [_Taken(each.slug) if id(each) in echoed else each for each in read]

    def _read(self, piece: msgspec.Raw | bytes, before: Mapping[bytes, LiveWorkload]) -> _Read:
        digest = blake2b(piece, digest_size=16).digest()
        found = before.get(digest) or _row(bytes(piece))
        if isinstance(found, LiveWorkload):
            self._known[digest] = found
        return found


def parse_workload(body: bytes, echoes: Echoes | None = None) -> LiveWorkload:
    """Read the answer to a create or an update; one whose id or slug is one of the `echoes` counts as none.

    Raises:
        PlatformFailure: `PlatformError`, uncertain, when it is no workload: the write was accepted though.
    """
    try:
        _refuse_the_endless(body)
        workload = _workload(_decode(body))
        if workload is not None and echoes is not None and echoes.within(_names(workload)):
            workload = None
    except PlatformFailure as error:
        raise PlatformFailure(error.reason, error.message, uncertain=True) from None
    if workload is None or workload.unread:
        lacks = "without the workload's id and slug" if workload is None else "with a configuration beyond reason"
        raise PlatformFailure(
            Reason.PLATFORM_ERROR,
            f"The platform accepted the request but answered {lacks}. "
            "The list of workloads is read again before anything else is sent.",
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


def _refuse_the_endless(body: bytes) -> None:
    if sum(map(body.count, (b",", b"[", b"{"))) > MOST_PIECES:
        raise PlatformFailure(
            Reason.PLATFORM_ERROR,
            f"The platform's answer has more than {MOST_PIECES} values and was not read. Retried by itself.",
        )


def _split(body: bytes) -> list[msgspec.Raw] | None:
    """The rows of a list, each as its bytes; None where only `_decode` can tell what the body is."""
    try:
        document = _SPLIT.decode(body)
        if isinstance(document, dict):
            around = {key: json.loads(bytes(raw)) for key, raw in document.items() if key != "workloads"}
            document = _SPLIT_AGAIN.decode(document["workloads"]) or []
            _refuse_a_page(around, len(document))
    except (msgspec.DecodeError, KeyError, ValueError, RecursionError):
        return None
    return document or []


def _refuse_a_page(around: Mapping[str, Json], rows: int) -> None:
    """Raise where what stands beside the rows of a list says that there are more of them on another page."""
    beside = [around, *(around[key] for key in _ENVELOPES if isinstance(around.get(key), dict))]
    if any(each.get(key) for each in beside for key in _MORE_PAGES) or any(
        type(total := each.get(key)) is int and total > rows for each in beside for key in _TOTALS
    ):
        raise one_page_of_several()


def one_page_of_several() -> PlatformFailure:
    """Return the error that a list stands for which is only one page: what it lacks is not absent."""
    return PlatformFailure(
        Reason.PLATFORM_ERROR,
        "The platform answered with one page of several. Its contract defines a list as whole, and nothing is created "
        "from a part of one. Update the operator, or ask the platform's support. The operator retries automatically.",
    )


@dataclass(frozen=True, slots=True)
class _Taken:
    """A row that is no workload: its slug is taken, if it has one."""

    slug: str | None


_Read: TypeAlias = LiveWorkload | _Taken


def _row(piece: bytes) -> _Read:
    """One row out of its bytes; of one that no reader takes, what its strings say of whose it is.

    Where they say nothing, it may be any workload, so that a list with it lacks nothing for sure.
    """
    try:
        row = _decode(piece)
    except PlatformFailure:
        found = texts(piece)
        if _slug(found) is None:
            raise
        row = {key: found.get(key) for key in ("id", "slug", "workload_slug", "project_slug", "deleted_at")}
        workload = _workload(row)
        return replace(workload, unread=True) if workload is not None else _Taken(_slug(row))
    return _workload(row) or _Taken(_slug(row))


def _listing(read: Sequence[_Read]) -> Listing:
    kept = tuple(each for each in read if isinstance(each, LiveWorkload))
    lost = [each.slug for each in read if isinstance(each, _Taken)]
    return Listing(kept, len(lost), frozenset(slug for slug in lost if slug))


def _decode(body: bytes) -> Json:
    """Read JSON as the standard has it; a body too deep for the reader is as bad as a truncated one."""
    try:
        return json.loads(body, parse_constant=_not_json)
    except (ValueError, RecursionError):
        raise PlatformFailure(
            Reason.PLATFORM_ERROR,
            "The platform's answer is not the JSON it should be: truncated, or from something in between. "
            "It is asked again by itself.",
        ) from None


def _not_json(word: str) -> NoReturn:
    raise ValueError(word)


def _cut(body: bytes) -> list[bytes]:
    """The rows of a list that the fast reader does not take, each as its bytes."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    around = dict(members(body) or ())
    rows = around.pop("workloads", body)
    pieces = [] if rows.strip() == b"null" else elements(rows)
    if pieces is None:
        _decode(body)  # raises where it is no JSON
        raise PlatformFailure(
            Reason.PLATFORM_ERROR,
            "The platform's answer is no list of workloads. Check that the base URL is the platform's; "
            "it is asked again by itself.",
        )
    _refuse_a_page({name: _decode(value) for name, value in around.items()}, len(pieces))
    return pieces


def _workload(row: Json) -> LiveWorkload | None:
    if not isinstance(row, dict):
        return None
    workload_id, slug = _id(row), _slug(row)
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


def _names(workload: LiveWorkload) -> str:
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


def _slug(row: Json) -> str | None:
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

"""A list of workloads, read row by row: what no reader takes counts as one unreadable row, and spoils no other. Pure.

Decides which rows have to be read again. Must not know where a list came from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TypeAlias

import msgspec

from inferencekey_operator.errors import PlatformFailure, Reason
from inferencekey_operator.inferencekey.echoes import Echoes
from inferencekey_operator.inferencekey.pieces import elements, members, texts
from inferencekey_operator.inferencekey.wire import (
    Json,
    LiveWorkload,
    decoded,
    names_of,
    refuse_the_endless,
    slug_of,
    workload_of,
)

_SPLIT = msgspec.json.Decoder(list[msgspec.Raw] | dict[str, msgspec.Raw] | None)
_SPLIT_AGAIN = msgspec.json.Decoder(list[msgspec.Raw] | None)
_MORE_PAGES = ("next_cursor", "next_page", "next_page_token", "next", "has_more", "has_next")
_TOTALS = ("total", "total_count")
_ENVELOPES = ("pagination", "page_info", "meta", "links")


@dataclass(frozen=True, slots=True)
class Listing:
    """The workloads of a project, and what of the list could not be read."""

    workloads: tuple[LiveWorkload, ...]
    """Rows that have an id and a slug, in the platform's order."""
    skipped: int = 0
    """How many rows have not."""
    slugs_without_id: frozenset[str] = frozenset()
    """Slugs of skipped rows: they are taken on the platform, so a create would make a duplicate."""


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
        """Read a list answer: a bare array, `{"workloads": […]}`, or `null` for none.

        Raises:
            PlatformFailure: `PlatformError` where `body` is no JSON (truncated, say), no list, or one page of several.
        """
        refuse_the_endless(body)
        pieces: Sequence[msgspec.Raw | bytes] | None = _split(body)
        if pieces is None:  # beyond the fast reader: the patient one reads it, or tells what is wrong
            pieces = _cut(body)
        before, self._known = self._known, {}
        return _listing(self._without_echoes([self._read(piece, before) for piece in pieces], before))

    def _without_echoes(self, read: list[_Read], before: Mapping[bytes, LiveWorkload]) -> list[_Read]:
        """All new rows are searched in one go, since almost never anything is found."""
        former = set(map(id, before.values()))
        new = [each for each in read if isinstance(each, LiveWorkload) and id(each) not in former]
        if not new or not (echoes := self._echoes()).within("\n".join(map(names_of, new))):
            return read
        echoed = {id(workload) for workload in new if echoes.within(names_of(workload))}
        self._known = {digest: row for digest, row in self._known.items() if id(row) not in echoed}
        return [_Taken(each.slug) if id(each) in echoed else each for each in read]

    def _read(self, piece: msgspec.Raw | bytes, before: Mapping[bytes, LiveWorkload]) -> _Read:
        digest = blake2b(piece, digest_size=16).digest()
        found = before.get(digest) or _row(bytes(piece))
        if isinstance(found, LiveWorkload):
            self._known[digest] = found
        return found


def _split(body: bytes) -> list[msgspec.Raw] | None:
    """The rows of a list, each as its bytes; None where only `decoded` can tell what the body is."""
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
        row = decoded(piece)
    except PlatformFailure:
        found = texts(piece)
        if slug_of(found) is None:
            raise
        row = {key: found.get(key) for key in ("id", "slug", "workload_slug", "project_slug", "deleted_at")}
        workload = workload_of(row)
        return replace(workload, unread=True) if workload is not None else _Taken(slug_of(row))
    return workload_of(row) or _Taken(slug_of(row))


def _listing(read: Sequence[_Read]) -> Listing:
    kept = tuple(each for each in read if isinstance(each, LiveWorkload))
    lost = [each.slug for each in read if isinstance(each, _Taken)]
    return Listing(kept, len(lost), frozenset(slug for slug in lost if slug))


def _cut(body: bytes) -> list[bytes]:
    """The rows of a list that the fast reader does not take, each as its bytes."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    around = dict(members(body) or ())
    rows = around.pop("workloads", body)
    pieces = [] if rows.strip() == b"null" else elements(rows)
    if pieces is None:
        decoded(body)  # raises where it is no JSON
        raise PlatformFailure(
            Reason.PLATFORM_ERROR,
            "The platform's answer is no list of workloads. Check that the base URL is the platform's; "
            "the operator retries automatically.",
        )
    _refuse_a_page({name: decoded(value) for name, value in around.items()}, len(pieces))
    return pieces

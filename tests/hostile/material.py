"""What hostile input is made of: texts, JSON that no writer of JSON would write, and mutations of valid documents.

A mutated document is mostly valid, so that it gets past the first check and into the code behind it. Knows nothing of
who reads it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from hypothesis import strategies as st

from unit.builders import TOKEN

Document = Any
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Raw:
    """JSON, or what is none, as it is to be written."""

    text: str

    def __repr__(self) -> str:
        return f"Raw({self.text[:40]!r}…, {len(self.text)})" if len(self.text) > 60 else f"Raw({self.text!r})"


ALIKE = str.maketrans("aeiocpxyslm-", "аеіосрхуѕlm‐")  # noqa: RUF001 - look-alikes are what it is about
"""Letters of another alphabet that look the same."""

_FRAGMENTS = (
    "",
    " ",
    "\x00",
    "\n\nERROR it is all over",
    "\r\x1b[2J\x1b[31mred",
    "\x9b1m",
    "\u202eevil\u2066",
    "\u200b\ufeff\u00ad",
    "\ufffe\U000e0001\U0010ffff",
    "ik_sdk_",
    TOKEN,
    f"ik_\u200bsdk_{TOKEN[7:]}",
    TOKEN.upper(),
    "'; $(reboot) `reboot` \"",
    "{}{0}%s%n%(message)s{token}",
    "../../../etc",
    "a" * 300,
    "\u0130\u0131\u017f\u212a",
    "e\u0301" * 50,
    "null",
    "-1",
    "True",
    "__class__",
    "9223372036854775808",
    "2026-02-30T25:61:61Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
)


def texts() -> st.SearchStrategy[str]:
    """As the API server hands them out: proper Unicode, of any kind and, seldom, of any length."""
    proper = st.characters(exclude_categories=["Cs"])
    long = st.builds(
        lambda text, times: text * times, st.sampled_from(["a", "é", "ik_", "\n", "🚀", "[", ". "]), LENGTHS
    )
    return st.sampled_from(_FRAGMENTS) | st.text(proper, max_size=12) | long


LENGTHS = st.sampled_from([254, 254, 1_025, 1_025, 5_000, 70_000])


def numbers() -> st.SearchStrategy[Any]:
    """As the API server stores them: 64 bits, or a float."""
    edges = st.sampled_from([0, -1, 2**31, 2**53, 2**63 - 1, -(2**63), 1e308, -1e308, 5e-324, -0.0, 1.0, 0.1])
    return edges | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)


def values() -> st.SearchStrategy[Document]:
    """Any JSON that the API server might hold."""
    leaves = st.none() | st.booleans() | numbers() | texts()
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts(), inner, max_size=4),
        max_leaves=6,
    ) | st.sampled_from([_deep(20), _deep(99), _deep(101), _deep(600), _wide(300), _wide(2_100), [[]] * 300])


def _deep(levels: int) -> Document:
    value: Document = 1
    for level in range(levels):
        value = {"a": value} if level % 2 else [value]
    return {"deep": value}


def _wide(keys: int) -> Document:
    return {f"key-{number}": number for number in range(keys)}


STRANGE = st.sampled_from(
    [
        Raw(text)
        for text in (
            "1e999",
            "-1e999",
            "9" * 4_000,
            "-0",
            '"\\ud800"',
            '"\\udfff\\ud800x"',
            '"\\u0000\\u001b[31m"',
            "[" * 700 + "]" * 700,
            '{"a":' * 700 + "1" + "}" * 700,
            '{"id": "wl_2", "id": "wl_1", "slug": "a", "slug": "support-bot"}',
        )
    ]
)
"""JSON that no Python value is written as."""
_BROKEN = ("NaN", "-Infinity", "9" * 5_000, '"a\nb"', '"\\x"', "[" * 2_000, "'a'", "// a", "", "1E4x")
BROKEN = st.sampled_from([Raw(text) for text in _BROKEN])
"""What is none: it spoils all that is beside it."""
RAW = STRANGE | STRANGE | STRANGE | BROKEN
"""What a server may send."""


def mutated(document: Document, *, alien: st.SearchStrategy[Any] | None = None) -> st.SearchStrategy[Document]:
    """The document with up to four of its places changed, each in one of many ways."""
    replacements = values() if alien is None else values() | alien

    @st.composite
    def draw(draw: st.DrawFn) -> Document:
        changed = copy.deepcopy(document)
        for _ in range(draw(st.integers(1, 5))):
            place = draw(st.sampled_from(list(_places(changed))))
            change = draw(st.sampled_from(_CHANGES))
            changed = _at(changed, place, partial(_applied, change, draw, replacements))
        return changed

    return draw()


def pricked(document: Document) -> st.SearchStrategy[Document]:
    """The document with some known keys, of its own or of an object in it, that have what is hardest to bear."""
    objects = [(), *((key,) for key, value in document.items() if isinstance(value, dict))]
    places = [(*place, key) for place in objects for key in (document[place[0]] if place else document)]
    pricks = st.tuples(st.sampled_from(places), STRANGE | texts())

    def prick(chosen: list[tuple[Path, Document]]) -> Document:
        changed = document
        for place, value in chosen:
            if len(place) == 1 or isinstance(changed[place[0]], dict):
                changed = _at(changed, place, lambda _, value=value: value)  # type: ignore[misc]
        return changed

    return st.lists(pricks, min_size=1, max_size=4, unique_by=lambda prick: prick[0]).map(prick)


_Change = Callable[[Document, st.DrawFn, st.SearchStrategy[Any]], Document]
_GONE = object()


def _applied(change: _Change, draw: st.DrawFn, others: st.SearchStrategy[Any], old: Document) -> Document:
    return change(old, draw, others)


def _replaced(_: Document, draw: st.DrawFn, others: st.SearchStrategy[Any]) -> Document:
    return draw(others)


def _gone(*_: Any) -> Document:
    return _GONE


def _wrapped(old: Document, draw: st.DrawFn, _: Any) -> Document:
    return draw(st.sampled_from([[old], {"value": old}, [old] * 3, None]))


def _grown(old: Document, draw: st.DrawFn, others: st.SearchStrategy[Any]) -> Document:
    if isinstance(old, dict):
        key = draw(texts() | st.sampled_from([key.translate(ALIKE) for key in old] or ["a"]))
        return {**old, key: draw(others)}
    return [*old, draw(others)] if isinstance(old, list) else f"{old}{draw(texts())}"


def _bent(old: Document, draw: st.DrawFn, _: Any) -> Document:
    if isinstance(old, str):
        return draw(
            st.sampled_from([old.upper(), old.translate(ALIKE), f"\u200b{old}", f" {old}\n", old[:1], f"{old}-1"])
        )
    return draw(st.sampled_from([not old, str(old), 0, "", [], {}]))


_CHANGES: tuple[_Change, ...] = (_replaced, _replaced, _gone, _wrapped, _grown, _grown, _bent)


def _places(document: Document, here: Path = ()) -> Iterator[Path]:
    yield here
    if len(here) > 12:
        return
    items: Sequence[tuple[str | int, Document]] = ()
    if isinstance(document, dict):
        items = list(document.items())[:40]
    elif isinstance(document, list):
        items = list(enumerate(document))[:40]
    for key, value in items:
        yield from _places(value, (*here, key))


def _at(document: Document, place: Path, change: Callable[[Document], Document]) -> Document:
    """The document with what stands at a place changed, or taken out."""
    if not place:
        new = change(document)
        return document if new is _GONE else new
    first, *rest = place
    inner = document[first]
    new = _at(inner, tuple(rest), change) if rest else change(inner)
    if isinstance(document, dict):
        return {
            key: new if key == first else value for key, value in document.items() if key != first or new is not _GONE
        }
    return [new if key == first else value for key, value in enumerate(document) if key != first or new is not _GONE]


def written(document: Document) -> bytes:
    """The document as a hostile server sends it: with what is raw in it as it is."""
    return "".join(_pieces(document)).encode("utf-8", "surrogatepass")


def _pieces(document: Document) -> Iterator[str]:
    if isinstance(document, Raw):
        yield document.text
    elif isinstance(document, dict):
        yield "{"
        for number, (key, value) in enumerate(document.items()):
            yield f"{',' if number else ''}{json.dumps(str(key), ensure_ascii=False)}:"
            yield from _pieces(value)
        yield "}"
    elif isinstance(document, list):
        yield "["
        for number, value in enumerate(document):
            yield "," if number else ""
            yield from _pieces(value)
        yield "]"
    else:
        yield json.dumps(document, ensure_ascii=False)


def spoiled(content: bytes) -> st.SearchStrategy[bytes]:
    """Bytes that were something once: cut, doubled, with bytes changed or put in, in another encoding."""
    size = len(content)
    return st.one_of(
        st.just(content),
        st.integers(0, size).map(lambda at: content[:at]),
        st.tuples(st.integers(0, size), st.binary(max_size=6)).map(
            lambda it: content[: it[0]] + it[1] + content[it[0] :]
        ),
        st.integers(0, max(size - 1, 0)).map(lambda at: content[:at] + b"\xff" + content[at + 1 :]),
        st.sampled_from([b"\xef\xbb\xbf" + content, content * 2, content.decode("utf-8", "replace").encode("utf-16")]),
        st.binary(max_size=200),
    )

"""JSON cut into the pieces of its outermost level, by its brackets and strings alone.

For what no reader takes as a whole: an array of which one element is nested too deep, or holds a number that JSON has
not. What the pieces hold is not looked at, so each has to be read, or found to be unreadable, by itself. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["{}\[\],]', re.DOTALL)
"""A whole string, or a byte that means something; a quote alone is the beginning of a string without an end."""
_MEMBER = re.compile(rb'\s*("[^"\\]*+(?:\\.[^"\\]*+)*+")\s*:\s*(.*\S)\s*\Z', re.DOTALL)
_CLOSED_BY = {ord("["): ord("]"), ord("{"): ord("}")}
_BLANK = b" \t\r\n"


def elements(array: bytes) -> list[bytes] | None:
    """The elements of an array; None where it is none, or is not whole."""
    return _pieces(array, ord("["))


def members(document: bytes) -> list[tuple[str, bytes]] | None:
    """The names and values of an object, in order; None where it is none, or is not whole."""
    pieces = _pieces(document, ord("{"))
    if pieces is None:
        return None
    found = [(_text(match[1]), match[2]) for piece in pieces if (match := _MEMBER.match(piece))]
    named = [(name, value) for name, value in found if name is not None]
    return named if len(named) == len(pieces) else None


def texts(document: bytes) -> dict[str, str]:
    """The members of an object that are strings, by name; the last one counts of several."""
    read = {name: _text(value) for name, value in members(document) or ()}
    return {name: text for name, text in read.items() if text is not None}


def _text(value: bytes) -> str | None:
    try:
        text = json.loads(value) if value.startswith(b'"') else None
    except ValueError:
        return None
    return text if isinstance(text, str) else None


def _pieces(body: bytes, opening: int) -> list[bytes] | None:
    """Between the commas of the outermost level, without the blanks around."""
    body = body.strip(_BLANK)
    if not body or body[0] != opening:
        return None
    edges = list(_edges(body))
    if not edges or edges[-1] != len(body) - 1 or body[-1] != _CLOSED_BY[opening]:  # not closed, or something follows
        return None
    pieces = [body[begin + 1 : end].strip(_BLANK) for begin, end in zip([0, *edges], edges, strict=False)]
    if pieces == [b""]:
        return []
    return pieces if all(pieces) else None


def _edges(body: bytes) -> Iterator[int]:
    """Where the commas of the outermost level are, and where it ends; fewer where the brackets do not match."""
    awaited = bytearray()
    for token in _TOKEN.finditer(body):
        byte, at = body[token.start()], token.start()
        if byte in _CLOSED_BY:
            awaited.append(_CLOSED_BY[byte])
        elif byte == ord(",") and len(awaited) == 1:
            yield at
        elif byte == ord('"') and token.end() == at + 1:
            return
        elif byte in _CLOSED_BY.values():
            if awaited.pop() != byte:
                return
            if not awaited:
                yield at
                return

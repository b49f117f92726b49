"""What may be shown of a text that people outside the operator wrote.

Tokens are `ik_sdk_<8 hex>_<64 hex>` and `ik_live_<8 hex>_<64 hex>`: the 8 hex are a public identifier, the 64
are the secret. At most the prefix and the identifier are ever shown. Pure; knows neither Kubernetes nor the
platform.
"""

from __future__ import annotations

import re
import unicodedata

_CANDIDATE = re.compile(r"(?:(?<![A-Za-z0-9])ik_|ik_(?:sdk|live)_)[\w-]*", re.IGNORECASE)
"""Whatever may be a token: known prefixes anywhere, even glued to a word; else `ik_` where a word begins."""

_TOKEN = re.compile(r"(ik_(?:sdk|live)_[0-9a-f]{8})_[0-9a-f]{64}")
_PUBLIC = re.compile(r"ik_(?:(?:sdk|live)_(?:[0-9a-f]{8})?)?")
"""What tells nothing: a prefix alone, as in "an ik_sdk_ token", or one with its public identifier."""

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_LOOKAHEAD = 16
"""How many times the limit is read: enough that removals seldom shorten what is shown, and bounded."""


def redact(text: str) -> str:
    """Return `text` with each token cut to its public form, and each token of another shape to `ik…`.

    >>> redact("sent ik_sdk_a1b2c3d4_" + 64 * "0")
    'sent ik_sdk_a1b2c3d4…'
    """
    return _CANDIDATE.sub(_shown, text)


def public_id(token: str) -> str:
    """Return the public form of one token, `ik_sdk_a1b2c3d4…`; of anything else, `ik…`."""
    match = _TOKEN.fullmatch(token)
    return f"{match[1]}…" if match else "ik…"


def excerpt(text: str, limit: int) -> str:
    """Return at most `limit` characters of `text`, on one line and redacted: fit for a status or a log.

    Control, format and surrogate characters go first, since they could hide a token; the cut comes last,
    since a token that is cut is harder to know.
    """
    beginning = text[: limit * _LOOKAHEAD]
    shown = redact(" ".join(printable(beginning).split()))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def printable(text: str) -> str:
    """Return `text` on one line, without control and format characters: fit for a terminal."""
    return text if text.isprintable() else "".join(map(_visible, text))


def within_bytes(text: str, limit: int) -> str:
    """Return `text`, or its beginning and `…` where it has more than `limit` bytes of UTF-8."""
    encoded = text.encode()
    return text if len(encoded) <= limit else encoded[: limit - 3].decode(errors="ignore") + "…"


def _shown(match: re.Match[str]) -> str:
    word = match[0]
    return word if _PUBLIC.fullmatch(word) else public_id(word)


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    if character.isspace():
        return " "
    return "" if unicodedata.category(character) in _UNSEEN else " "

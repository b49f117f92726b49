"""Blanks what a text shows of the token that was sent, however it is encoded.

A platform, or a proxy in front of it, can repeat the token in an error, a name or an event: as it is, in capitals, over
several lines, escaped for JSON, HTML or an address, or as base64. The text is read as it stands and once for each layer
of escapes, without separators. Each run that also occurs in the secret, or in its base64, is replaced by an ellipsis.
Pure; knows neither HTTP nor Kubernetes.
"""

from __future__ import annotations

import base64
import html
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from inferencekey_operator.redaction import redact

RUN = 12
"""Characters of the secret, or of its base64, that are never shown together."""
RAW_RUN = 7
"""The same for base64 of the 32 bytes that the hex digits stand for: twelve digits fill seven of its characters."""
MOST_LAYERS = 5
"""Escapes within escapes that are undone: a text with more of them is not shown at all."""

_TAG = r"<[^<>]{0,100}>"
_ESCAPE = (
    r"""%u[0-9a-f]{4} | %[0-9a-f]{2} | \\u[0-9a-f]{4} | \\u\{[0-9a-f]{1,6}\} | \\x[0-9a-f]{2} | \\[0-7]{3}
    | \\[abfnrtv"'/] | =[0-9a-f]{2} | &\#[0-9]{1,7};? | &\#x[0-9a-f]{1,6};? | &[a-z]{2,24}; | """
    + _TAG
)
_ESCAPES = [re.compile(each, re.IGNORECASE | re.VERBOSE) for each in (rf"\\\\ | {_ESCAPE}", _ESCAPE)]
"""Two backslashes are one that is escaped, or a backslash before an escape: each is a reading of its own."""
_TAGS = re.compile(_TAG)
_CODE_POINT = re.compile(r"(?:%u?|\\u\{?|\\x|=)([0-9a-f]+)\}?", re.IGNORECASE)
_SEPARATOR = " "
_ALPHANUMERIC = re.compile(r"[0-9A-Za-z]+")
_OF_BASE64 = re.compile(r"[0-9A-Za-z+/_-]+")


@dataclass(frozen=True, slots=True)
class _Layer:
    """A text after some of its escapes were undone; each character with where it began and ended at first."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Pattern:
    """What to look for in one reading of a text: `run` characters that also stand in one of the needles.

    A text that has them has a shorter piece of a needle at one of its places that are `stride` apart: mostly, those few
    are all that is looked at.
    """

    grams: frozenset[str]
    pieces: frozenset[str]
    run: int
    stride: int
    letters: re.Pattern[str]
    """Runs of what this reading takes in; the rest separates."""
    read: Callable[[str], str]

    def hits(self, letters: str) -> list[int]:
        """Where such a run begins."""
        size = self.run - self.stride + 1
        if not any(letters[at : at + size] in self.pieces for at in range(0, len(letters), self.stride)):
            return []
        return [at for at in range(len(letters) - self.run + 1) if letters[at : at + self.run] in self.grams]


class Echoes:
    """What a token may come back as. Holds pieces of it: shows none in a repr, and is not to be kept beyond it."""

    def __init__(self, token: str) -> None:
        secret = token.rpartition("_")[2].lower()
        self._patterns = _patterns(secret) if len(secret) >= RUN else ()

    def __repr__(self) -> str:
        return "<Echoes>"

    def blank(self, text: str) -> str:
        """`text` with its tokens in their public form, and with an ellipsis for whatever else shows their secret."""
        text = redact(text)
        if len(text) < RAW_RUN or not self._patterns:
            return text
        spans: list[tuple[int, int]] = []
        for layer in _layers(text):
            if layer is None:
                return "…"
            spans += self._spans(layer)
        return _without(text, spans)

    def within(self, text: str) -> bool:
        """Whether `text` shows anything of the token beyond its public form."""
        return self.blank(text) != text

    def _spans(self, layer: _Layer) -> Iterator[tuple[int, int]]:
        for pattern in self._patterns:
            runs = pattern.letters.findall(layer.text)
            if hits := pattern.hits(pattern.read("".join(runs))):
                spans = (match.span() for match in pattern.letters.finditer(layer.text))
                places = [at for begin, end in spans for at in range(begin, end)]
                for hit in hits:
                    yield layer.starts[places[hit]], layer.ends[places[hit + pattern.run - 1]]


def _patterns(secret: str) -> tuple[_Pattern, ...]:
    texts = [secret.encode(), secret.upper().encode()]
    raw = bytes.fromhex(secret) if re.fullmatch(r"([0-9a-f]{2})+", secret) else b""
    digits = [secret, secret.encode().hex(), secret.upper().encode().hex()]
    encoded = [each for text in texts for each in _base64(text)]
    return (
        _pattern(digits, RUN, 7, _ALPHANUMERIC, str.lower),
        _pattern(encoded, RUN, 7, _ALPHANUMERIC, str),
        _pattern(_base64(raw), RAW_RUN, 3, _OF_BASE64, lambda text: text.replace("-", "+").replace("_", "/")),
    )


def _pattern(
    needles: list[str], run: int, stride: int, letters: re.Pattern[str], read: Callable[[str], str]
) -> _Pattern:
    return _Pattern(_grams(run, needles), _grams(run - stride + 1, needles), run, stride, letters, read)


def _grams(run: int, texts: list[str]) -> frozenset[str]:
    return frozenset(text[at : at + run] for text in texts for at in range(len(text) - run + 1))


def _base64(content: bytes) -> list[str]:
    """Wherever among other bytes it stands: the letters that it alone decides, for each of the three alignments."""
    aligned = []
    for before in range(3):
        whole = base64.b64encode(bytes(before) + content).decode().rstrip("=")
        bits = 8 * (before + len(content))
        aligned.append(whole[-(-8 * before // 6) : bits // 6])
    return aligned


def _narrow(text: str) -> str:
    """Letters and digits in one form, however wide they are drawn; as many characters as before."""
    if text.isascii():
        return text
    return "".join(form if len(form := unicodedata.normalize("NFKC", each)) == 1 else each for each in text)


def _layers(text: str) -> Iterator[_Layer | None]:
    """The text as it stands, and after each layer of escapes; None where there are too many.

    Tags can stand between escapes, where they separate, and within one, where they are read as nothing.
    """
    first = _visible(text)
    yield first
    readings = [first]
    if "<" in first.text:
        readings.append(_undone(first, _TAGS, lambda tag: ""))
    for reading, escape in product(readings, _ESCAPES):
        layer = reading
        for _ in range(MOST_LAYERS):
            below = _undone(layer, escape, _meant)
            if below.text == layer.text:
                break
            layer = below
            yield layer
        else:
            yield None


def _visible(text: str) -> _Layer:
    """What is left once it is shown on one line: what is removed then must not hide an escape before."""
    if text.isprintable():
        return _Layer(_narrow(text), range(len(text)), range(1, len(text) + 1))
    places = [at for at, letter in enumerate(text) if letter.isprintable() or letter.isspace()]
    return _Layer(_narrow("".join(text[at] for at in places)), places, [at + 1 for at in places])


def _undone(layer: _Layer, escape: re.Pattern[str], meant: Callable[[str], str]) -> _Layer:
    text: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    done = 0
    for match in escape.finditer(layer.text):
        begin, end = match.span()
        letters = meant(match[0])
        text += layer.text[done:begin], letters
        starts += *layer.starts[done:begin], *([layer.starts[begin]] * len(letters))
        ends += *layer.ends[done:begin], *([layer.ends[end - 1]] * len(letters))
        done = end
    if not done:
        return layer
    text.append(layer.text[done:])
    return _Layer(_narrow("".join(text)), [*starts, *layer.starts[done:]], [*ends, *layer.ends[done:]])


def _meant(escape: str) -> str:
    if escape.startswith("&"):
        return html.unescape(escape if escape.endswith(";") else f"{escape};")
    if found := _CODE_POINT.fullmatch(escape):
        code = int(found[1], 16)
        return chr(code) if code < 0x110000 else _SEPARATOR
    if re.fullmatch(r"\\[0-7]{3}", escape):
        return chr(int(escape[1:], 8))
    return "\\" if escape == "\\\\" else _SEPARATOR


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    shown, done = [], 0
    for begin, end in sorted(spans):
        if begin > done or not done:
            shown += [text[done:begin], "…"]
        done = max(done, end)
    return "".join([*shown, text[done:]])

"""What a token may come back as, and a judge that reads all of it: decoders only, none of the operator's code."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote

from hypothesis import strategies as st

from unit.builders import SECRET_HALF
from unit.raw_server import response

Encoding = Callable[[str], str]


def _each(form: str) -> Encoding:
    return lambda text: "".join(form.format(ord(each)) for each in text)


def _split(separator: str, every: int = 8) -> Encoding:
    return lambda text: separator.join(text[at : at + every] for at in range(0, len(text), every))


def _some(form: str) -> Encoding:
    """Every third character alone."""
    return lambda text: "".join(form.format(ord(each)) if at % 3 == 1 else each for at, each in enumerate(text))


def _hex_half(text: str) -> str:
    return text.rpartition("_")[2].lower()


ENCODINGS: dict[str, Encoding] = {
    "bare": _hex_half,
    "upper case": str.upper,
    "two lines": _split("\n", 40),
    "lines": _split("\r\n"),
    "spaces": _split(" "),
    "single digits": _split(" ", 1),
    "dashes": _split("-", 4),
    "invisible": _split("\u200b", 3),
    "tags": _split("<wbr>", 6),
    "wide": lambda text: "".join(chr(ord(each) + 0xFEE0) if each.isalnum() else each for each in text),
    "percent": _each("%{:02X}"),
    "percent here and there": _some("%{:02x}"),
    "percent twice": _each("%25{:02x}"),
    "percent u": _each("%u{:04x}"),
    "json": _each("\\u{:04x}"),
    "json here and there": _some("\\u{:04X}"),
    "octal": _each("\\{:03o}"),
    "backslash x": _each("\\x{:02x}"),
    "decimal entities": _each("&#{};"),
    "hex entities": _each("&#x{:x};"),
    "entities here and there": _some("&#{:04d};"),
    "quoted printable": _each("={:02X}"),
    "dump": lambda text: text.encode().hex(" "),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64, one byte on": lambda text: base64.b64encode(b"x" + text.encode()).decode(),
    "base64, two bytes on": lambda text: base64.b64encode(b"xy" + text.encode()).decode(),
    "base64 of basic": lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    "base64 in lines": lambda text: base64.encodebytes(text.encode() * 2).decode(),
    "base64, url-safe": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "base64 of capitals": lambda text: base64.b64encode(text.upper().encode()).decode(),
    "base64 of bytes": lambda text: base64.b64encode(_bytes(text)).decode(),
    "base64 of bytes, one on": lambda text: base64.urlsafe_b64encode(b"\xff" + _bytes(text)).decode(),
    "base64 of bytes, two on": lambda text: base64.urlsafe_b64encode(b"\xff\xfe" + _bytes(text)).decode(),
}


def _bytes(text: str) -> bytes:
    digits = "".join(re.findall("[0-9a-f]", _hex_half(text)))
    return bytes.fromhex(digits[: len(digits) // 2 * 2])


def found(text: str) -> bool:
    """Whether twelve digits of the builders' secret, one after the other, can be read out of a text."""
    return reads(text, SECRET_HALF)


def reads(text: str, secret: str) -> bool:
    """Whether twelve digits of a secret can be read out of a text."""
    pieces = [secret[at : at + 12] for at in range(53)]
    return any(_shows(reading, pieces) for reading in _readings(text))


def _shows(text: str, pieces: list[str]) -> bool:
    plain = re.sub("[^0-9a-z]", "", text.lower())
    return any(piece in plain for piece in pieces)


def _readings(text: str) -> Iterator[str]:
    """The text, and what becomes of it when it is decoded in up to three ways, one after the other."""
    seen, frontier = {text}, {text}
    for _ in range(3):
        yield from frontier
        frontier = {new for old in frontier for new in _decoded(old)} - seen
        seen |= frontier
    yield from frontier


def _decoded(text: str) -> Iterator[str]:
    yield unquote(text)
    yield html.unescape(text)
    yield re.sub("<[^<>]*>", "", text)
    yield re.sub(
        r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})|%u([0-9a-fA-F]{4})|=([0-9A-F]{2})",
        lambda match: chr(int(next(filter(None, match.groups())), 16)),
        text,
    )
    yield re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
    yield "".join(chr(ord(each) - 0xFEE0) if 0xFF01 <= ord(each) <= 0xFF5E else each for each in text)
    for run in re.findall(r"[0-9A-Za-z+/_-]{8,}", re.sub(r"\s", "", text)):
        for cut in range(4):
            packed = run[cut:].replace("-", "+").replace("_", "/")
            packed = packed[: len(packed) // 4 * 4]
            content = base64.b64decode(packed)
            yield content.decode("latin-1")
            yield content.hex()
    dumped = re.sub(r"\s", "", text)
    for run in re.findall("[0-9a-f]{24,}", dumped):
        for cut in (0, 1):
            yield bytes.fromhex(run[cut : cut + (len(run) - cut) // 2 * 2]).decode("latin-1")


def placed() -> st.SearchStrategy[Callable[[str], tuple[bytes, ...]]]:
    """Where in an answer an echo may stand: gives the answer's bytes."""
    codes = st.sampled_from(["400 Bad", "401 No", "403 No", "404 No", "409 No", "422 No", "429 No", "500 No", "503 No"])
    return st.builds(lambda form, code: lambda echo: form(echo, code), st.sampled_from(_FORMS), codes)


def _json(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


def _in_message(echo: str, code: str) -> tuple[bytes, ...]:
    return (response(_json({"error": {"code": "bad", "message": f"Token {echo} is unknown"}}), status=code),)


def _as_code(echo: str, code: str) -> tuple[bytes, ...]:
    return (response(_json({"error": echo[:60]}), status=code),)


def _as_text(echo: str, code: str) -> tuple[bytes, ...]:
    return (response(f"unknown: {echo}".encode(), status=code, kind="text/plain"),)


def _packed(echo: str, code: str) -> tuple[bytes, ...]:
    body = gzip.compress(_json({"message": echo}))
    return (response(body, "Content-Encoding: gzip", status=code),)


def _as_key(echo: str, code: str) -> tuple[bytes, ...]:
    return (response(_json({echo: [echo], "detail": {"seen": echo}}), status=code),)


def _in_utf_16(echo: str, code: str) -> tuple[bytes, ...]:
    return (response(f"unknown: {echo}".encode("utf-16"), status=code, kind="text/plain"),)


def _as_location(echo: str, _: str) -> tuple[bytes, ...]:
    host = "".join(re.findall("[0-9A-Za-z]", echo))[:60]
    return (response(b"", f"Location: https://{host}.example.com/", status="302 Found"),)


def _as_type(echo: str, _: str) -> tuple[bytes, ...]:
    word = "".join(re.findall("[0-9A-Za-z%]", echo))[:60]
    return (response(b"{}", kind=f"text/{word}"),)


def _as_event(echo: str, _: str) -> tuple[bytes, ...]:
    event = _json({"phase": "error", "step": echo, "message": f"no {echo}"})
    return (response(b"data: " + event + b"\n\n", kind="text/event-stream"),)


_FORMS = (_in_message, _as_code, _as_text, _packed, _as_key, _in_utf_16, _as_location, _as_type, _as_event)

"""Who wrote an answer that is no success, and what it says: the platform itself, or something in front of it.

The platform refuses with a JSON object whose `error` is a code or a sentence, or an object with `code` or `message`; or
in plain text that begins with a code or the name of a field, as in `not_found: there is no such workload`. Whatever has
another form, such as a web page, an empty body or a bare "Forbidden", was written by a load balancer, a proxy or a
firewall, and says nothing of the token, the project or the declaration. Pure; must not know what a code means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
"""A word that is the same in each answer, and so may stand in the message of a failure that is retried."""
_WORD = r"[a-z][a-z0-9]{0,63}(?:_[a-z0-9]{1,63}){%s,7}"
_CODE_FIRST = re.compile(rf"({_WORD % 0}): *\S|({_WORD % 1})\Z")
_PLATFORMS_TEXT = re.compile(rf"{_CODE_FIRST.pattern}|{_WORD % 1}\b")
"""A code, or the name of a field, in front. One word without a colon is what many proxies say: `forbidden`."""
_CUT = re.compile(r'\{\s*"error"\s*:\s*(?:"|\{\s*"(?:code"\s*:\s*"([A-Za-z0-9_.-]*)")?)')
"""The beginning of a document that is not whole: it was cut on its way, or is longer than anybody reads."""


@dataclass(frozen=True, slots=True)
class Said:
    """The platform's own words: a code, a text, or both. Of an answer that is not the platform's, nothing counts."""

    code: str = ""
    text: str = ""
    by_platform: bool = True


FOREIGN = Said(by_platform=False)


def said(headers: Mapping[str, str], body: bytes) -> Said:
    """Read the body of a refusal; `headers` are case-insensitive, or have lower-case keys."""
    text = body.decode("utf-8", "replace").strip()
    if "html" in headers.get("content-type", "").lower() or text.startswith("<"):
        return FOREIGN
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = text
    if isinstance(document, dict):
        return _of_document(document)
    return _of_text(document) if isinstance(document, str) else FOREIGN


def _of_document(document: Mapping[str, Any]) -> Said:
    error = document.get("error")
    inner = error if isinstance(error, dict) else document
    code, message = (
        next((value for key in keys if isinstance(value := inner.get(key), str) and value.strip()), "")
        for keys in (("code", "error"), ("message", "detail"))
    )
    if not (isinstance(error, dict) and (code or message)) and not (isinstance(error, str) and error.strip()):
        return FOREIGN
    if message:
        return Said(code, message)
    return Said(code=code) if CODE.fullmatch(code) else Said(_first_code(code), code)


def _of_text(text: str) -> Said:
    if cut := _CUT.match(text):
        return Said(cut[1] or "", text)
    if not _PLATFORMS_TEXT.match(text):
        return FOREIGN
    code = _first_code(text)
    return Said(code, "" if text == code else text)


def _first_code(text: str) -> str:
    """The code that stands alone, or that a sentence begins with; empty without one."""
    match = _CODE_FIRST.match(text)
    return match[1] or match[2] if match else ""

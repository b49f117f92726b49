"""What an answer that is no success means: from status and body to a reason and a message.

Decides who must act and what a person is told. An answer that is not the platform's own (`said`) is trouble on the way.
The message of what heals by itself never quotes the platform, which may put a request number into each answer: a status
must not change while nothing happens. Pure, but for the clock where a Retry-After names a date and the answer has none;
must not know httpx or Kubernetes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from inferencekey_operator.errors import Actor, PlatformFailure, Reason
from inferencekey_operator.inferencekey.said import CODE, Said, said
from inferencekey_operator.redaction import excerpt, redact

Operation: TypeAlias = Literal["list", "create", "update", "delete", "readiness"]

WRITES: frozenset[Operation] = frozenset({"create", "update", "delete"})
QUOTE_LIMIT = 256
"""Characters of the platform's own words that a message quotes."""
_MOST_SEARCHED = 4 * QUOTE_LIMIT
"""Characters of them that are searched for a word that says how long a refusal lasts."""
LONGEST_WAIT = 3600.0
"""Seconds. A Retry-After beyond it is cut: one answer must not silence the operator for a day."""

_CODES = {
    "wrong_credential_type": Reason.WRONG_CREDENTIAL_TYPE,
    "project_scope_mismatch": Reason.PROJECT_MISMATCH,
    "scope_insufficient": Reason.SCOPE_INSUFFICIENT,
}
_UNREACHABLE = frozenset({408, 502, 503, 504, *range(520, 528), 530})
"""Said by something in front of the platform that did not reach it; from 520 on they are one proxy's own."""
_TOO_EARLY = frozenset({423, 425})
"""Locked, too early: another operation is in progress."""
_LASTING = frozenset({401, 403, 404})
_YET = re.compile(
    r"in[ _-]progress|try[ _-]again|retry[ _-]later|temporar|too[ _-]early"
    r"|(?:is|are|resource|workload)[ _](?:locked|busy)|\A(?:locked|busy|pending)\Z",
    re.IGNORECASE,
)
"""What a refusal says that is over soon, whatever its status."""
_QUOTED = frozenset({Reason.PLATFORM_REFUSED, Reason.TOKEN_REJECTED})
_ABOUT_THE_SPEC = frozenset({400, 409, 413, 422})

_NEW_TOKEN = "in the InferenceKey dashboard and put it into the Secret's key."  # noqa: S105 - words, no token
_MESSAGES = {
    Reason.TOKEN_REJECTED: (
        "The platform does not accept the token {token} for {place} ({what}): it is unknown, or was revoked. "
        f"Mint a new ik_sdk_ token for {{place}} {_NEW_TOKEN}"
    ),
    Reason.WRONG_CREDENTIAL_TYPE: (
        "The credential {token} is not a control token ({what}): an ik_live_ key is for inference requests only. "
        f"Mint an ik_sdk_ token for {{place}} {_NEW_TOKEN}"
    ),
    Reason.PROJECT_MISMATCH: (
        "The project does not match: the token {token} does not belong to {place} ({what}). Correct the project "
        "(spec.project, or INFERENCEKEY_PROJECT in the Secret), or put a token that was minted for {place} "
        "into the Secret's key."
    ),
    Reason.SCOPE_INSUFFICIENT: (
        "The token {token} lacks a scope that is needed to {act} ({what}). Mint an ik_sdk_ token for {place} "
        f"with the scopes workload:write and assignment:write {_NEW_TOKEN}"
    ),
    Reason.RATE_LIMITED: (
        "The platform limits the calls of the token {token} ({what}). The operator retries automatically."
    ),
    Reason.PLATFORM_UNREACHABLE: (
        "The platform could not be reached to {act} ({what}). The operator retries automatically."
    ),
    Reason.PLATFORM_ERROR: "The platform failed to {act} ({what}). The operator retries automatically.",
    Reason.PLATFORM_REFUSED: "The platform refused to {act} ({what}).",
}
_NOT_YET = (
    "The platform cannot {act} yet ({what}): another operation stands in the way. The operator retries automatically."
)
_NOT_THE_PLATFORMS = (
    "Something in front of the platform answered when it was asked to {act} ({what}). The operator retries "
    "automatically. If this lasts, check the base URL, and the proxies and load balancers on the way."
)
_REDIRECTED = (
    "The base URL redirects to {target} ({what}), and a redirect is never followed: a token must not travel "
    "to another place. The operator retries automatically. If this lasts, set the base URL to where the platform "
    "answers."
)
_NO_PROJECT = (
    "The platform does not know {place} ({what}). Correct the project (spec.project, or INFERENCEKEY_PROJECT in "
    "the Secret), or the base URL."
)
_NO_WORKLOAD = "The workload is not on the platform ({what}): it was deleted there, or never existed."
_ACTS: dict[Operation, str] = {
    "list": "list the workloads of {place}",
    "create": "create the workload in {place}",
    "update": "update the workload",
    "delete": "delete the workload",
    "readiness": "report the workload's readiness",
}


def failure(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    operation: Operation,
    project: str = "",
    token: str = "ik…",  # noqa: S107 - the public form
) -> PlatformFailure:
    """Return the error that an answer which is no success stands for.

    Args:
        status: the HTTP status, 300 or more.
        headers: case-insensitive, or with lower-case keys.
        body: the answer's body; it may be cut short.
        operation: what was asked for.
        project: the project's slug, where the route names one.
        token: the public form of the token.
    """
    words = said(headers, body)
    reason = _reason(status, words, operation)
    place = f'project "{excerpt(project, 128)}"' if project else "its project"
    message = _template(status, reason, operation).format(
        token=token,
        place=place,
        act=_ACTS[operation].format(place=place),
        what=f"{status} {redact(words.code)}" if CODE.fullmatch(words.code) else str(status),
        target=_target(headers),
    )
    return PlatformFailure(
        reason,
        message + (_quotation(status, words) if reason in _QUOTED else ""),
        status=status,
        uncertain=_uncertain(status, words, operation),
        retry_after=retry_after(headers) if reason.actor is Actor.PLATFORM else None,
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a Retry-After asks for, from 0 to `LONGEST_WAIT`; None without a readable one.

    A date is measured from the answer's own Date where it has one, so that our clock does not matter.
    """
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value) if value[:1].isdecimal() else _until(value, headers.get("date", ""))
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), LONGEST_WAIT)


def _until(value: str, date: str) -> float:
    then = parsedate_to_datetime(value)
    now = parsedate_to_datetime(date) if date else datetime.now(UTC)
    return (then - now).total_seconds()


def _reason(status: int, words: Said, operation: Operation) -> Reason:
    if status == 429:
        return Reason.RATE_LIMITED
    if status in _UNREACHABLE or not words.by_platform or status < 400:
        return Reason.PLATFORM_UNREACHABLE
    if status in (401, 403) and words.code in _CODES:
        return _CODES[words.code]
    if status == 401 or (status == 403 and operation not in WRITES):
        return Reason.TOKEN_REJECTED
    if _passes(status, words) or (status == 409 and operation not in WRITES):
        return Reason.PLATFORM_ERROR
    # A 403 of another kind to a write is about this write (a quota, say): the list proved the token.
    return Reason.PLATFORM_REFUSED if status < 500 else Reason.PLATFORM_ERROR


def _passes(status: int, words: Said) -> bool:
    """Whether a refusal says itself that it is over soon."""
    said_so = _YET.search(words.code) or _YET.search(words.text[:_MOST_SEARCHED])
    return status in _TOO_EARLY or (status < 500 and status not in _LASTING and said_so is not None)


def _uncertain(status: int, words: Said, operation: Operation) -> bool:
    """A refusal was not carried out. What failed, or was given up waiting for, may have been; and what something in
    between answered, as nobody knows whether it had asked the platform before.
    """
    refused = status == 429 or (words.by_platform and 400 <= status < 500 and status != 408)
    return operation in WRITES and not refused


def _template(status: int, reason: Reason, operation: Operation) -> str:
    if 300 <= status < 400:
        return _REDIRECTED
    if reason is Reason.PLATFORM_UNREACHABLE and status not in _UNREACHABLE:
        return _NOT_THE_PLATFORMS
    if reason is Reason.PLATFORM_ERROR and status < 500:
        return _NOT_YET
    if status == 404:
        return _NO_PROJECT if operation in ("list", "create") else _NO_WORKLOAD
    return _MESSAGES[reason]


def _quotation(status: int, words: Said) -> str:
    quoted = excerpt(words.text, QUOTE_LIMIT)
    remedy = " Correct the spec. The operator sends it again when it changes." if status in _ABOUT_THE_SPEC else ""
    return (f' It said: "{quoted}".' if quoted else "") + remedy


def _target(headers: Mapping[str, str]) -> str:
    """Name the place a redirect points to, without what its path or query may carry."""
    try:
        parts = urlsplit(headers.get("location", ""))
        return excerpt(f"{parts.scheme}://{parts.hostname}", 128) if parts.hostname else "another path"
    except ValueError:
        return "another place"

"""What may be shown to people: it has a bound, is on one line, and holds no secret."""

from __future__ import annotations

from hostile.valid import METADATA, SPEC
from inferencekey_operator.api.workload import Workload
from inferencekey_operator.errors import OperatorError
from inferencekey_operator.plan import conditions
from unit.builders import (
    NOW,
    SECRET_HALF,
    TOKEN,
)


def fit(text: str, most: int = 1_024, source: bytes = b"") -> None:
    """One line, printable, with a bound, and without a secret that came as a token."""
    assert len(text) <= most, f"{len(text)} characters"
    assert text.isprintable(), ascii(text)[:300]
    if not loose(source):
        hidden(text)


def loose(source: bytes) -> bool:
    """Whether it holds the secret half alone, or of a token with a letter knocked out: nobody can know that for one."""
    whole = source.replace("\u200b".encode(), b"").replace(TOKEN.encode(), b"")
    return SECRET_HALF[:12].encode() in whole


def hidden(text: str) -> None:
    """No piece of the secret half of a token is in it."""
    assert SECRET_HALF[:12] not in text, "a secret is shown"


def sent(error: OperatorError, workload: Workload | None = None) -> None:
    """An error as a status would show it."""
    shown = conditions._stamp(workload or parsed(), NOW, ("Ready", "False", error.reason, error.message))
    fit(shown.message)
    assert shown.message


def parsed() -> Workload:
    """The valid one."""
    body = {"spec": SPEC, "status": None, "metadata": METADATA}
    return Workload.parse(body)

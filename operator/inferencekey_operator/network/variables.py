"""Environment variables that other programs share, such as `HTTPS_PROXY`: how they are read, and how one is quoted.

A variable that cannot be used ends the start with a message that quotes it. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from inferencekey_operator.redaction import excerpt

LONGEST_QUOTED = 128
"""Characters of a value that a message quotes."""


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class VariableError(ValueError):
    """A variable cannot be used: the message names it, quotes its value without credentials, and says what to do."""

    def __init__(self, name: str, value: str, problem: str) -> None:
        super().__init__(f'{name}: "{without_credentials(value)}" {problem}')


def first_set(environ: Mapping[str, str], *names: str) -> tuple[str, str]:
    """The name and value of the first of these variables that is not blank; without one, the first name and ""."""
    found = ((name, value) for name in names if (value := environ.get(name, "").strip()))
    return next(found, (names[0], ""))


def without_credentials(value: str) -> str:
    """A value as a message may quote it: without a user, a password and a query, however it is spelled."""
    scheme = _SCHEME.match(value)
    _, at, host = value[scheme.end() if scheme else 0 :].rpartition("@")
    host = re.sub(r"[?#].*", "?…", host, flags=re.DOTALL)
    return excerpt(f"{scheme[0] if scheme else ''}{'…@' if at else ''}{host}", LONGEST_QUOTED)

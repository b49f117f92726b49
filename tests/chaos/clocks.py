"""Every clock that the operator reads, set to the loop's.

The operator asks asyncio's loop for durations, and the machine for the time of day, the boot clock of its Lease and,
in the HTTP pool, the age of idle connections. On a loop whose time jumps these must jump along.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

START = datetime(2026, 3, 2, 8, 0, 0, tzinfo=UTC)

_TELL_THE_TIME = (
    "inferencekey_operator.reconcile.report",
    "inferencekey_operator.election.leader",
    "inferencekey_operator.kube.recorder",
    "inferencekey_operator.reconcile.status_writer",
    "inferencekey_operator.inferencekey.answers",
)
_TRUST = ("httpx.create_ssl_context", "ssl.create_default_context")
"""Reading the certificates that nobody needs here would take most of a short run's time."""


def now() -> float:
    """Seconds since the run began."""
    return asyncio.get_running_loop().time()


def time_of_day() -> datetime:
    """The time of day, as everybody in the run has it."""
    return START + timedelta(seconds=now())


class _Datetime(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> _Datetime:
        moment = time_of_day().astimezone(tz)
        return cls.fromisoformat(moment.isoformat())


@contextmanager
def virtual_clocks() -> Iterator[None]:
    """While it lasts, nothing of the operator reads another clock than the running loop's."""
    trust = ssl.create_default_context()
    boot = SimpleNamespace(clock_gettime=lambda _: now(), CLOCK_MONOTONIC=1)
    pool = SimpleNamespace(monotonic=now)
    patches: list[Any] = [patch(f"{module}.datetime", _Datetime) for module in _TELL_THE_TIME]
    patches += [patch("inferencekey_operator.election.leader.time", boot), patch("httpcore._async.http11.time", pool)]
    patches += [patch(f"{maker}", lambda *_, **__: trust) for maker in _TRUST]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()

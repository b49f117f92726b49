"""A call to the platform is counted once, by its route, its status and what came of it."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

import pytest
from prometheus_client import REGISTRY

from inferencekey_operator.errors import PlatformFailure, Reason
from inferencekey_operator.inferencekey.measured import measured


def counted(code: str, result: str) -> float:
    """How many updates ended so."""
    labels = {"route": "update", "code": code, "result": result}
    return REGISTRY.get_sample_value("inferencekey_platform_calls_total", labels) or 0.0


def seconds() -> float:
    """How long all updates took."""
    return REGISTRY.get_sample_value("inferencekey_platform_call_seconds_sum", {"route": "update"}) or 0.0


@pytest.mark.parametrize(
    ("status", "error", "code", "result"),
    [
        (200, None, "200", "ok"),
        (404, PlatformFailure(Reason.PLATFORM_REFUSED, "gone", status=404), "404", "PlatformRefused"),
        (None, PlatformFailure(Reason.PLATFORM_UNREACHABLE, "lost"), "none", "PlatformUnreachable"),
        (200, PlatformFailure(Reason.PLATFORM_UNREACHABLE, "cut"), "200", "PlatformUnreachable"),
        (None, asyncio.CancelledError(), "none", "cancelled"),
        (200, GeneratorExit(), "200", "ok"),
    ],
)
def test_it_counts_how_a_call_ended(status: int | None, error: BaseException | None, code: str, result: str) -> None:
    """Once, and the error goes on; a stream that we leave was answered."""
    before = counted(code, result)
    with pytest.raises(type(error)) if error else nullcontext(), measured("update") as call:
        if status is not None:
            call.answered(status, whole=False)
        if error is not None:
            raise error
    assert counted(code, result) == before + 1


def test_a_stream_is_measured_until_it_opens() -> None:
    """Not for as long as it is followed; anything else until its answer is whole."""
    now = [100.0]
    for whole, expected in ((True, 2.0), (False, 62.0)):
        before = seconds()
        with measured("update", lambda: now[0]) as call:
            now[0] += 2.0
            call.answered(200, whole=whole)
            now[0] += 60.0
        assert seconds() - before == pytest.approx(expected)

"""promtool: what Prometheus itself says of metrics, rules and expressions."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import pytest

from controlplane import tools


@cache
def promtool() -> Path:
    """The executable; skips where it is not to be had."""
    try:
        return tools.find("promtool")
    except tools.NoToolError as missing:
        pytest.skip(str(missing))


def says(*arguments: str, stdin: str | None = None) -> tuple[int, str]:
    """Exit code and words of one call."""
    done = subprocess.run(
        [str(promtool()), *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, (done.stdout + done.stderr).strip()

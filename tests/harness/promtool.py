"""promtool, where this machine has it: what Prometheus itself says of metrics, rules and expressions."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path
from shutil import which

import pytest

WHERE = "promtool: Debian's package prometheus has it, or PROMTOOL=/path/to/promtool"


@cache
def promtool() -> Path:
    """The executable; skips where there is none."""
    found = os.environ.get("PROMTOOL") or which("promtool")
    if not found:
        pytest.skip(f"there is no {WHERE}")
    return Path(found)


def says(*arguments: str, stdin: str | None = None) -> tuple[int, str]:
    """Exit code and words of one call."""
    done = subprocess.run(
        [str(promtool()), *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, (done.stdout + done.stderr).strip()

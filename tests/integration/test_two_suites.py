"""Two runs of these tests on one machine do not meet: ports, files, clusters and processes are each one's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from controlplane import lookup

ROOT = Path(__file__).parents[2]
SUITE = "tests/integration/test_lifecycle.py"
TESTS = "applied_is_on_the_platform or written_at_a_restart or deleted_is_gone_from"
BOUND = 240.0

pytestmark = pytest.mark.tools


def test_side_by_side(tmp_path: Path) -> None:
    """Started at the same moment, both pass: each with its control plane, its platform and its operator."""
    if not isinstance(lookup.find(), lookup.Binaries):
        pytest.skip("there is only one cluster, and it is not our own")
    runs = [_start(tmp_path / name) for name in ("one", "other")]
    said = [run.communicate(timeout=BOUND)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], "\n".join(said)
    assert all("3 passed" in text for text in said), said


def _start(folder: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    pytest_options = ["-q", "-p", "no:cacheprovider", f"--basetemp={folder}", "-k", TESTS]
    command = [sys.executable, "-m", "pytest", *pytest_options, SUITE]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )

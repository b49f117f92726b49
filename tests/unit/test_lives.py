"""What is forked for a test ends with whoever began it, also where that was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from controlplane.waiting import runs, wait_until

TESTS = Path(__file__).parents[1]
_BEGINS_ONE = """
import sys, time
from pathlib import Path
from harness.lives import forked
life = forked(["serve", "--port=0"], {}, Path(sys.argv[1]), module="inferencekey_simulator.__main__")
print(life.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.tools
def test_nothing_that_was_forked_outlives_a_killed_parent(tmp_path: Path) -> None:
    """Its children would keep the server of forks, and that them."""
    log = tmp_path / "log"
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-c", _BEGINS_ONE, str(log)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        wait_until(lambda: log.exists() and "simulator at" in log.read_text())
        assert runs(child)
        parent.kill()
    wait_until(lambda: not runs(child), seconds=10)

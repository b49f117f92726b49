"""Seeded runs of the operator among faults, crashes and edits of both sides; each that once broke has a name.

The runs are in processes of their own, for Python must order its sets alike where a seed is to repeat a run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.machine import run
from chaos.mutations import FOUND_BY, every_policy_repairs
from chaos.shrink import shrunk

TESTS = Path(__file__).parent.parent


def chaos(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m chaos`, as `make chaos` runs it."""
    return _python("-m", "chaos", *arguments)


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "PYTHONHASHSEED": "0"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("first", [1_000, 2_000], ids=["one half", "the other half"])
def test_a_thousand_faults_break_nothing(first: int) -> None:
    """Five hundred in each half, with crashes; every run ends converged and idle."""
    done = chaos(f"--seed={first}", "--runs=11")

    assert done.returncode == 0, done.stdout + done.stderr
    told = re.search(r"nothing broke: 11 runs, \d+ steps, (\d+) faults, (\d+) crashes", done.stdout)
    assert told is not None, done.stdout
    assert int(told[1]) >= 500
    assert int(told[2]) >= 50


def test_two_replicas_break_nothing_either() -> None:
    """They share two shards, and declare one project's slugs in both."""
    done = chaos("--seed=3000", "--runs=3", "--shards=2")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing broke: 3 runs" in done.stdout


@pytest.fixture(scope="module")
def judged() -> dict[str, str]:
    """What the judge says of each mutation of the operator."""
    lines = _python("-m", "chaos.judged").stdout.splitlines()
    return dict(line.split(": ") for line in lines)


@pytest.mark.tools
@pytest.mark.parametrize("mutation", [mutation.__name__ for mutation in FOUND_BY])
def test_a_fault_of_the_operator_is_found(judged: dict[str, str], mutation: str) -> None:
    """The judge can fail."""
    assert re.fullmatch(r"found by seed \d+", judged[mutation])


@pytest.mark.tools
def test_what_failed_is_made_smaller() -> None:
    """Fewer steps, the same invariant, the same seed."""
    with every_policy_repairs():
        failed = run(0)
        small = shrunk(failed, 8.0)

    assert small.kinds & failed.kinds
    assert small.seed == 0
    assert len(small.steps) < len(failed.steps) // 2


@pytest.mark.tools
def test_a_seed_repeats_its_run() -> None:
    """The same seed, in two processes: everything is counted alike."""
    once, again = (chaos("--seed=7").stdout.splitlines()[-1].rpartition(" in ")[0] for _ in range(2))

    assert once.startswith("nothing broke: 1 runs, 120 steps, ")
    assert once == again

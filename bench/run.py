"""A run from end to end: the rounds in order, the file after each, and nothing left behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench import results
from bench.numbers import Result, Round
from bench.options import Options
from bench.rounds import Contest
from bench.stage import Stage, stage
from controlplane import lookup
from controlplane.lookup import Binaries, NoControlPlaneError
from controlplane.progress import Progress


def run(options: Options, path: Path, progress: Progress) -> Result:
    """Every round has a control plane and a platform of its own. Raises NoControlPlaneError."""
    found = lookup.find(progress=progress)
    if not isinstance(found, Binaries):
        raise NoControlPlaneError(
            "The bench measures the API server's processes, so it starts them itself: unset DEMO_KUBECONFIG, and set "
            "KUBEBUILDER_ASSETS or install Go."
        )
    result = Result(results.conditions(options))
    for size in options.sizes:
        for number in range(1, options.rounds + 1):
            progress.say(f"N = {size}, round {number} of {options.rounds}")
            with stage(found, progress) as on:
                result = go_through(on, options, result, path, size=size, number=number)
    progress.finish()
    return result


def go_through(on: Stage, options: Options, result: Result, path: Path, *, size: int, number: int) -> Result:
    """One round; what it found is added to the result, and written, as it comes."""
    contest = Contest(on, options, size, number)
    for each in contest.rounds():
        result = replace(result, rounds=[*result.rounds, each])
        results.write(result, path)
        on.progress.say(f"  {_brief(each)}")
    for world in contest.teams():
        result = replace(result, teams=[*result.teams, world])
        results.write(result, path)
    return result


def _brief(each: Round) -> str:
    made = each.creation
    if made is None:
        return f"{each.contestant}: created nothing to the end"
    return (
        f"{each.contestant}: {each.size / made.seconds:.0f} Workloads/s, "
        f"{1000 * made.span.cpu / each.size:.1f} ms CPU and {made.span.total_writes / each.size:.1f} writes each"
    )

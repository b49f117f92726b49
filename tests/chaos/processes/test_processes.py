"""Faults of whole processes: a few of a fixed seed break nothing, and the judge would notice if they did.

One stage for all that is tried with so many shards, as it takes some seconds to start.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from chaos.processes.people import People
from chaos.processes.plan import Plan, planned
from chaos.processes.rounds import Rounds
from chaos.processes.stage import Stage, a_stage
from harness.api import WORKLOADS, Api
from integration.manifests import manifest

SEED = 19
SPAN = 4.0
TEAM = "team-a"
BEFORE = f"{WORKLOADS}/namespaces/{TEAM}/workloads"


@pytest.mark.tools
@pytest.mark.parametrize("shards", [1, 2])
async def test_some_faults_break_nothing_and_what_is_broken_is_noticed(shards: int, tmp_path: Path) -> None:
    """Some tens of faults end converged and idle; then three things go wrong that no operator can mend."""
    async with a_stage(tmp_path, shards=shards) as (stage, api):
        people = People(api, stage.admin)
        await asyncio.to_thread(people.settle)
        outcome = await Rounds(stage, people).play(planned(SEED, 0, SPAN))
        assert outcome.wrong == [], "\n".join(outcome.history)
        assert outcome.faults.total() >= 20
        assert outcome.acts >= 10

        await asyncio.to_thread(_spoil, stage, api, people)
        noticed = await Rounds(stage, people, within=2.0).play(Plan(SEED, 1, (), ()))
    words = {each.split(": ")[0].removeprefix(f"{TEAM}/") for each in noticed.wrong}
    assert words == {"leak", "twin", "stuck stuck"}


def _spoil(stage: Stage, api: Api, people: People) -> None:
    """A workload that nobody declares, a second one for its slug, and an end that never comes."""
    body = manifest("stuck")
    body["metadata"]["finalizers"] = ["example.com/for-ever"]
    api.create(BEFORE, body)
    api.delete(f"{BEFORE}/stuck")
    with httpx.Client(headers={"Authorization": f"Bearer {people.tokens[0]}"}, trust_env=False) as http:
        for _ in range(2):
            asked = {"name": "nobody", "slug": "nobody", "backend": "vllm", "model_name": "llama-3"}
            http.post(f"{stage.admin.url}/api/projects/{TEAM}/workloads", json=asked).raise_for_status()

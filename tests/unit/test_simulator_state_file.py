"""The platform kept in a file: what is kept is there again, and nothing that was answered is lost to a kill."""

from __future__ import annotations

import asyncio
from pathlib import Path

from inferencekey_simulator.platform import Platform
from inferencekey_simulator.state_file import kept_in


async def test_what_is_written_before_the_answer_survives_a_kill(tmp_path: Path) -> None:
    """With a delay of nothing, each change is in the file when the call returns: a later kill takes nothing back."""
    path = tmp_path / "state"
    async with kept_in(path, platform := Platform(), delay=0.0):
        token = platform.mint("prod")
        row = platform.create(token, "prod", {"name": "a", "slug": "a", "backend": "vllm", "model_name": "llama-3"})
        killed_here = path.read_bytes()
        platform.delete(token, row.id)
    path.write_bytes(killed_here)

    async with kept_in(path, again := Platform(), delay=0.0):
        assert [each.id for each in again.rows("prod")] == [row.id]
        assert again.list_workloads(token, "prod")


async def test_changes_are_gathered_for_a_moment(tmp_path: Path) -> None:
    """With a delay, many changes are one write, and the end is one, too."""
    path = tmp_path / "state"
    async with kept_in(path, platform := Platform(), delay=0.05):
        before = path.read_bytes()
        platform.mint("prod")
        assert path.read_bytes() == before
        await asyncio.sleep(0.2)
        assert path.read_bytes() != before

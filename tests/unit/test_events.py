"""Events as they travel: what the API server would refuse is never sent."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from inferencekey_operator.errors import Reason
from inferencekey_operator.events import Recorder
from unit.builders import a_workload
from unit.raw_cluster import answering
from unit.raw_server import response, sends

_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


async def told(note: str, name: str = "support-bot") -> dict[str, Any]:
    """The Event that becomes of a note about a Workload of this name."""
    async with answering(sends(response(b"{}"))) as (cluster, server), asyncio.timeout(20):
        recorder = Recorder(cluster)
        sending = asyncio.create_task(recorder.run())
        recorder.workload(a_workload(name=name), Reason.PLATFORM_REFUSED, note, warning=True)
        await recorder.flush()
        sending.cancel()
    event: dict[str, Any] = json.loads(server.requests[0].partition(b"\r\n\r\n")[2])
    return event


@pytest.mark.parametrize("character", ["x", "ß", "語", "🚀"])
async def test_a_note_has_room_in_bytes(character: str) -> None:
    """The API server allows 1,024 bytes, whatever alphabet the platform writes in."""
    note = (await told(character * 2_000))["note"]

    assert 1_000 < len(note.encode()) <= 1_024
    assert note.strip(character) == "…"


@pytest.mark.parametrize("name", ["support-bot", "a" * 253, "a" * 199 + "-b" * 27, "a" * 198 + ".-b", "a" * 199 + ".b"])
async def test_an_event_has_a_name_whatever_the_object_is_called(name: str) -> None:
    """What is cut may not end in a dash or a dot, or the API server refuses it."""
    named = (await told("x", name))["metadata"]["name"]

    assert _OBJECT_NAME.fullmatch(named)
    assert len(named) <= 253
    assert named.startswith(name[:190])

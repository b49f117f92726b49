"""Events as they travel: what the API server would refuse is never sent."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta
from typing import Any

import pytest

from inferencekey_operator.errors import Reason
from inferencekey_operator.kube import recorder as events
from inferencekey_operator.kube.recorder import Recorder
from unit.builders import a_workload
from unit.raw_cluster import answering
from unit.raw_server import Script, response, sends

_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


async def told(note: str, name: str = "support-bot") -> dict[str, Any]:
    """The Event that becomes of a note about a Workload of this name."""
    async with answering(sends(response(b"{}"))) as (cluster, server), asyncio.timeout(60):
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


def in_turn(*answers: bytes) -> Script:
    """A script that gives these answers, one for each request; the last one for all that follow."""
    left = list(answers)

    async def script(writer: asyncio.StreamWriter) -> None:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if answer:
            writer.write(answer)
        else:
            writer.transport.abort()

    return script


async def sent(*answers: bytes, times: int = 1) -> list[tuple[str, dict[str, Any]]]:
    """The requests for one note told so many times, where the API server answers like this: method and body."""
    async with answering(in_turn(*answers)) as (cluster, server), asyncio.timeout(60):
        recorder = Recorder(cluster)
        sending = asyncio.create_task(recorder.run())
        for _ in range(times):
            recorder.workload(a_workload(), Reason.READY, "Serving")
        await recorder.flush()
        sending.cancel()
    return [(request.split()[0].decode(), json.loads(request.partition(b"\r\n\r\n")[2])) for request in server.requests]


DONE = response(b"{}")
TAKEN = response(b'{"message": "there is one"}', status="409 Conflict")
INVALID = response(b'{"message": "no"}', status="422 Unprocessable Entity")
BUSY = response(b"{}", "Retry-After: 0", status="429 Too Many Requests")
BROKEN = response(b"{}", status="500 Internal Server Error")
CUT = b""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits are short."""
    monkeypatch.setattr(events, "WAITS", (0.01,) * 3)


@pytest.mark.parametrize("trouble", [BUSY, BROKEN, CUT, response(b"<html>")])
@pytest.mark.usefixtures("quick")
async def test_trouble_that_passes_costs_no_event(trouble: bytes) -> None:
    """It is sent again under the same name: what arrived without an answer is there already, and not told twice."""
    requests = await sent(trouble, trouble, TAKEN)
    assert len(requests) == 3
    assert len({body["metadata"]["name"] for _, body in requests}) == 1


@pytest.mark.usefixtures("quick")
async def test_trouble_that_stays_costs_an_event() -> None:
    """After as many attempts as there are waits, and one."""
    assert len(await sent(BROKEN)) == 4


@pytest.mark.usefixtures("quick")
async def test_what_is_refused_is_not_sent_again() -> None:
    """It would be refused again."""
    assert len(await sent(INVALID)) == 1


@pytest.mark.usefixtures("quick")
async def test_a_repeat_whose_answer_was_lost_counts_once() -> None:
    """The count is said, not added to."""
    created, *folds = await sent(DONE, CUT, DONE, times=2)
    assert created[0] == "POST"
    assert [(method, body["series"]["count"]) for method, body in folds] == [("PATCH", 2), ("PATCH", 2)]


async def test_what_is_too_old_to_be_folded_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is told in the life of a process, it holds the Events of some minutes; a repeat makes one young."""
    monkeypatch.setattr(events, "FOLD", timedelta(seconds=0.3))
    async with answering(sends(response(b"{}"))) as (cluster, _), asyncio.timeout(60):
        recorder = Recorder(cluster)
        sending = asyncio.create_task(recorder.run())
        for note in ("one", "two", "one"):
            recorder.workload(a_workload(), Reason.READY, note)
        await recorder.flush()
        assert [each.note for each in recorder._told] == ["two", "one"]
        await asyncio.sleep(0.4)
        recorder.workload(a_workload(), Reason.READY, "three")
        await recorder.flush()
        sending.cancel()
    assert [each.note for each in recorder._told] == ["three"]

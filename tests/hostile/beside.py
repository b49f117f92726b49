"""The whole operator with hostile Workloads in one namespace, and a good one in each of two others.

Played in the world of `chaos`: Kubernetes, network and time are in memory, and its judge looks at each write. The good
ones have a project of their own, which some hostile rows share. What is counted is bounded for a span of virtual time.
"""

from __future__ import annotations

import asyncio
import base64
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from chaos.clocks import now, virtual_clocks
from chaos.history import PROJECTS, Life
from chaos.kubernetes import WORKLOADS, Name
from chaos.network import HotLoopError, Loop
from chaos.world import SECRET, World, a_world
from hostile.material import RAW, STRANGE, Document, Raw, mutated, pricked, texts, written
from hostile.pure import Target
from hostile.schema import objections
from hostile.valid import EVENT, ROW, SPEC, STATUS, annotated, secrets
from inferencekey_operator.errors import Reason
from inferencekey_simulator.faults import Fault

EVIL, GOOD = "team-c", ("team-a", "team-b")
PROJECT = PROJECTS[EVIL]
READY_WITHIN = 20.0
"""Seconds that a good one has, which it needs alone: a list, a POST, and three seconds of readiness."""
SETTLED_AFTER = 60.0
WATCHED = 120.0
MOST = {"list": 60, "create": 16, "update": 20, "delete": 20, "readiness": 300}
"""Calls while it is watched, of all hostile ones together."""
MOST_WRITES = 120
"""Writes to Kubernetes meanwhile: three of them have a status in five seconds, and Events."""

STRANGER = {**ROW, "id": "wl_stranger", "slug": "stranger"}
NO_READER_TAKES = (Raw("NaN"), Raw("-Infinity"), Raw("9" * 5_000), Raw("[" * 20_000 + "]" * 20_000), Raw('"\x01"'))
PHASES = ("scheduling", "provisioning", "bootstrapping", "ready", "error")

_HEADERS: tuple[dict[str, str], ...] = (
    {},
    {},
    {},
    {"Location": "http://xn--a/"},
    {"Location": "mailto:x"},
    {"Content-Encoding": "gzip, gzip"},
    {"Content-Encoding": "gzip"},
    {"Content-Type": "text/html; charset=\xff"},
    {"Set-Cookie": f"a=b; expires=01 Jan {'9' * 4_900} 00:00:00 GMT"},
    {"Retry-After": "1e999"},
    {"Retry-After": "0"},
    {},
)


@dataclass(frozen=True)
class Scene:
    """What happens in one example."""

    specs: list[Document]
    annotations: dict[str, str]
    secret: dict[str, bytes] | None
    status: Document
    """What hands wrote into the status of the first; None where they did not."""
    faults: list[Fault]
    row: bytes
    """One in the list of the good ones' project."""


def _specs() -> st.SearchStrategy[Document]:
    """What the API server's schema lets in: strings have bounds and no tokens, the configurations are anybody's."""
    text = texts().filter(lambda text: text.strip() and "ik_" not in text.lower())
    return st.fixed_dictionaries(
        {"model": text.map(lambda it: it[:512]), "backend": st.just("vllm") | text.map(lambda it: it[:253])},
        optional={
            "name": text.map(lambda it: it[:253]),
            "description": text.map(lambda it: it[:4096]),
            "command": text,
            "config": mutated(SPEC["config"]).map(_object),
            "executionPolicy": st.sampled_from(["fixed", "scheduled", "autoscaling"]),
            "executionPolicyConfig": mutated(SPEC["executionPolicyConfig"]).map(_object),
            "workerId": text.map(lambda it: it[:253]),
            "adoptionPolicy": st.sampled_from(["Always", "IfIdentical", "Never"]),
        },
    ).filter(lambda spec: bool(spec["model"].strip() and spec["backend"].strip()))


def _object(document: Document) -> Document:
    return document if isinstance(document, dict) else {"value": document}


def _faults() -> st.SearchStrategy[Fault]:
    row = {**ROW, "id": "wl_evil", "slug": "evil-0", "name": "evil-0"}
    answers = {
        "list": pricked(row).map(lambda one: [one]) | mutated([row], alien=RAW),
        "create": pricked(row) | mutated(row, alien=RAW),
        "update": pricked(row) | mutated(row, alien=RAW),
        "delete": mutated({"error": "no"}, alien=RAW),
    }
    json = st.sampled_from(sorted(answers)).flatmap(
        lambda operation: st.builds(
            _fault,
            st.just(operation),
            st.sampled_from([200, 200, 200, 200, 200, 200, 201, 204, 302, 400, 401, 403, 404, 409, 429, 500, 503, 599]),
            st.sampled_from(_HEADERS),
            answers[operation].map(written),
            st.sampled_from([1, 2, None]),
        )
    )
    events = st.sampled_from(PHASES).map(lambda phase: {**EVENT, "phase": phase}) | mutated(EVENT, alien=RAW)
    return json | st.builds(stream, st.lists(events.map(written), max_size=6), st.integers(1, 60))


def _fault(operation: str, status: int, headers: dict[str, str], body: bytes, times: int | None) -> Fault:
    said = {"Content-Type": "application/json", **headers}
    text = body.decode("utf-8", "replace")
    return Fault(
        action="respond", operation=operation, project=PROJECT, status=status, headers=said, body=text, times=times
    )


def respond(operation: str, document: Document, status: int = 200) -> Fault:
    """Each call of a kind about the hostile ones' project is answered so."""
    return _fault(operation, status, {}, written(document), None)


def stream(events: list[bytes], times: int) -> Fault:
    """Each readiness stream of the hostile ones' project tells these events, so often, and ends."""
    told = "".join(f"data: {event.decode('utf-8', 'replace')}\n\n" for event in events) * times
    told, headers = told[:10_000], {"Content-Type": "text/event-stream"}
    return Fault(
        action="respond", operation="readiness", project=PROJECT, status=200, headers=headers, body=told, times=None
    )


def _beyond_readers() -> st.SearchStrategy[Document]:
    """A row that is JSON by its brackets alone, but for its identity."""
    field = st.sampled_from(sorted({*STRANGER, "cost"} - {"slug", "project_slug"}))
    return st.builds(lambda field, value: {**STRANGER, field: value}, field, st.sampled_from(NO_READER_TAKES))


SCENES = st.builds(
    Scene,
    st.lists(_specs(), min_size=1, max_size=3),
    annotated(),
    st.none() | st.none() | secrets(),
    st.none() | mutated(STATUS).filter(lambda status: not list(objections(status))),
    st.lists(_faults(), min_size=1, max_size=3) | st.lists(_faults(), max_size=1),
    (pricked(STRANGER) | mutated(STRANGER, alien=STRANGE) | _beyond_readers()).map(written),
)


def play(scene: Scene) -> None:
    """Raises AssertionError where the scene shows a fault of the operator."""
    random.seed(1)
    with virtual_clocks(), asyncio.Runner(loop_factory=lambda: Loop(random.Random(1))) as runner:
        runner.run(_play(scene))


def _excused(scene: Scene, broken: str) -> bool:
    """A status that hands wrote may be bad, and what serves is for the platform to say, also for a hostile one."""
    return "ready-too-early" in broken or ("bad-status" in broken and scene.status is not None)


async def _play(scene: Scene) -> None:
    async with a_world(random.Random(1)) as world:
        try:
            await _happen(world, scene)
        except HotLoopError as error:
            world.oracle.wrong(f"hot-loop: {error}")
        broken = [each for each in world.oracle.broken if not _excused(scene, each)]
        assert not broken, "\n".join([*world.trace[-60:], *broken])
        assert len(world.lives) == 1, "the process did not live"
        assert not world.lives[0].over, "the process ended"


async def _happen(world: World, scene: Scene) -> None:
    await asyncio.sleep(2.0)
    _share_the_list(world, scene.row)
    for fault in scene.faults:
        world.platform.faults.add(fault)
    if scene.secret is not None:
        _put(world, scene.secret)
    evil = [_declare(world, EVIL, f"evil-{number}", spec, scene.annotations) for number, spec in enumerate(scene.specs)]
    good = [_declare(world, namespace, "good", {"model": "llama-3", "backend": "vllm"}, {}) for namespace in GOOD[:1]]
    good.append(_declare(world, GOOD[1], "well", {"model": "llama-3", "backend": "vllm"}, {}))
    if scene.status is not None:
        world.patch(evil[0], {"status": _object(scene.status)}, status=True)
        world.history.lives[evil[0].uid].hands |= {"status"}
    await asyncio.sleep(READY_WITHIN)
    for life in good:
        assert _ready(life).get("status") == "True", f"{life.name} is held up: {_ready(life)}\n{_tail(world)}"
    await asyncio.sleep(SETTLED_AFTER - READY_WITHIN)
    calls, writes = world.platform.journal.last, len(world.oracle.kubernetes_writes)
    await asyncio.sleep(WATCHED)
    _count(world, calls, writes)
    for life in evil:
        _told(world, life)
    made = Counter(birth.wanted for birth in world.oracle.births.values() if birth.wanted != "stranger")
    live = Counter(row.slug for row in world.platform.live().values())
    assert all(count == 1 for count in live.values()), (live, made)


def _share_the_list(world: World, row: bytes) -> None:
    """One more row for the good ones' project."""
    listing = world.platform.list_workloads

    def with_another(token: str | None, project: str) -> bytes:
        rows = listing(token, project)
        if project == PROJECT:
            return rows
        return rows[:-1] + (b"," if len(rows) > 2 else b"") + row + b"]"

    setattr(world.platform, "list_workloads", with_another)  # noqa: B010 - of this world alone


def _put(world: World, content: dict[str, bytes]) -> None:
    """A Secret of any bytes; where it has the builders' token, the platform knows it."""
    data = {key: base64.b64encode(value).decode() for key, value in content.items()}
    world.objects.patch(Name("secrets", EVIL, SECRET), {"data": data})
    world.good_tokens.pop(EVIL, None)


def _declare(world: World, namespace: str, name: str, spec: Document, annotations: dict[str, str]) -> Life:
    body: dict[str, Any] = {"metadata": {"annotations": annotations}, "spec": spec}
    made = world.objects.create(Name(WORKLOADS, namespace, name), body)
    return world.history.lives[made["metadata"]["uid"]]


def _count(world: World, calls: int, writes: int) -> None:
    asked = Counter(entry.call.operation for entry in world.platform.journal.since(calls))
    for operation, count in asked.items():
        assert count <= MOST.get(operation, 0), f"{count} calls of {operation} in {WATCHED:.0f} s\n{_tail(world)}"
    written_since = world.oracle.kubernetes_writes[writes:]
    assert len(written_since) <= MOST_WRITES, f"{Counter(written_since).most_common(5)}\n{_tail(world)}"


def _told(world: World, life: Life) -> None:
    ready = _ready(life)
    assert ready.get("reason") in set(map(str, Reason)), f"{life.name} has no verdict: {ready}\n{_tail(world)}"
    assert ready.get("observedGeneration") == life.body["metadata"]["generation"], f"{life.name}\n{_tail(world)}"


def _ready(life: Life) -> dict[str, Any]:
    return next((each for each in life.body["status"].get("conditions", []) if each["type"] == "Ready"), {})


def _tail(world: World) -> str:
    return "\n".join(_short(world))


def _short(world: World) -> Iterator[str]:
    yield f"now {now():.1f} s"
    for line in world.trace[-40:]:
        yield line[:400]


BESIDE = {"beside": Target(SCENES, play)}

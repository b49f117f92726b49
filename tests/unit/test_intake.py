"""What is read of a Workload: not what nobody keeps, and nothing that takes forty times its bytes."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings

from hostile.material import mutated
from hostile.valid import METADATA, SPEC, STATUS
from inferencekey_operator.api.workload import EXCESS, Workload
from inferencekey_operator.errors import ConfigurationError, Reason
from inferencekey_operator.kube.intake import MOST_BYTES, read_event, read_page, read_workload, trimmed
from inferencekey_operator.kube.reading import PAGE_BYTES, Body
from unit.builders import a_workload
from unit.place import a_place, body_of
from unit.raw_cluster import answering
from unit.raw_server import response
from unit.virtual_time import virtual

FULL: Body = {"metadata": METADATA, "spec": SPEC, "status": STATUS}
EMPTY_OBJECTS = b'{"a":[' + b"{}," * 449_999 + b"{}]}"


def stored(config: bytes, name: str = "support-bot") -> bytes:
    """A Workload as the API server sends it."""
    fields = [{"manager": "kubectl", "fieldsV1": {f"f:{number}": {} for number in range(500)}}]
    others = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 10_000, "inferencekey.com/on-drift": "Warn"}
    metadata = {**METADATA, "name": name, "managedFields": fields, "annotations": others}
    spec = b'{"model":"llama-3","backend":"vllm","config":' + config + b"}"
    return b'{"metadata":' + json.dumps(metadata).encode() + b',"spec":' + spec + b',"status":{}}'


def page(*items: bytes) -> bytes:
    """A page of a list."""
    return b'{"metadata":{"resourceVersion":"9"},"items":[' + b",".join(items) + b"]}"


TOO_MUCH = {
    "1.4 MB of empty objects": EMPTY_OBJECTS,
    "a long string": json.dumps({"a": "x" * MOST_BYTES}).encode(),
    "many values": json.dumps({str(number): number for number in range(2_001)}).encode(),
    "deep": b'{"a":' * 101 + b"1" + b"}" * 101,
    "deeper than any reader goes": b'{"a":' + b"[" * 5_000 + b'"]"' + b"]" * 5_000 + b"}",
}


@pytest.mark.parametrize("config", TOO_MUCH.values(), ids=TOO_MUCH)
@pytest.mark.parametrize("read", [read_workload, lambda raw: read_page(page(raw))["items"][0]], ids=["one", "page"])
def test_what_is_too_much_is_left_out_and_marked(config: bytes, read: Callable[[bytes], Body]) -> None:
    """The rest of the object is read as ever, and neighbours on the same page are."""
    body = read(stored(config))
    workload = Workload.parse(body)
    assert workload.spec.config is None
    assert workload.excess == body[EXCESS] != ""
    assert (workload.spec.model, workload.annotations) == ("llama-3", {"inferencekey.com/on-drift": "Warn"})
    neighbours = read_page(page(stored(b"{}"), stored(config), stored(b'{"b":1}')))["items"]
    assert [item["spec"].get("config") for item in neighbours] == [{}, None, {"b": 1}]


def test_what_is_as_large_as_may_be_is_read() -> None:
    """One byte less than the bound, and 2,000 values."""
    whole = json.dumps({"a": "x" * (MOST_BYTES - 200)}).encode()
    wide = json.dumps({str(number): number for number in range(1_999)}).encode()
    for config in (whole, wide):
        body = read_workload(stored(config))
        assert EXCESS not in body
        assert body["spec"]["config"] == json.loads(config)


def test_empty_objects_take_no_memory() -> None:
    """Of seven Workloads with half a million each, nothing is built: neither for long nor for a moment."""
    raw = page(*(stored(EMPTY_OBJECTS, f"bot-{number}") for number in range(7)))
    tracemalloc.start()
    try:
        workloads = [Workload.parse(item) for item in read_page(raw)["items"]]
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(workloads) == 7
    assert held < 200_000
    assert peak < 3 * len(raw)


def is_object(value: Any) -> bool:
    """As the CRD's schema has it of spec and status, and of a size that is read."""
    return isinstance(value, dict) and len(json.dumps(value)) < 200_000


@settings(max_examples=100)
@given(mutated(SPEC).filter(is_object), mutated(STATUS).filter(is_object))
def test_everything_else_is_read_as_it_stands(spec: Any, status: Any) -> None:
    """What is kept of an object is the same, whoever reads it; and a second reading changes nothing."""
    body = {"metadata": METADATA, "spec": spec, "status": status}
    raw = json.dumps(body).encode()
    read = read_workload(raw)
    if EXCESS not in read:
        assert read == {"metadata": METADATA, "spec": spec, "status": status}
    event = {"type": "MODIFIED", "object": read}
    line = json.dumps({"type": "MODIFIED", "object": body}).encode()
    assert read_event(line) == event
    assert json.loads(trimmed(line)) == event


def test_what_is_no_object_passes() -> None:
    """Bookmarks, errors and what is no JSON are for others to judge."""
    for line in (b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7"}}}', b"<html>", b"[]", b"[" * 5_000):
        assert trimmed(line) == line


@virtual
async def test_a_workload_with_too_much_says_so_and_recovers() -> None:
    """A condition with the size, the limit and what to do; nothing is sent until it is corrected."""
    place = await a_place()
    body = {**body_of(a_workload()), EXCESS: "config makes the spec 1,350,046 bytes long"}
    body["metadata"] |= {"resourceVersion": "7", "generation": 2}
    assert place.store.observe(body)
    workload = place.now_stands(a_workload())
    with pytest.raises(ConfigurationError, match=r"1,350,046 bytes long.*Correct the spec") as caught:
        await place.look(workload)
    assert caught.value.reason is Reason.PLATFORM_REFUSED
    assert place.did == []
    body = {key: value for key, value in body.items() if key != EXCESS}
    body["metadata"] = {**body["metadata"], "resourceVersion": "8", "generation": 3}
    assert place.store.observe(body)
    assert (await place.look(place.now_stands(workload))).live is not None


# -- pages and lines -------------------------------------------------------------------------------------------


def limit(request: bytes) -> int:
    """How many objects a list asks for."""
    return int(parse_qs(urlsplit(request.split()[1].decode()).query)["limit"][0])


def part(items: list[bytes], more: bool) -> bytes:
    """A page of a list, and whether there are more."""
    metadata = {"resourceVersion": "9"} | ({"continue": "more"} if more else {})
    return b'{"metadata":' + json.dumps(metadata).encode() + b',"items":[' + b",".join(items) + b"]}"


async def test_a_page_that_is_too_large_is_asked_for_with_fewer_objects() -> None:
    """Whatever the objects are, what is held of a page is bounded; each object is listed once."""
    left = [stored(EMPTY_OBJECTS, f"bot-{number}") for number in range(20)]
    sizes: list[int] = []

    async def script(writer: asyncio.StreamWriter) -> None:
        most = limit(server.requests[-1])
        body = part(left[:most], more=len(left) > most)
        sizes.append(len(body))
        if len(body) <= PAGE_BYTES:
            del left[:most]
        writer.write(response(body))

    async with answering(script) as (cluster, server):
        names = [item["metadata"]["name"] async for item in cluster.workloads(())]
    assert names == [f"bot-{number}" for number in range(20)]
    assert sum(size > PAGE_BYTES for size in sizes) == 1


async def test_pages_grow_while_objects_are_small() -> None:
    """Ten thousand small ones take few requests."""
    left = 10_000

    async def script(writer: asyncio.StreamWriter) -> None:
        nonlocal left
        most = min(limit(server.requests[-1]), left)
        left -= most
        writer.write(response(part([b"{}"] * most, more=left > 0)))

    async with answering(script) as (cluster, server):
        listed = [item async for page in cluster.pages("/api/v1/things") for item in page["items"]]
    assert len(listed) == 10_000
    assert len(server.requests) <= 45


async def test_a_line_of_a_watch_may_be_as_long_as_an_object() -> None:
    """aiohttp's own reader of lines gives up at 128 KiB, and a watch would begin anew for ever."""
    event = {"type": "ADDED", "object": {"metadata": {"name": "fat", "resourceVersion": "8"}, "data": "x" * 1_200_000}}
    line = json.dumps(event).encode() + b"\n"

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(response(line * 2))

    async with answering(script) as (cluster, _):
        seen = [event async for event in cluster.watch("/api/v1/things", "7")]
    assert seen == [event] * 2

"""Reads what the API server sends: whole answers within bounds, streams line by line, events, versions.

Must not know who asked for it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp

from inferencekey_operator.api.workload import GROUP, PLURAL
from inferencekey_operator.inferencekey.answers import retry_after
from inferencekey_operator.kube.errors import PAGE_BYTES, ClusterError, TooLargeError
from inferencekey_operator.kube.intake import read_event, read_page, read_workload

NO_VERSION = sys.maxsize
"""Of what has no resourceVersion that could be compared: it is older than nothing."""

Body = dict[str, Any]
_Reader = Callable[[bytes], Body]


def readers(path: str) -> tuple[_Reader, _Reader, _Reader]:
    """What reads an object, a page and an event of what is at `path`."""
    if f"/{PLURAL}/" in f"{path}/" and path.startswith(f"/apis/{GROUP}/"):
        return read_workload, read_page, read_event
    return _object, _object, _object


def checked(event: Body) -> Body:
    """An event of a watch: something that happened to an object, which tells how far the watch has got."""
    found = event.get("object")
    if not isinstance(found, dict):
        raise ValueError("a watch event has no object")
    if event.get("type") == "ERROR":
        wish = (found.get("details") or {}).get("retryAfterSeconds")
        raise ClusterError(int(found.get("code") or 0), str(found.get("message")), retry_after=wish)
    if "resourceVersion" not in found.get("metadata", {}):
        raise ValueError("a watch event has no resourceVersion")
    return event


def version_of(body: Body) -> int:
    """A resourceVersion as a number."""
    text = str(body.get("metadata", {}).get("resourceVersion", ""))
    return int(text) if text.isdecimal() else NO_VERSION


def _object(answer: bytes) -> Body:
    parsed = json.loads(answer)
    if not isinstance(parsed, dict):
        raise ValueError(f"a JSON object was expected, and a {type(parsed).__name__} came")
    return parsed


def refusal(response: aiohttp.ClientResponse, answer: bytes) -> ClusterError:
    """What an answer with an error status says."""
    wish = retry_after({name.lower(): value for name, value in response.headers.items()})
    return ClusterError(response.status, _message(answer), retry_after=wish)


def _message(answer: bytes) -> str:
    try:
        return str(_object(answer).get("message", ""))[:512]
    except ValueError:
        return answer[:512].decode("utf-8", "replace")


async def whole(response: aiohttp.ClientResponse) -> bytes:
    """The answer, if it is not larger than what is read of a page."""
    answer = bytearray()
    async for chunk in response.content.iter_any():
        answer += chunk
        if len(answer) > PAGE_BYTES:
            raise TooLargeError
    return bytes(answer)


async def lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The lines of a stream, however long they are: aiohttp's own end at 128 KiB, and objects have up to 1.5 MB."""
    line = bytearray()
    async for chunk in content.iter_any():
        *ended, rest = chunk.split(b"\n")
        for end in ended:
            line += end
            if line:
                yield bytes(line)
            line.clear()
        line += rest
    if line:
        yield bytes(line)

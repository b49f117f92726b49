"""Echoes: whatever a platform encodes a token as, nothing that it says shows the secret."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.lines import open_http
from hostile.echoed import ENCODINGS, found, placed
from inferencekey_operator.errors import OperatorError, PlatformFailure
from inferencekey_operator.inferencekey.client import PlatformClient
from inferencekey_operator.inferencekey.echoes import Echoes
from inferencekey_operator.inferencekey.readiness import phases
from unit.builders import SECRET_HALF, TOKEN
from unit.raw_server import raw_server, response, sends

DRAWN = st.sampled_from(sorted(ENCODINGS))
AROUND = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_an_encoded_secret_is_blanked(encoding: str) -> None:
    """Each encoding on the list, alone and within a sentence; the judge does find it before."""
    echo = ENCODINGS[encoding](TOKEN)
    assert found(echo), "the judge cannot read this encoding"
    for text in (echo, f"token {echo} is not known", f'{{"error": {{"message": {json.dumps(echo)}}}}}'):
        shown = Echoes(TOKEN).blank(text)
        assert not found(shown), shown
        assert "…" in shown


@settings(max_examples=150)
@example(["backslash x", "json here and there"], 0, 12, "", "")
@example(["backslash x", "tags"], 0, 12, "", "")
@given(st.lists(DRAWN, min_size=1, max_size=2), st.integers(0, 52), st.integers(12, 64), AROUND, AROUND)
def test_no_encoding_and_no_place_shows_twelve_digits(
    encodings: list[str], begin: int, size: int, before: str, after: str
) -> None:
    """A part of the secret, once encoded, or packed as base64 and then escaped, anywhere in a text."""
    echo = SECRET_HALF[begin : begin + size]
    first, *then = sorted(encodings, key=lambda name: "base64" not in name)
    for encoding in [first, *(name for name in then if "base64" not in name and name != "dump")]:
        echo = ENCODINGS[encoding](echo)
    shown = Echoes(TOKEN).blank(f"{before} {echo} {after}")
    assert not found(shown), shown


@given(AROUND)
def test_what_echoes_nothing_stays_as_it_is(text: str) -> None:
    """Only echoes are blanked, and blanking twice changes nothing more."""
    echoes = Echoes(TOKEN)
    assert echoes.blank(text) == text
    once = echoes.blank(f"{text}{SECRET_HALF}{text}")
    assert echoes.blank(once) == once


def test_plain_words_and_other_hex_are_no_echo() -> None:
    """A digest, an id and a sentence are shown; so is the public form of the token."""
    text = f"model sha256:{'9f86d081' * 8} of wl_01HXYZ, token ik_sdk_a1b2c3d4 (100%25 = 3d4): <b>no</b> &amp; \\n"
    assert Echoes(TOKEN).blank(text) == text
    assert repr(Echoes(TOKEN)) == "<Echoes>"


def test_escapes_without_end_are_not_shown() -> None:
    """What is escaped more often than anybody undoes is not quoted at all."""
    text = SECRET_HALF
    for _ in range(8):
        text = "".join(f"%{ord(each):02x}" for each in text[:2000])
    assert not found(Echoes(TOKEN).blank(text))


@settings(max_examples=60, deadline=None)
@given(DRAWN, placed())
def test_no_answer_of_the_platform_shows_the_secret(encoding: str, place: Callable[[str], tuple[bytes, ...]]) -> None:
    """Over real sockets: error bodies of all forms, packed and not, headers, and events of a readiness stream."""
    for shown in asyncio.run(_told(place(ENCODINGS[encoding](TOKEN)))):
        assert not found(shown), shown


async def _told(answer: tuple[bytes, ...]) -> list[str]:
    """All that the client makes of an answer, to whatever call."""
    told: list[str] = []
    async with raw_server(sends(*answer, close=True)) as server, open_http(2.0) as lines:
        client = PlatformClient(server.url, lines)
        for call in (
            client.list_workloads(TOKEN, "team-a"),
            client.create(TOKEN, "team-a", {"slug": "bot"}),
            client.update(TOKEN, "wl_1", {"name": "bot"}),
        ):
            try:
                await call
            except OperatorError as error:
                told += error.message, repr(error)
        try:
            async for phase in phases(lines, server.url, TOKEN, "team-a", "bot"):
                told += phase.phase, phase.step or "", phase.message or ""
        except PlatformFailure as error:
            told.append(error.message)
    return told


async def test_a_row_whose_id_is_an_echo_is_no_row() -> None:
    """An id stands in a status and in paths: one that shows the secret is not taken, from a write's answer either."""
    row = {"id": SECRET_HALF[:32], "slug": "bot"}
    async with raw_server(sends(response(json.dumps(row).encode()))) as server, open_http(2.0) as lines:
        with pytest.raises(PlatformFailure) as caught:
            await PlatformClient(server.url, lines).create(TOKEN, "team-a", {"slug": "bot"})
    assert caught.value.uncertain
    assert not found(caught.value.message)

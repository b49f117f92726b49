"""Single parts of the operator, each given hostile input: what it may raise, and what comes out of it.

What a part may raise are the project's own errors and, where it says so, ValueError. What comes out has bounds, is on
one line, shows no secret, and is what the API server takes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from hostile.echoed import ENCODINGS, found
from hostile.environment import GIVEN, PRINTED, plugin_is_read, proxies_are_read
from hostile.look import ALLOWED, look_is_taken
from hostile.material import Document, Raw, mutated, spoiled, texts, values, written
from hostile.shown import fit, hidden, loose, parsed, sent
from hostile.valid import ANSWERS, EVENT, METADATA, SPEC, STATUS, STREAMS, bodies, rows, secrets
from inferencekey_operator.api.bounds import beyond_reason
from inferencekey_operator.api.keys import Key
from inferencekey_operator.api.status import WorkloadStatus
from inferencekey_operator.api.workload import EXCESS, OnDrift
from inferencekey_operator.cache.informers import MOST_OF_A_SECRET, Secrets
from inferencekey_operator.errors import ConfigurationError, PlatformFailure
from inferencekey_operator.inferencekey import wire
from inferencekey_operator.inferencekey.address import origin
from inferencekey_operator.inferencekey.answers import LONGEST_WAIT, Operation, failure, retry_after
from inferencekey_operator.inferencekey.client import checked_base_url
from inferencekey_operator.inferencekey.echoes import Echoes
from inferencekey_operator.inferencekey.listing import Reader
from inferencekey_operator.inferencekey.readiness import EventParser, Phase, parse_phase
from inferencekey_operator.kube.intake import OPEN, read_workload, trimmed
from inferencekey_operator.kube.merge_patch import merge_patch
from inferencekey_operator.logs import about, formatter
from inferencekey_operator.plan.credentials import credential, with_remedy
from unit.builders import (
    PLATFORM,
    SECRET_HALF,
    TOKEN,
)
from unit.test_logs import a_record, raised


@dataclass(frozen=True)
class Target:
    """One part, what is given to it, and what is checked of what it does; `check` raises where something is wrong."""

    given: st.SearchStrategy[Any]
    check: Callable[[Any], None]


def secret_is_read(texts: dict[str, bytes]) -> None:
    """A credential, or a reason with a remedy."""
    found: list[Any] = []
    kept_secrets = Secrets(found.append)
    encoded = {key: base64.b64encode(value).decode() for key, value in texts.items()}
    body = {"metadata": {"namespace": "team-a", "name": "inferencekey", "resourceVersion": "1"}, "data": encoded}
    kept_secrets.put(body)
    kept = kept_secrets.get("team-a", "inferencekey") or {}
    assert sum(len(key) + len(text) for key, text in kept.items()) <= MOST_OF_A_SECRET
    workload = parsed()
    try:
        given = credential(workload, kept_secrets.get("team-a", "inferencekey"), ALLOWED)
    except ConfigurationError as error:
        sent(with_remedy(workload, error), workload)
        return
    assert (given.token, given.base_url) == (TOKEN, PLATFORM)
    fit(given.project, 253)
    assert SECRET_HALF not in repr(given)


def _as_short(body: Mapping[str, Any]) -> bytes:
    """As JSON that is no longer than what came: the size decides what is kept."""
    try:
        return json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return json.dumps(body).encode()


def object_is_read(raw: bytes) -> None:
    """ValueError, or an object whose configurations can be walked; twice the same, and no larger than what came."""
    try:
        body = read_workload(raw)
    except ValueError:
        return
    spec = body.get("spec")
    if isinstance(spec, dict):
        assert not beyond_reason({key: spec[key] for key in OPEN if key in spec})
    assert (EXCESS in body) == bool(body.get(EXCESS))
    again = read_workload(_as_short(body))
    assert {key: part for key, part in body.items() if key != EXCESS} == again
    line = b'{"type":"ADDED","object":' + raw + b"}"
    assert len(trimmed(line)) <= 6 * len(line) + 1_024


def url_is_read(text: str) -> None:
    """ValueError, or a base URL; ConfigurationError, or one that can be called."""
    for read, refused in ((origin, ValueError), (checked_base_url, ConfigurationError)):
        with suppress(refused):
            assert isinstance(read(text), str)


def list_is_read(body: bytes) -> None:
    """Rows with an identity that can be written down, or an error of the platform."""
    try:
        listing = Reader().read(body)
    except PlatformFailure as error:
        sent(error)
        return
    for row in listing.workloads:
        fit(row.id, 256)
        json.dumps([row.config, row.execution_policy_config], allow_nan=False)
        assert wire.workload_path(row.id).isascii()


def answer_is_read(given: tuple[int, dict[str, str], bytes, Operation, str]) -> None:
    """A failure with words that fit."""
    status, headers, body, operation, project = given
    error = failure(status, headers, body, operation=operation, project=project)
    fit(error.message, 1_500, body)
    if not loose(body):
        sent(with_remedy(parsed(), error))
    wish = retry_after(headers)
    assert wish is None or 0 <= wish <= LONGEST_WAIT
    with suppress(PlatformFailure):
        wire.parse_workload(body)


def stream_is_read(given: tuple[bytes, list[int]]) -> None:
    """The same phases, wherever it is split; each with words that fit."""
    stream, cuts = given
    whole, pieces = _phases([stream]), _phases(_cut(stream, cuts))
    assert whole == pieces
    for phase in whole or ():
        for text in (phase.phase, phase.step, phase.message):
            fit(text or "", 256, stream)


def _cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[begin:end] for begin, end in pairwise(edges)]


def _phases(chunks: list[bytes]) -> list[Phase] | None:
    """None where the stream is given up."""
    parser, found = EventParser(), []
    try:
        for chunk in chunks:
            found += [phase for event in parser.feed(chunk) if (phase := parse_phase(event))]
    except ValueError:
        return None
    return found


def log_is_written(given: tuple[str, str]) -> None:
    """One line, whatever was said, and whoever was named."""
    said, name = given
    record = a_record("the platform said %s", said, **about(Key(name, name), slug=name, reason=name))
    for form in ("text", "json"):
        fit(formatter(form).format(record), 40_000)
    hidden(formatter("text").format(a_record("%s", said, error=raised(said))))


def status_is_read(stored: Document) -> None:
    """A status comes out of it, and what could not be read is replaced by what is written next."""
    read, unreadable = WorkloadStatus.read(stored)
    wanted = replace(read, observed_generation=7)
    patch = merge_patch({**read.to_wire(), **unreadable}, wanted.to_wire())
    assert patch is None or set(unreadable) <= set(patch)


def echo_is_blanked(given: tuple[bytes, str, str, str]) -> None:
    """An answer, a row and an event that repeat the token in some encoding: none of them shows its secret."""
    answer, before, encoding, after = given
    text = f"{before}{ENCODINGS[encoding](TOKEN)}{after}"
    echoes = Echoes(TOKEN)
    said = answer.replace(b"No.", json.dumps(text).encode()[1:-1]).decode("utf-8", "replace")
    error = failure(422, {}, echoes.blank(said).encode(), operation="update")
    phase = parse_phase(json.dumps({"phase": "error", "step": text, "message": text}), echoes)
    rows = [{"id": text, "slug": "a"}, {"id": "wl_1", "slug": text}]
    listing = Reader(lambda: echoes).read(json.dumps(rows).encode())
    told = [error.message, *(f"{row.id} {row.slug}" for row in listing.workloads)]
    if phase is not None:
        told += phase.phase, phase.step or "", phase.message or ""
    for shown in told:
        assert not found(shown), shown


_HUGE = st.sampled_from(
    [
        Raw('{"a":[' + "{}," * 90_000 + "{}]}"),
        Raw('{"a":' + "[" * 5_000 + "]" * 5_000 + "}"),
        Raw('{"a":' * 1_500 + '"]}"' + "}" * 1_500),
        Raw("[" * 3_000),
        Raw('{"a":"' + "x" * 300_000 + '"}'),
        {str(number): number for number in range(2_001)},
    ]
)
OBJECTS = st.builds(
    lambda body, config, part: written({**body, "spec": {**SPEC, part: config}}) if config else written(body),
    mutated({"metadata": METADATA, "spec": SPEC, "status": STATUS}).filter(lambda body: isinstance(body, dict)),
    st.none() | _HUGE,
    st.sampled_from(OPEN),
)
"""Workloads as an API server may hold them, also with more in them than anybody means."""

TARGETS: dict[str, Target] = {
    "secret": Target(secrets(), secret_is_read),
    "object": Target(OBJECTS, object_is_read),
    "url": Target(texts() | texts().map(lambda text: f"https://{text}"), url_is_read),
    "list": Target(rows().flatmap(spoiled) | rows(), list_is_read),
    "answer": Target(ANSWERS, answer_is_read),
    "stream": Target(STREAMS, stream_is_read),
    "log": Target(st.tuples(texts(), texts().map(lambda text: text[:253])), log_is_written),
    "plugin": Target(PRINTED, plugin_is_read),
    "proxies": Target(GIVEN, proxies_are_read),
    "status": Target(mutated(STATUS) | values(), status_is_read),
    "echo": Target(
        st.tuples(
            mutated({"error": {"code": "bad", "message": "No."}}).map(written),
            texts().map(lambda text: text[:40]),
            st.sampled_from(sorted(ENCODINGS)),
            texts().map(lambda text: text[:40]),
        ).filter(lambda it: not found(f"{it[0].decode()}{it[1]}{it[3]}")),
        echo_is_blanked,
    ),
    "look": Target(
        st.tuples(
            bodies(st.none() | st.just(STATUS) | mutated(STATUS)), rows(), st.sampled_from(OnDrift), mutated(EVENT)
        ),
        look_is_taken,
    ),
}

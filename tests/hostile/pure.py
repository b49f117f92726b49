"""Single parts of the operator, each given hostile input: what it may raise, and what comes out of it.

What a part may raise are the project's own errors and, where it says so, ValueError. What comes out has bounds, is on
one line, shows no secret, and is what the API server takes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, get_args

from hypothesis import strategies as st

from hostile.material import RAW, STRANGE, Document, mutated, pricked, spoiled, texts, values, written
from hostile.schema import objections
from inferencekey_operator import conditions
from inferencekey_operator.announcements import announce, kept
from inferencekey_operator.credentials import Allowed, credential, identity, origin, refuse_secrets, with_remedy
from inferencekey_operator.drift import beyond_reason, declared_document, kept_by_platform
from inferencekey_operator.endpoint import config_map, data
from inferencekey_operator.errors import ConfigurationError, OperatorError, PlatformFailure, Reason
from inferencekey_operator.inferencekey import wire
from inferencekey_operator.inferencekey.answers import LONGEST_WAIT, Operation, retry_after
from inferencekey_operator.inferencekey.client import checked_base_url
from inferencekey_operator.inferencekey.readiness import EventParser, Phase, parse_phase
from inferencekey_operator.keys import Key
from inferencekey_operator.logs import about, formatter
from inferencekey_operator.merge_patch import merge_patch
from inferencekey_operator.plan import Create, Plan, Update
from inferencekey_operator.redaction import excerpt
from inferencekey_operator.status import Readiness, WorkloadStatus
from inferencekey_operator.watches import Secrets, own_config_map
from inferencekey_operator.workload import APPROVE_PLAN, ON_DRIFT, RECONCILE_REQUESTED_AT, OnDrift, Workload
from unit.builders import (
    IDENTITY,
    NOW,
    PLATFORM,
    SECRET_HALF,
    TOKEN,
    a_situation,
    carried_out,
    planned,
    report_of,
    what_is_recorded,
)
from unit.invariants import check_status
from unit.test_logs import a_record, raised

MOST_MESSAGE = 20_000
"""Characters of an error's message before it is cut for a status: what it is made of has bounds of its own."""
ALLOWED = Allowed(PLATFORM, ("inferencekey",))
FITTING = range(1, 1_025)

ROW: Document = {
    "id": "wl_1",
    "name": "support-bot",
    "description": "Answers",
    "slug": "support-bot",
    "project_slug": "prod",
    "task_type": "text2text",
    "backend": "vllm",
    "model_name": "llama-3",
    "config": {"command": "vllm serve", "nested": {"a": [1, 2.5, None], "b": {"c": "d"}}},
    "execution_policy": "autoscaling",
    "execution_policy_config": {"min_workers": 0, "workers": {"source": "private", "private_worker_ids": ["wrk_1"]}},
    "created_at": "2026-03-02T10:41:32Z",
}
SPEC: Document = {
    "model": "llama-3",
    "backend": "vllm",
    "description": "Answers",
    "command": "vllm serve",
    "config": {"nested": {"a": [1, 2.5, True], "b": {"c": "d"}}, "x.y": 1},
    "taskType": "text2text",
    "executionPolicy": "autoscaling",
    "executionPolicyConfig": {"min_workers": 0, "workers": {"source": "private", "private_worker_ids": ["wrk_1"]}},
    "tokenSecretRef": {"name": "inferencekey", "key": "INFERENCEKEY_SDK_TOKEN"},
    "endpoint": {"configMapName": "endpoint"},
    "deletionPolicy": "Delete",
    "suspend": False,
}
STATUS: Document = {
    "observedGeneration": 1,
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Ready",
            "message": "Serving",
            "lastTransitionTime": "2026-03-02T10:41:32Z",
            "observedGeneration": 1,
        }
    ],
    "workloadId": "wl_1",
    "platformURL": PLATFORM,
    "projectSlug": "prod",
    "workloadSlug": "support-bot",
    "endpoint": {"url": f"{PLATFORM}/endpoint/prod/support-bot", "configMapName": "support-bot-endpoint"},
    "readiness": {"phase": "ready"},
    "drift": {
        "class": "OutOfBand",
        "policy": "Warn",
        "summary": "model",
        "fields": [{"field": "model", "declared": "a", "live": "b"}],
        "since": "2026-03-02T10:41:32Z",
        "planId": "7f3a91c2d4e5f601",
    },
    "adopted": False,
    "plansApplied": 1,
    "lastApplied": [{"field": "model", "declared": "0" * 16, "answered": "1" * 16}],
    "lastHandledApproval": {"planId": "7f3a91c2d4e5f601", "result": "Applied"},
    "lastHandledReconcileAt": "now",
}
EVENT: Document = {"phase": "bootstrapping", "message": "pulling", "elapsed_ms": 12, "step": "weights"}
SECRET: Document = {"INFERENCEKEY_SDK_TOKEN": TOKEN, "INFERENCEKEY_PROJECT": "prod", "INFERENCEKEY_BASE_URL": PLATFORM}


@dataclass(frozen=True)
class Target:
    """One part, what is given to it, and what is checked of what it does; `check` raises where something is wrong."""

    given: st.SearchStrategy[Any]
    check: Callable[[Any], None]


# -- what is given -------------------------------------------------------------------------------------------------


def annotated() -> st.SearchStrategy[dict[str, str]]:
    """Ours, with any text; others' as well."""
    ours = st.sampled_from([ON_DRIFT, APPROVE_PLAN, RECONCILE_REQUESTED_AT, "inferencekey.com/other", "example.com/x"])
    return st.dictionaries(ours, st.sampled_from([*OnDrift, "dry_run"]) | texts(), max_size=3)


def bodies(status: st.SearchStrategy[Document]) -> st.SearchStrategy[Document]:
    """Objects as an API server may hold them; not all of them as this release's schema would let them in."""
    return st.builds(
        lambda spec, status, annotations, finalizers: {
            "metadata": {
                "namespace": "team-a",
                "name": "support-bot",
                "uid": "6f1c1d6a-0000-0000-0000-444455556666",
                "resourceVersion": "100",
                "generation": 1,
                "creationTimestamp": "2026-03-01T10:41:32Z",
                "annotations": annotations,
                "finalizers": finalizers,
            },
            "spec": spec if isinstance(spec, dict) else {},
            "status": status,
        },
        mutated(SPEC) | mutated(SPEC) | st.just(SPEC),
        status,
        annotated(),
        st.lists(st.sampled_from(["inferencekey.com/workload"]) | texts(), max_size=2),
    )


def rows() -> st.SearchStrategy[bytes]:
    """Lists of which one row was ours, as bytes; seldom an empty one."""
    strange = pricked(ROW) | mutated(ROW, alien=STRANGE) | st.just(ROW)
    ours = st.tuples(strange, st.lists(mutated(ROW), max_size=1)).map(lambda rows: [rows[0], *rows[1]])
    return (ours | ours | ours | mutated([ROW], alien=RAW) | st.just([])).map(written)


def secrets() -> st.SearchStrategy[dict[str, bytes]]:
    """What a Secret may hold: any bytes, under the keys that are read or others."""
    content = st.binary(max_size=40) | texts().map(str.encode)
    changed = st.dictionaries(st.sampled_from([*SECRET, "other"]), content, max_size=3)
    return changed.map(lambda new: {**{key: value.encode() for key, value in SECRET.items()}, **new})


# -- what is checked -----------------------------------------------------------------------------------------------


def fit(text: str, most: int = 1_024, source: bytes = b"") -> None:
    """One line, printable, with a bound, and without a secret that came as a token."""
    assert len(text) <= most, f"{len(text)} characters"
    assert text.isprintable(), ascii(text)[:300]
    if not _loose(source):
        hidden(text)


def _loose(source: bytes) -> bool:
    """Whether it holds the secret half alone, or of a token with a letter knocked out: nobody can know that for one."""
    whole = source.replace("\u200b".encode(), b"").replace(TOKEN.encode(), b"")
    return SECRET_HALF[:12].encode() in whole


def hidden(text: str) -> None:
    """No piece of the secret half of a token is in it."""
    assert SECRET_HALF[:12] not in text, "a secret is shown"


def sent(error: OperatorError, workload: Workload | None = None) -> None:
    """An error as a status would show it."""
    hidden(conditions._stamp(workload or _parsed(), NOW, ("Ready", "False", error.reason, error.message)).message)
    shown = conditions._stamp(workload or _parsed(), NOW, ("Ready", "False", error.reason, error.message))
    fit(shown.message)
    assert shown.message


def _parsed() -> Workload:
    body = {"spec": SPEC, "status": None, "metadata": _METADATA}
    return Workload.parse(body)


_METADATA = {
    "namespace": "team-a",
    "name": "support-bot",
    "uid": "6f1c1d6a-0000-0000-0000-444455556666",
    "resourceVersion": "100",
    "generation": 1,
    "creationTimestamp": "2026-03-01T10:41:32Z",
}


def secret_is_read(texts: dict[str, bytes]) -> None:
    """A credential, or a reason with a remedy."""
    found: list[Any] = []
    kept_secrets = Secrets(found.append)
    encoded = {key: base64.b64encode(value).decode() for key, value in texts.items()}
    body = {"metadata": {"namespace": "team-a", "name": "inferencekey", "resourceVersion": "1"}, "data": encoded}
    kept_secrets.put(body)
    workload = _parsed()
    try:
        given = credential(workload, kept_secrets.get("team-a", "inferencekey"), ALLOWED)
    except ConfigurationError as error:
        sent(with_remedy(workload, error), workload)
        return
    assert (given.token, given.base_url) == (TOKEN, PLATFORM)
    fit(given.project, 253)
    assert SECRET_HALF not in repr(given)


def url_is_read(text: str) -> None:
    """ValueError, or a base URL; ConfigurationError, or one that can be called."""
    for read, refused in ((origin, ValueError), (checked_base_url, ConfigurationError)):
        with suppress(refused):
            assert isinstance(read(text), str)


def list_is_read(body: bytes) -> None:
    """Rows with an identity that can be written down, or an error of the platform."""
    try:
        listing = wire.read_list(body)
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
    error = wire.failure(status, headers, body, operation=operation, project=project)
    fit(error.message, 1_500, body)
    if not _loose(body):
        sent(with_remedy(_parsed(), error))
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


def config_map_is_read(owners: Document) -> None:
    """One with our label that anybody may have made."""
    body = {"metadata": {**_METADATA, "ownerReferences": owners}, "data": {"a": "b"}}
    own_config_map(body)


def look_is_taken(given: tuple[Document, bytes, OnDrift, Document]) -> None:
    """A whole look, and another one after it: what it would send, write and say; and that the second one is at rest."""
    body, listed, policy, told = given
    try:
        workload = Workload.parse(body)
    except ValueError as error:
        hidden(str(error))
        return
    try:
        live, phase = _found(listed), parse_phase(json.dumps(told))
        _refuse(workload)
    except OperatorError as error:
        report = conditions.failure(with_remedy(workload, error))
        announce(workload, report, None, None, None)
        _written(workload, conditions.status(workload, report, NOW))
        return
    readiness = Readiness(phase=phase.phase, step=phase.step, message=phase.message) if phase else Readiness()
    after = _look(workload, live, policy, readiness)
    if after is not None:
        again = _look(after[0], after[1], policy, readiness)
        assert again is None or merge_patch(after[0].status.to_wire(), again[0].status.to_wire()) is None, "no rest"


def _refuse(workload: Workload) -> None:
    declared = declared_document(workload)
    if beyond_reason(declared):
        conditions.suspended(workload)
        raise ConfigurationError(Reason.PLATFORM_REFUSED, "beyond reason")
    refuse_secrets(declared)
    identity(workload, credential(workload, SECRET, ALLOWED))


def _found(listed: bytes) -> wire.LiveWorkload | None:
    rows = wire.read_list(listed).workloads
    return next((row for row in rows if row.slug == "support-bot" and not row.unread), None)


def _look(
    workload: Workload, live: wire.LiveWorkload | None, policy: OnDrift, readiness: Readiness
) -> tuple[Workload, wire.LiveWorkload | None] | None:
    situation = a_situation(workload, live, policy)
    plan = planned(workload, live, policy)
    _sendable(plan)
    answer = carried_out(plan, workload, live)
    report = report_of(workload, plan, answer, policy, readiness=readiness, now=NOW)
    report = replace(report, changes=what_is_recorded(situation, plan, answer))
    told = announce(workload, report, plan, policy, answer)
    if plan.perform and answer is not None:
        told += kept(kept_by_platform(situation.declared, answer, plan.sent))
    hidden("".join(excerpt(each.note, 1_024) for each in told))
    if answer is not None:
        keys = data(IDENTITY, answer, workload.spec.task_type)
        hidden(json.dumps(config_map(workload, keys), ensure_ascii=False).encode().decode())
    conditions.suspended(workload)
    return _written(workload, conditions.status(workload, report, NOW)), answer


def _sendable(plan: Plan) -> None:
    if plan.perform and isinstance(plan.step, Create | Update):
        json.dumps(plan.step.body, allow_nan=False).encode()


def _written(workload: Workload, status: WorkloadStatus) -> Workload:
    """What the API server would say to this status, and the Workload that it would hand out then."""
    wire_form = status.to_wire()
    patch = merge_patch({**workload.status.to_wire(), **workload.unreadable}, wire_form)
    json.dumps(patch, ensure_ascii=False, allow_nan=False).encode()
    refused = list(objections(wire_form))
    assert not refused, refused
    for each in wire_form["conditions"]:
        fit(each["message"])
    if workload.status == WorkloadStatus():
        check_status(wire_form)
    back = WorkloadStatus.parse(json.loads(json.dumps(wire_form)))
    assert back == status
    return replace(workload, status=back, unreadable={})


# -- all of them ---------------------------------------------------------------------------------------------------

ANSWERS = st.tuples(
    st.integers(100, 999),
    st.dictionaries(
        st.sampled_from(["retry-after", "date", "location", "content-type"]),
        texts()
        | st.sampled_from(["1e999", "Mon, 02 Mar 2026 10:00:30 GMT", "http://xn--a/", "//[", "١٢", "9" * 5_000]),
        max_size=3,
    ),
    mutated({"error": {"code": "bad", "message": "No."}}, alien=RAW).map(written).flatmap(spoiled),
    st.sampled_from(get_args(Operation)),
    texts(),
)
STREAMS = st.tuples(
    st.lists(
        st.builds(
            lambda start, event, end: start + event + end,
            st.sampled_from([b"data: ", b"data:", b"event: x\ndata: ", b": keep\n\ndata: ", b"id: 1\rdata: ", b""]),
            mutated(EVENT, alien=RAW).map(written) | st.just(written(EVENT)),
            st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r", b"\n", b"\x00\n\n"]),
        ),
        max_size=4,
    )
    .map(b"".join)
    .flatmap(spoiled),
    st.lists(st.integers(0, 10_000), max_size=5),
)

TARGETS: dict[str, Target] = {
    "secret": Target(secrets(), secret_is_read),
    "url": Target(texts() | texts().map(lambda text: f"https://{text}"), url_is_read),
    "list": Target(rows().flatmap(spoiled) | rows(), list_is_read),
    "answer": Target(ANSWERS, answer_is_read),
    "stream": Target(STREAMS, stream_is_read),
    "log": Target(st.tuples(texts(), texts().map(lambda text: text[:253])), log_is_written),
    "status": Target(mutated(STATUS) | values(), status_is_read),
    "look": Target(
        st.tuples(
            bodies(st.none() | st.just(STATUS) | mutated(STATUS)), rows(), st.sampled_from(OnDrift), mutated(EVENT)
        ),
        look_is_taken,
    ),
}

"""Valid documents of each kind, and what is made of them: what the operator is given in these tests.

Knows what an API server may hold and a platform may send; nothing of what becomes of it.
"""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st

from hostile.material import RAW, STRANGE, Document, mutated, pricked, spoiled, texts, written
from inferencekey_operator.api.workload import APPROVE_PLAN, ON_DRIFT, RECONCILE_REQUESTED_AT, OnDrift
from inferencekey_operator.inferencekey.answers import Operation
from unit.builders import PLATFORM, TOKEN

METADATA: Document = {
    "namespace": "team-a",
    "name": "support-bot",
    "uid": "6f1c1d6a-0000-0000-0000-444455556666",
    "resourceVersion": "100",
    "generation": 1,
    "creationTimestamp": "2026-03-01T10:41:32Z",
}
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
        "planId": "7f3a91c2d4e5f6017f3a91c2d4e5f601",
    },
    "adopted": False,
    "plansApplied": 1,
    "lastApplied": [{"field": "model", "declared": "0" * 16, "answered": "1" * 16}],
    "lastHandledApproval": {"planId": "7f3a91c2d4e5f6017f3a91c2d4e5f601", "result": "Applied"},
    "lastHandledReconcileAt": "now",
}
EVENT: Document = {"phase": "bootstrapping", "message": "pulling", "elapsed_ms": 12, "step": "weights"}
SECRET: Document = {"INFERENCEKEY_SDK_TOKEN": TOKEN, "INFERENCEKEY_PROJECT": "prod", "INFERENCEKEY_BASE_URL": PLATFORM}


def annotated() -> st.SearchStrategy[dict[str, str]]:
    """Ours, with any text; others' as well."""
    ours = st.sampled_from([ON_DRIFT, APPROVE_PLAN, RECONCILE_REQUESTED_AT, "inferencekey.com/other", "example.com/x"])
    return st.dictionaries(ours, st.sampled_from([*OnDrift, "dry_run"]) | texts(), max_size=3)


def bodies(status: st.SearchStrategy[Document]) -> st.SearchStrategy[Document]:
    """Objects as an API server may hold them; not all of them as this release's schema would let them in."""
    return st.builds(
        lambda spec, status, annotations, finalizers: {
            "metadata": {**METADATA, "annotations": annotations, "finalizers": finalizers},
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
    changed = st.dictionaries(st.sampled_from([*SECRET, "other"]), content, max_size=3) | _fat()
    return changed.map(lambda new: {**{key: value.encode() for key, value in SECRET.items()}, **new})


def _fat() -> st.SearchStrategy[dict[str, bytes]]:
    """Many keys, or few with much in them, for somebody else."""
    sizes = st.tuples(st.sampled_from([1, 40, 900]), st.sampled_from([0, 60, 1_025, 9_000]), texts())
    return sizes.map(lambda it: {f"other-{n}": ((it[2] or "x")[:8].encode() * it[1])[: it[1]] for n in range(it[0])})


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

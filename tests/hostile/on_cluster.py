"""What a real cluster is given: manifests as bytes, and a handful of Secrets and answers that single parts found hard.

Here each costs a namespace or a request, so Secrets and answers are chosen, not drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from hostile.material import RAW, Document, mutated, written
from hostile.valid import ROW, SPEC
from inferencekey_operator.api.workload import GROUP, KIND, VERSION
from unit.builders import TOKEN

NAME = "evil-name"


@dataclass(frozen=True)
class Manifest:
    """A Workload as it is sent, under a name that the one who sends it chooses."""

    spec: Document
    annotations: Document

    def written(self, name: str) -> bytes:
        """The request's body."""
        return written(
            {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": KIND,
                "metadata": {"name": name, "annotations": self.annotations},
                "spec": self.spec,
            }
        )


def manifests() -> st.SearchStrategy[Manifest]:
    """Specs of which mostly the configurations are mutated, for the rest is refused; and annotations."""
    plain = {key: value for key, value in SPEC.items() if key not in ("deletionPolicy", "endpoint")}
    capped = {**SPEC["executionPolicyConfig"], "max_hourly_cost_usd": 5.0}
    configurations = st.builds(
        lambda config, policy: {**plain, "config": config, "executionPolicyConfig": policy},
        mutated(SPEC["config"], alien=RAW) | mutated(SPEC["config"]),
        mutated(capped) | st.just(capped),
    )
    annotations: st.SearchStrategy[Document] = st.just({}) | mutated(
        {f"{GROUP}/on-drift": "Warn", f"{GROUP}/approve-plan": "0" * 32}
    )
    return st.builds(Manifest, configurations | configurations | mutated(plain, alien=RAW), annotations)


SECRETS: tuple[dict[str, bytes], ...] = (
    {"INFERENCEKEY_SDK_TOKEN": b"\xff\xfe\x00\x80", "INFERENCEKEY_PROJECT": b"prod"},
    {"INFERENCEKEY_SDK_TOKEN": TOKEN.encode(), "INFERENCEKEY_PROJECT": TOKEN.encode()},
    {"INFERENCEKEY_SDK_TOKEN": TOKEN.encode(), "INFERENCEKEY_PROJECT": b"p" * 300_000},
    {"INFERENCEKEY_SDK_TOKEN": TOKEN.encode(), "INFERENCEKEY_PROJECT": "a\x1b[31m\u202eb".encode()},
    {"INFERENCEKEY_SDK_TOKEN": TOKEN.encode(), "INFERENCEKEY_PROJECT": b"p", "INFERENCEKEY_BASE_URL": b"http://[::1"},
    {"INFERENCEKEY_SDK_TOKEN": b"\n" * 500_000},
)

_JSON = {"Content-Type": "application/json"}
_EVENTS = {"Content-Type": "text/event-stream"}
_MINE = written([{**ROW, "id": "wl_evil", "slug": "evil"}]).decode()

ANSWERS: tuple[tuple[str, dict[str, str], str], ...] = (
    ("list", _JSON, "[" * 100_000),
    ("list", _JSON, '[{"id": "wl_1", "slug": "evil", "config": ' + '{"a":' * 5_000 + "1" + "}" * 5_000 + "}]"),
    ("list", _JSON, '[{"id": "wl_1", "slug": "evil", "config": {"x": 1e999}}]'),
    ("list", _JSON, '[{"id": "wl_\\ud800", "slug": "evil"}]'),
    ("list", {**_JSON, "Content-Encoding": "gzip, gzip"}, _MINE),
    ("list", {**_JSON, "Location": "http://xn--a/", "Retry-After": "1e999"}, "\x00\x1b[31m"),
    ("create", _JSON, _MINE[1:-1].replace('"wl_evil"', '"wl_\\ud800"')),
    ("readiness", _EVENTS, 'data: {"phase": "provisioning"}\n\ndata: {"phase": "bootstrapping"}\n\n' * 2_000),
    ("readiness", _EVENTS, "data: " + "x" * 200_000),
)

"""Where a workload is reached: its URLs, and the ConfigMap that hands them to applications.

Pure: identity and live workload in, data out. There is never a token in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inferencekey_operator.api.workload import GROUP, KIND, VERSION, Workload
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.plan.plan import Identity
from inferencekey_operator.redaction import redact

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "inferencekey-operator"
SELECTOR = f"{MANAGED_BY}={MANAGER}"

KEYS = frozenset(
    (
        "INFERENCEKEY_BASE_URL",
        "INFERENCEKEY_PROJECT",
        "INFERENCEKEY_WORKLOAD",
        "INFERENCEKEY_ENDPOINT_URL",
        "INFERENCEKEY_JOBS_URL",
        "OPENAI_BASE_URL",
        "OPENAI_MODEL",
    )
)
"""All that `data` ever gives."""

LONGEST_MODEL = 512
"""Characters of a model's name, as in `spec.model`."""

ASYNC_ONLY = frozenset({"reranker", "classification", "reward"})
"""Task types without a synchronous OpenAI route: they take jobs."""


def config_map_name(workload: Workload) -> str:
    """`<workload>-endpoint`, unless the spec says otherwise."""
    return workload.spec.endpoint.config_map_name or f"{workload.name}-endpoint"


def data(identity: Identity, live: LiveWorkload | None, task_type: str | None) -> dict[str, str]:
    """The keys that an application takes with `envFrom`; `live` is None while the workload is missing."""
    kind = (live.task_type if live else None) or task_type or "text2text"
    keys = {
        "INFERENCEKEY_BASE_URL": identity.platform_url,
        "INFERENCEKEY_PROJECT": identity.project,
        "INFERENCEKEY_WORKLOAD": identity.slug,
        "INFERENCEKEY_ENDPOINT_URL": identity.url,
    }
    if kind in ASYNC_ONLY:
        return {**keys, "INFERENCEKEY_JOBS_URL": f"{identity.url}/jobs"}
    keys["OPENAI_BASE_URL"] = f"{identity.url}/v1"
    if live is not None and _fit_to_be_handed_on(live.model_name):
        keys["OPENAI_MODEL"] = live.model_name
    return keys


def names(keys: Mapping[str, str], identity: Identity) -> bool:
    """Whether the data of a ConfigMap is about this very workload."""
    about = keys.get("INFERENCEKEY_PROJECT"), keys.get("INFERENCEKEY_WORKLOAD")
    return about == (identity.project, identity.slug)


def _fit_to_be_handed_on(model: str) -> bool:
    """Not what the API server would store in another spelling or not at all, nor what holds a token."""
    return 0 < len(model) <= LONGEST_MODEL and model.isprintable() and redact(model) == model


def config_map(workload: Workload, keys: dict[str, str]) -> dict[str, Any]:
    """The whole ConfigMap, owned by the Workload, for a server-side apply."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": config_map_name(workload),
            "namespace": workload.namespace,
            "labels": {MANAGED_BY: MANAGER},
            "ownerReferences": [
                {
                    "apiVersion": f"{GROUP}/{VERSION}",
                    "kind": KIND,
                    "name": workload.name,
                    "uid": workload.uid,
                    "controller": True,
                }
            ],
        },
        "data": keys,
    }

"""What a user declares: the spec of a Workload, described field by field.

The descriptions, bounds and rules here are the source of the CRD (see `schema`), so `kubectl explain` shows
these words. Bounds and rules are the API server's business alone: at runtime whatever it has stored is taken
as it is.

This module must not know the platform's wire format nor any default of the platform: a field that is None was
not declared.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from inferencekey_operator.api.markers import WIRE, KnownKeys, one_of, text
from inferencekey_operator.api.policyconfig import BackendConfig, PolicyConfig
from inferencekey_operator.api.validation import NO_TOKEN_AS_KEY, NOT_BLANK, OBJECT_NAME, PROJECT, SECRET_KEY, SLUG


class TaskType(StrEnum):
    """What a workload does (its modality)."""

    TEXT2TEXT = "text2text"
    EMBEDDING = "embedding"
    TEXT2IMAGE = "text2image"
    TEXT2VIDEO = "text2video"
    TEXT2AUDIO = "text2audio"
    IMAGE2IMAGE = "image2image"
    IMAGE2VIDEO = "image2video"
    AUDIO2TEXT = "audio2text"
    OMNI = "omni"
    RERANKER = "reranker"
    CLASSIFICATION = "classification"
    REWARD = "reward"
    FORECAST = "forecast"


class ExecutionPolicy(StrEnum):
    """When a workload runs."""

    FIXED = "fixed"
    SCHEDULED = "scheduled"
    AUTOSCALING = "autoscaling"


@dataclass(frozen=True, slots=True, kw_only=True, config=WIRE)
class TokenSecretRef:
    """Which Secret of the Workload's own namespace holds the platform token."""

    name: Annotated[
        str,
        text(
            "The Secret's name. The operator reads only the names that it was started with (--secret-name), "
            "inferencekey unless told otherwise.",
            253,
            OBJECT_NAME,
        ),
    ] = "inferencekey"
    key: Annotated[
        str,
        text(
            "The key within the Secret that holds the ik_sdk_ token.",
            253,
            SECRET_KEY,
            no_token=NO_TOKEN_AS_KEY,
        ),
    ] = "INFERENCEKEY_SDK_TOKEN"


@dataclass(frozen=True, slots=True, kw_only=True, config=WIRE)
class EndpointSpec:
    """How the endpoint is published in the Workload's namespace."""

    config_map_name: Annotated[
        str | None,
        text(
            "The ConfigMap that the operator writes, for `envFrom`: base URL, project, workload, endpoint "
            "URL, and OPENAI_BASE_URL and OPENAI_MODEL where the modality has OpenAI routes. Default: "
            "<metadata.name>-endpoint.",
            253,
            OBJECT_NAME,
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True, config=WIRE)
class WorkloadSpec:
    """One inference unit: one model, on one backend, in one configuration."""

    model: Annotated[
        str,
        text(
            "The model to serve, in the backend's own spelling: meta-llama/Llama-3.1-8B-Instruct.",
            512,
            NOT_BLANK,
        ),
    ]
    backend: Annotated[
        str,
        text(
            "The serving engine: ollama, vllm, vllm-omni, sglang, llamacpp, stablediffusioncpp, or the slug "
            "of a custom backend that you published on the platform.",
            253,
            NOT_BLANK,
        ),
    ]
    name: Annotated[str | None, text("The name shown on the platform. Default: metadata.name.", 253, NOT_BLANK)] = None
    slug: Annotated[
        str | None,
        text(
            "The workload's identity within its project, and part of its endpoint's address: lower-case "
            "letters and digits with single dashes between them. Default: metadata.name. It can never be "
            "changed.",
            253,
            SLUG,
        ),
    ] = None
    project: Annotated[
        str | None,
        text(
            "The slug of the project on the platform: lower-case letters and digits with single dashes between "
            "them. Default: INFERENCEKEY_PROJECT in the Secret. It can never be changed. A token is good for one "
            "project only.",
            253,
            PROJECT,
        ),
    ] = None
    description: Annotated[str | None, text("What it is for, shown on the platform.", 4096)] = None
    command: Annotated[
        str | None,
        text(
            "The command that starts the model, run as it is by vllm, vllm-omni, sglang, llamacpp and "
            "stablediffusioncpp. Default: the platform's.",
            16384,
        ),
    ] = None
    vllm_version: Annotated[
        str | None,
        text('The version of vLLM, as in "0.11.0". Only for the backends vllm and vllm-omni.', 128),
    ] = None
    config: Annotated[
        dict[str, Any] | None,
        KnownKeys(BackendConfig),
        Field(
            description="Further settings of the backend, in the platform's own spelling. Keys that this "
            "schema does not know are passed on as they are. A key that is not declared is left to the "
            "platform."
        ),
    ] = None
    task_type: Annotated[
        str | None,
        one_of(
            "What the workload does: text2text (the default when it is created), embedding, text2image, "
            "text2video, text2audio, image2image, image2video, audio2text, omni, reranker, classification, "
            "reward or forecast. The platform cannot change it afterwards.",
            TaskType,
        ),
    ] = None
    execution_policy: Annotated[
        str | None,
        one_of(
            "When it runs. fixed: always. scheduled: in a window of time. autoscaling: as the load asks. "
            "Left out: the platform decides.",
            ExecutionPolicy,
        ),
    ] = None
    execution_policy_config: Annotated[
        dict[str, Any] | None,
        KnownKeys(PolicyConfig),
        Field(
            description="The settings of executionPolicy, in the platform's own spelling. fixed: replicas. "
            "scheduled: cron or window. autoscaling: min_workers, max_workers, workers, and "
            "max_hourly_cost_usd, which is required unless workers.source is private. Keys that this schema does "
            "not know are passed on as they are. A key that is not declared is left to the platform."
        ),
    ] = None
    worker_id: Annotated[
        str | None,
        text(
            "Pins the workload to one worker of yours. Usually left out: placement is the platform's job.",
            253,
        ),
    ] = None
    gpu_resource_id: Annotated[
        str | None,
        text("Pins the workload to one GPU. Usually left out: placement is the platform's job.", 253),
    ] = None
    token_secret_ref: Annotated[
        TokenSecretRef,
        Field(
            description="The Secret, in the Workload's own namespace, that holds the platform token "
            "(ik_sdk_…) and may hold INFERENCEKEY_PROJECT and INFERENCEKEY_BASE_URL. Never put a token here."
        ),
    ] = TokenSecretRef()
    deletion_policy: Annotated[
        Literal["Delete", "Orphan"] | None,
        Field(
            description="What becomes of the workload on the platform when this object is deleted. Delete: "
            "it is deleted too. Orphan: it stays. Left out: what the operator made is deleted, what it "
            "found is left."
        ),
    ] = None
    adoption_policy: Annotated[
        Literal["Always", "IfIdentical", "Never"],
        Field(
            description="What to do when the slug exists on the platform already. Always: take it over, "
            "then follow the drift policy. IfIdentical: only if nothing differs, else wait for approval. "
            "Never: wait for approval."
        ),
    ] = "Always"
    suspend: Annotated[
        bool,
        Field(
            description="true: the operator leaves the workload alone until it is false again; deletion still works."
        ),
    ] = False
    endpoint: Annotated[EndpointSpec, Field(description="How the endpoint is published in this namespace.")] = (
        EndpointSpec()
    )

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> WorkloadSpec:
        """The spec as stored; keys that this release does not know are dropped, save inside the two configs.

        Raises ValueError, which names fields and never values, when a field that is known has a value that
        this release cannot read: possible only where the CRD in the cluster is newer than the operator.
        """
        return _SPEC.validate_python(dict(raw))


_SPEC = TypeAdapter(WorkloadSpec)

"""The keys that are known inside `config` and `executionPolicyConfig`, described for `kubectl explain`.

Models of the schema only: at runtime both stay plain dictionaries in the platform's own spelling, so that
what its documentation shows can be pasted, and a key that it gains tomorrow passes through untouched.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from inferencekey_operator.api.markers import items, open_to_more, text
from inferencekey_operator.api.validation import ONE_SCHEDULE

_Count = Annotated[int | None, Field(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True, config=open_to_more())
class BackendConfig:
    """Settings of the backend beside the model. Keys that are not listed here are passed on as they are."""

    command: Annotated[str | None, text("The same as spec.command, which wins where both are given.", 16384)] = None
    vllm_version: Annotated[str | None, text("The same as spec.vllmVersion, which wins where both are given.", 128)] = (
        None
    )
    sglang_version: Annotated[
        str | None, text('The version of SGLang to run, as in "0.4.6". For the backend sglang.', 128)
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True, config=open_to_more())
class CloudPool:
    """Which of the platform's GPUs may be taken, how many, and for how much."""

    gpu_pool: Annotated[
        tuple[Annotated[str, text("The name of a kind of GPU, as the platform lists it.", 128)], ...] | None,
        items(
            "The kinds of GPU to choose from, as the platform names them: [NVIDIA A100-SXM4-80GB]. At least one.",
            64,
        ),
    ] = None
    max_hourly_cost_usd: Annotated[
        float | None,
        Field(description="The most that this pool may cost, in US dollars per hour. More than 0 if given."),
    ] = None
    max_instances: Annotated[_Count, Field(description="The most cloud instances at one time.")] = None
    allowed_cuda_versions: Annotated[
        tuple[Annotated[str, text("A CUDA version.", 128)], ...] | None,
        items('The CUDA versions that the model can run with, as strings: ["13.0"]. Left out: any.', 32),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True, config=open_to_more())
class Workers:
    """Where autoscaling takes its workers from."""

    source: Annotated[
        str | None,
        text(
            "cloud: the platform's GPUs, billed by the hour. private: machines of your own. Any value but private, "
            "and no value, means the cloud.",
            128,
        ),
    ] = None
    cloud_pool: Annotated[CloudPool | None, Field(description="For the cloud: which GPUs, and for how much.")] = None
    private_worker_ids: Annotated[
        tuple[Annotated[str, text("The id of a worker, wrk_…", 128)], ...] | None,
        items("For source private: the ids of your workers that may be used, as in [wrk_1a2b3c].", 256),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True, config=open_to_more(ONE_SCHEDULE))
class PolicyConfig:
    """The settings of the execution policy, in the platform's own spelling."""

    replicas: Annotated[_Count, Field(description="fixed: how many copies run, always.")] = None
    cron: Annotated[
        str | None,
        text('scheduled: when it starts, as a cron expression: "0 2 * * *". Either this or window.', 128),
    ] = None
    window: Annotated[
        str | None,
        text(
            'scheduled: when it runs, as days, hours and time zone: "Mon-Fri 08:00-20:00 Europe/Madrid". '
            "Either this or cron.",
            128,
        ),
    ] = None
    min_workers: Annotated[
        _Count,
        Field(description="autoscaling: how many workers stay without any load. 0 scales to nothing."),
    ] = None
    max_workers: Annotated[_Count, Field(description="autoscaling: the most workers under load.")] = None
    max_hourly_cost_usd: Annotated[
        float | None,
        Field(
            description="autoscaling: the most that the workload may cost, in US dollars per hour, as in "
            "5.0. Required, and more than 0, unless workers.source is private."
        ),
    ] = None
    workers: Annotated[
        Workers | None,
        Field(description="autoscaling: where the workers come from, the cloud or machines of your own."),
    ] = None

"""The custom resource: a Workload as the API server hands it out, read into a frozen value.

Decides what of an object is kept in memory (10,000 of them may be) and what the words of its annotations
mean. It must not know the platform, nor how objects are read or written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Final

from inferencekey_operator.api.keys import Key
from inferencekey_operator.api.spec import EndpointSpec, ExecutionPolicy, TaskType, TokenSecretRef, WorkloadSpec
from inferencekey_operator.api.status import (
    AppliedField,
    Condition,
    Creation,
    Drift,
    DriftClass,
    DriftField,
    EndpointStatus,
    HandledApproval,
    Readiness,
    WorkloadStatus,
)
from inferencekey_operator.redaction import excerpt

__all__ = [
    "APPROVE_PLAN",
    "EXCESS",
    "FINALIZER",
    "GROUP",
    "KIND",
    "ON_DRIFT",
    "PLURAL",
    "RECONCILE_REQUESTED_AT",
    "VERSION",
    "AppliedField",
    "Condition",
    "Creation",
    "Drift",
    "DriftClass",
    "DriftField",
    "EndpointSpec",
    "EndpointStatus",
    "ExecutionPolicy",
    "HandledApproval",
    "OnDrift",
    "Readiness",
    "TaskType",
    "TokenSecretRef",
    "Workload",
    "WorkloadSpec",
    "WorkloadStatus",
    "canonical_slug",
    "stays",
]

GROUP: Final = "inferencekey.com"
VERSION: Final = "v1alpha1"
PLURAL: Final = "workloads"
KIND: Final = "Workload"

FINALIZER: Final = f"{GROUP}/workload"
ON_DRIFT: Final = f"{GROUP}/on-drift"
APPROVE_PLAN: Final = f"{GROUP}/approve-plan"
RECONCILE_REQUESTED_AT: Final = f"{GROUP}/reconcile-requested-at"

EXCESS: Final = "excess"
"""Where `intake` notes, beside the spec, what it left out of it. No stored object has a part of this name."""

_LONGEST: Final = 128
"""Characters of an annotation that are looked at; two that differ only after them are alike."""
_OURS: Final = f"{GROUP}/"


class OnDrift(StrEnum):
    """What to do when the declaration and the platform differ: the value of the annotation `ON_DRIFT`."""

    RECONCILE = "Reconcile"
    FAIL = "Fail"
    DRY_RUN = "DryRun"
    WARN = "Warn"
    IGNORE = "Ignore"

    @classmethod
    def parse(cls, text: str) -> OnDrift | None:
        """The policy of that name, as spelled here or in the SDK, in any case; None if there is none."""
        return _POLICIES.get(text.lower())

    @classmethod
    def nearest(cls, text: str) -> OnDrift | None:
        """The policy that was probably meant; None where no name is close."""
        letters = "".join(filter(str.isalpha, text[:64].lower()))
        close = get_close_matches(letters, [policy.lower() for policy in cls], n=1)
        return cls.parse(close[0]) if close else None


_POLICIES = {policy.lower(): policy for policy in OnDrift} | {"dry_run": OnDrift.DRY_RUN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One Workload as it stood when it was read.

    `annotations` holds those of our own group only; `uid` and `resource_version` are opaque; the times are
    aware.
    """

    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    creation_timestamp: datetime
    deletion_timestamp: datetime | None
    finalizers: tuple[str, ...]
    annotations: Mapping[str, str]
    spec: WorkloadSpec
    status: WorkloadStatus
    unreadable: Mapping[str, Any] = field(default_factory=dict)
    """Parts of the stored status that say nothing to this release: whatever is written next replaces them."""
    excess: str = ""
    """What is too much of the declaration to be read, for people; nothing is done for it until that is corrected."""
    vanished: bool = False
    """Whether the object is gone, without the operator having released it: what is left is on the platform."""

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Workload:
        """The object in the API server's JSON form; of the body itself nothing is kept but the two configs.

        Raises ValueError as `WorkloadSpec.parse` does. A status that cannot be read counts as empty.
        """
        metadata = body["metadata"]
        deleted_at = metadata.get("deletionTimestamp")
        status, unreadable = WorkloadStatus.read(body.get("status"))
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
            generation=metadata["generation"],
            creation_timestamp=datetime.fromisoformat(metadata["creationTimestamp"]),
            deletion_timestamp=None if deleted_at is None else datetime.fromisoformat(deleted_at),
            finalizers=tuple(metadata.get("finalizers") or ()),
            annotations=_own(metadata.get("annotations") or {}),
            spec=WorkloadSpec.parse(body["spec"]),
            status=status,
            unreadable=unreadable,
            excess=body.get(EXCESS, ""),
        )

    @property
    def key(self) -> Key:
        """Namespace and name; of one that vanished, its uid too, for another one may have the name by now."""
        return Key(self.namespace, f"{self.name}/{self.uid}" if self.vanished else self.name)

    @property
    def argument(self) -> str:
        """What names it on kubectl's command line."""
        return f"ikw/{self.name} -n {self.namespace}"

    def command_to_set(self, **spec: Any) -> str:
        """What changes these fields of its spec."""
        patch = json.dumps({"spec": spec}, separators=(",", ":"))
        return f"kubectl patch {self.argument} --type merge -p '{patch}'"

    @property
    def effective_name(self) -> str:
        """The display name on the platform."""
        return self.spec.name or self.name

    @property
    def effective_slug(self) -> str:
        """The slug as declared; what was used first is pinned in `status.workload_slug`."""
        return self.spec.slug or self.name

    @property
    def deleting(self) -> bool:
        """Whether a deletion has begun."""
        return self.deletion_timestamp is not None

    @property
    def has_finalizer(self) -> bool:
        """Whether our finalizer is there: the record that the workload was made here, or may have been."""
        return FINALIZER in self.finalizers


def stays(workload: Workload) -> bool:
    """Whether the workload stays on the platform when its Workload is deleted."""
    policy = workload.spec.deletion_policy
    return policy == "Orphan" or (policy is None and workload.status.adopted is True)


def canonical_slug(text: str) -> str:
    """The slug that the platform makes of a text; empty when nothing of it can be part of one."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower()


def _own(annotations: Mapping[str, str]) -> dict[str, str]:
    """Ours alone, and fit to be repeated: others, such as kubectl's copy of the whole object, can be large."""
    return {key: excerpt(value, _LONGEST) for key, value in annotations.items() if key.startswith(_OURS)}

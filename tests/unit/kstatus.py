"""The rules of kstatus for a custom resource: what Flux and Helm's `--wait` make of an object.

The rules of sigs.k8s.io/cli-utils (pkg/kstatus/status) in its order, for kinds that it does not know by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

IN_PROGRESS, FAILED, CURRENT, TERMINATING = "InProgress", "Failed", "Current", "Terminating"


def compute(resource: Mapping[str, Any]) -> str:
    """Deletion first; then whether this generation was seen; then the standard conditions, as they are listed;
    then Ready. What has none of all that counts as done.
    """
    metadata, status = resource["metadata"], resource.get("status", {})
    if metadata.get("deletionTimestamp"):
        return TERMINATING
    seen = status.get("observedGeneration")
    if seen is not None and "generation" in metadata and seen != metadata["generation"]:
        return IN_PROGRESS
    conditions = [(each["type"], each["status"]) for each in status.get("conditions", ())]
    for condition in conditions:
        if condition == ("Reconciling", "True"):
            return IN_PROGRESS
        if condition == ("Stalled", "True"):
            return FAILED
    ready = next((state for kind, state in conditions if kind == "Ready"), "True")
    return CURRENT if ready == "True" else IN_PROGRESS

"""Workloads as the tests write them, and what the API server says to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from subprocess import CompletedProcess
from typing import Any

Kubectl = Callable[..., CompletedProcess[str]]


def manifest(name: str = "support-bot", /, *, kind: str = "Workload", **spec: Any) -> dict[str, Any]:
    """A Workload that is accepted, with `spec` laid over its own; a value of None takes a field out."""
    declared = {"model": "llama-3", "backend": "vllm", **spec}
    return {
        "apiVersion": "inferencekey.com/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {key: value for key, value in declared.items() if value is not None},
    }


def refusal(kubectl: Kubectl, *arguments: str, document: object = None) -> str:
    """What kubectl says when a request is refused, on one line; AssertionError if it is accepted."""
    result = kubectl(*arguments, document=document, check=False)
    assert result.returncode != 0, f"accepted: {result.stdout}"
    return " ".join(result.stderr.split())


def stored(kubectl: Kubectl, name: str = "support-bot", resource: str = "ikw") -> dict[str, Any]:
    """The object as the API server hands it out."""
    found = json.loads(kubectl("get", resource, name, "-o", "json").stdout)
    assert isinstance(found, dict)
    return found

"""What the conformance tests declare, and how they see what was asked of the platform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inferencekey import Backend, WorkloadSpec

from inferencekey_simulator.admin import Admin

PROJECT = "acme"


def spec(**declared: Any) -> WorkloadSpec:
    """Return a declaration, `support-bot` unless something else is said."""
    usual = {"name": "Support bot", "slug": "support-bot", "model": "llama-3", "backend": Backend.VLLM}
    return WorkloadSpec(**{**usual, **declared})


def asked(admin: Admin, action: Callable[[], object]) -> list[tuple[str, Any]]:
    """Do something and return the operation and the body of each request it made."""
    before = admin.last()
    action()
    return [(each["operation"], each["body"]) for each in admin.requests(since=before)]

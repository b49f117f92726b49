"""How the platform behaves when nothing is wrong with it, in the words of the simulator's settings."""

from __future__ import annotations

from typing import Any

NORMAL: dict[str, Any] = {
    "list_lag": {"create": 0.0, "update": 0.0, "delete": 0.0},
    "stale_replicas": False,
    "clock_skew": 0.0,
    "date_header": "platform",
    "created_at": "utc",
    "normalise": (),
    "deletion": "now",
    "readiness": {"restart_on_update": True},
}
"""How the platform behaves when nothing is wrong with it."""

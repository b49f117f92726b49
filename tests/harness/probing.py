"""What an operator tells of itself at its metrics address, and a port for that.

Knows one metric, by which it can be seen from the outside whether every Workload was looked at.
"""

from __future__ import annotations

import random
import socket
from contextlib import suppress

import httpx
from prometheus_client.parser import text_string_to_metric_families


def free_port() -> int:
    """A port that is free now, and below those that the kernel takes for outgoing connections."""
    for port in random.sample(range(20_000, 30_000), k=100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no free port among 100 tried")


def looks(port: int) -> int:
    """How often a Workload was looked at by this process; 0 while it does not tell."""
    try:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    except httpx.TransportError:
        return 0
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples]
    return round(sum(sample.value for sample in samples if sample.name == "inferencekey_looks_total"))

"""One platform, connected: the calls and the readiness streams, each over connections of their own.

A stream holds a connection for minutes, and must not take one from the calls.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from inferencekey_operator.inferencekey.calls import open_http
from inferencekey_operator.inferencekey.client import PlatformClient
from inferencekey_operator.inferencekey.egress import Egress
from inferencekey_operator.inferencekey.readiness import Phase, phases

CALLS = 256
"""Connections for calls; how many are open is bounded per project, so that a slow one leaves the others theirs."""
STREAMS = 48
"""Readiness streams that may be open at once."""


class Connection(PlatformClient):
    """The control plane at `base_url`; `timeout` in seconds bounds each write, which `permit` may forbid."""

    def __init__(self, base_url: str, timeout: float, permit: Callable[[], None], egress: Egress) -> None:
        calls, streams = (open_http(timeout, egress=egress, connections=most) for most in (CALLS, STREAMS))
        self._pools = calls, streams
        super().__init__(base_url, self._pools[0], write_deadline=timeout, permit=permit)

    def phases(self, token: str, project: str, slug: str) -> AsyncGenerator[Phase, None]:
        """Open one readiness stream."""
        return phases(self._pools[1], self.base_url, token, project, slug)

    async def close(self) -> None:
        """No further call."""
        for pool in self._pools:
            await pool.aclose()

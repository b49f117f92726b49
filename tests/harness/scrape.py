"""What a process of the operator shows at `--bind-address`: metrics as numbers, probes as verdicts."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


def free_port() -> int:
    """A port that is free now, and below those that the kernel takes for outgoing connections.

    Some tests seed the common random numbers, and two processes must not draw the same port.
    """
    for port in random.SystemRandom().sample(range(20_000, 30_000), k=100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no free port among 100 tried")


@dataclass(frozen=True)
class Scrape:
    """What one port shows, asked anew each time."""

    port: int

    @property
    def option(self) -> str:
        """For the command line of the operator."""
        return f"--bind-address=127.0.0.1:{self.port}"

    def text(self) -> str:
        """The metrics as Prometheus reads them; empty while nobody answers."""
        try:
            return self._get("metrics").text
        except httpx.TransportError:
            return ""

    def value(self, name: str, **labels: str) -> float | None:
        """The sum of all samples of this name that have these labels; None where there is none."""
        found = [sample.value for sample in self.samples() if sample.name == name and _has(sample, labels)]
        return sum(found) if found else None

    def labels(self, name: str) -> list[dict[str, str]]:
        """The labels of all samples of this name."""
        return [sample.labels for sample in self.samples() if sample.name == name]

    def samples(self) -> list[Sample]:
        """Everything that is shown."""
        return [sample for family in text_string_to_metric_families(self.text()) for sample in family.samples]

    def looks(self) -> float:
        """How often a Workload was looked at by this process; 0 while it does not tell."""
        return self.value("inferencekey_reconciles_total") or 0

    def probe(self, path: str) -> tuple[int, str]:
        """Status and words of a probe; 0 while nobody answers."""
        try:
            answer = self._get(path)
        except httpx.TransportError as error:
            return 0, str(error)
        return answer.status_code, answer.text

    def _get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}/{path}", trust_env=False, timeout=20.0)


def _has(sample: Sample, labels: dict[str, str]) -> bool:
    return labels.items() <= sample.labels.items()

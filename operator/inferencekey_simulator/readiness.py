"""From nothing to serving: which phase a workload is in at a given time.

Decides the phase, its message and step, and when it will change by itself. Pure: the time is a parameter,
and who listens to changes is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from inferencekey_simulator.settings import Building, Phase, ReadinessSettings

PHASES: tuple[Phase, ...] = get_args(Phase)
BUILDING: tuple[Building, ...] = get_args(Building)
TERMINAL = frozenset({"ready", "error"})
STEPS = ("pull_image", "load_weights", "start_server")

MESSAGES: dict[str, str] = {
    "scheduling": "Waiting for a worker",
    "provisioning": "Provisioning a GPU",
    "bootstrapping": "Starting the runtime",
    "ready": "Serving",
    "error": "The workload failed to start",
}


@dataclass(frozen=True)
class Reading:
    """Where a workload stands, and in how many seconds that changes by itself (None: not at all)."""

    phase: Phase
    message: str
    step: str | None = None
    changes_in: float | None = None

    def event(self, elapsed: float) -> dict[str, Any]:
        """Return the data of a readiness event; `elapsed` is seconds since the stream was opened."""
        data = {"phase": self.phase, "message": self.message, "elapsed_ms": round(elapsed * 1000)}
        return data | ({"step": self.step} if self.step else {})


@dataclass(frozen=True)
class Held:
    """A phase set by hand: it stays until it is set again."""

    phase: Phase
    message: str | None = None
    step: str | None = None

    def read(self, now: float) -> Reading:
        """Return the phase, at whatever time."""
        return Reading(self.phase, self.message or MESSAGES[self.phase], self.step)


@dataclass(frozen=True)
class Progress:
    """A workload on its way, begun at a monotonic time, with the settings of that moment."""

    started: float
    settings: ReadinessSettings

    def read(self, now: float) -> Reading:
        """Return where the workload stands at a monotonic time."""
        at = now - self.started
        for phase in BUILDING:
            length: float = getattr(self.settings, phase)
            if phase == self.settings.hold_at:
                return Reading(phase, MESSAGES[phase])
            if at < length:
                return _building(phase, at, length)
            at -= length
        if self.settings.error is not None:
            return Reading("error", self.settings.error)
        return Reading("ready", MESSAGES["ready"])


Readiness = Held | Progress


def _building(phase: Phase, at: float, length: float) -> Reading:
    """Return the reading `at` seconds into a phase; bootstrapping has steps of equal length."""
    if phase != "bootstrapping":
        return Reading(phase, MESSAGES[phase], changes_in=length - at)
    each = length / len(STEPS)
    number = min(int(at / each), len(STEPS) - 1)
    return Reading(phase, MESSAGES[phase], STEPS[number], (number + 1) * each - at)

"""Whether this process is as it should be: started, alive, ready.

- *Started*: everything was listed, and the watch of Workloads is open. For a start-up probe.
- *Alive*: nothing is wrong that a restart would mend. An API server or a platform that does not answer is no reason
  to restart. For a liveness probe.
- *Ready*: started and alive, the Lease can be seen, the cluster knows Workloads, and the API server takes the
  credentials. A standby is ready, for it can take over at once: so a rollout of two replicas goes on while one of them
  works, and a disruption budget counts both. For a readiness probe.

Facts come from the parts; this module weighs them, and touches nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from inferencekey_operator.api.workload import PLURAL
from inferencekey_operator.controller.controller import Controller
from inferencekey_operator.controller.kopf_watch import NO_CRD
from inferencekey_operator.election.leadership import Leadership
from inferencekey_operator.kube.watch_activity import Pulse

DEAF = 400.0
"""Seconds. Each watch ends after 300 and is opened again; a dead connection is noticed after 330 at the latest."""
STUCK = 900.0
"""Seconds. No look at a Workload takes so long: every call in it has a limit of its own."""
LEASE_UNSEEN = 30.0
"""Seconds. A candidate asks for the Lease each second, a leader each other second."""

Verdict = Mapping[str, str]
"""By check, what is wrong; empty where nothing is."""


@dataclass(slots=True)
class Health:
    """Asked by the probes."""

    controller: Controller
    leadership: Leadership
    pulse: Pulse
    longest_resync_step: float
    """Seconds between two steps of the resync, at most."""
    login_trouble: Callable[[], str] = lambda: ""
    """What is wrong with the credentials for the API server."""
    listed: bool = False
    """Set by whoever starts the process, once everything was listed."""
    served: bool = True
    """Whether the API server serves Workloads, as far as their watch knows: the CRD may be deleted."""

    def note_served(self, served: bool) -> None:
        """Whether the API server serves Workloads, by now."""
        self.served = served

    def started(self) -> Verdict:
        """For a start-up probe."""
        return {"lists": "" if self.listed else "not everything was listed yet", "workloads": self._watching()}

    def alive(self) -> Verdict:
        """For a liveness probe."""
        return {
            "watches": self._deaf(),
            "resync": self._resync(),
            "work": self._work(),
            "candidacy": "has ended" if self.leadership.ended else "",
        }

    def ready(self) -> Verdict:
        """For a readiness probe."""
        silence = self.leadership.lease_silence
        unseen = f"the API server told nothing about it for {silence:.0f} s" if silence > LEASE_UNSEEN else ""
        crd = "" if self.served else NO_CRD
        return {**self.started(), **self.alive(), "lease": unseen, "crd": crd, "credentials": self.login_trouble()}

    def _watching(self) -> str:
        return "" if PLURAL in self.pulse.silences() else "the watch of Workloads is not open yet"

    def _deaf(self) -> str:
        if not self.pulse.answering:
            return ""
        deaf = {resource: seconds for resource, seconds in self.pulse.deaf_for().items() if seconds > DEAF}
        if not self.served:
            deaf.pop(PLURAL, None)
        return ", ".join(f"nothing heard of {resource} for {seconds:.0f} s" for resource, seconds in deaf.items())

    def _resync(self) -> str:
        at = self.controller.resync_at
        idle = asyncio.get_running_loop().time() - at
        late = at > float("-inf") and idle > self.longest_resync_step
        return f"the resync made no progress for {idle:.0f} s" if late else ""

    def _work(self) -> str:
        longest = self.controller.queue.longest_running
        return f"a reconcile has gone on for {longest:.0f} s" if longest > STUCK else ""

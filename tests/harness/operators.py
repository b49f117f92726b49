"""The operator as a process of its own, under its ServiceAccount, that tests start, kill, pause and start again.

Knows how it is run and that it leads once it holds the Lease; nothing of what it does then.
"""

from __future__ import annotations

import os
import re
import signal
from dataclasses import dataclass, replace
from pathlib import Path

from harness import permissions
from harness.api import LEASES, Api, Json
from harness.lives import Begin, Life, forked
from harness.waiting import eventually

USUAL = ("--list-interval=250ms", "--client-timeout=5s", "--uncertain-create-timeout=6s", "--deletion-grace=5s")
"""Short durations, so that what takes time in life can be waited for."""

_TOKEN = re.compile(r"ik_(?:sdk|live)_[0-9a-f]{8}_[0-9a-f]{4,}")
_STOP_SECONDS = 15.0


@dataclass(frozen=True)
class Surroundings:
    """What an operator is started with."""

    api: Api
    kubeconfig: Path
    platform_url: str
    log: Path
    lease: str = permissions.NAME
    lease_namespace: str = permissions.NAMESPACE
    begin: Begin = forked

    @property
    def lease_path(self) -> str:
        """Where the Lease is that it works under."""
        return f"{LEASES}/namespaces/{self.lease_namespace}/leases/{self.lease}"


class Operator:
    """One operator, in as many lives as a test wants; all of them write to the same log."""

    def __init__(self, surroundings: Surroundings, *options: str) -> None:
        self._around = surroundings
        self._options = options
        self._process: Life | None = None
        self._sent_away = True
        surroundings.log.touch()

    @property
    def kubeconfig(self) -> Path:
        """For whoever wants to be the operator's ServiceAccount."""
        return self._around.kubeconfig

    @property
    def pid(self) -> int:
        """Of the life that it is in, or was in last."""
        assert self._process is not None, "it was never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether there is a process that has not ended."""
        return self._process is not None and self._process.poll() is None

    def lease(self) -> Json | None:
        """The Lease that it works under; None if there is none."""
        return self._around.api.find(self._around.lease_path)

    @property
    def leads(self) -> bool:
        """Whether the Lease names it."""
        lease = self.lease()
        holder = (lease or {}).get("spec", {}).get("holderIdentity") or ""
        return self._process is not None and f"_{self._process.pid}_" in holder

    def start(self, within: float = 60.0) -> None:
        """Back when it leads."""
        before = self._term()
        self._launch()
        eventually(lambda: not self.running or self._term() not in (None, before), within=within)
        self._assert_not_ended()

    def stand_by(self) -> None:
        """Back when it waits for the Lease that another one has."""
        seen = len(self.log())
        self._launch()
        eventually(lambda: not self.running or " waits: the Lease " in self.log()[seen:], within=120)
        self._assert_not_ended()

    def _launch(self) -> None:
        assert self._sent_away, "there is one already"
        self._process = self._around.begin(self._arguments(), self._environment(), self._around.log)
        self._sent_away = False

    def see_to_it(self) -> None:
        """It leads when this is back, also if a test killed it before."""
        self._assert_not_ended()
        if self._sent_away:
            self.forget_lease()
            self.start()

    def kill(self) -> None:
        """SIGKILL: it ends where it stands, and leaves its Lease to run out."""
        self._send_away(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM: it ends in its own time; its exit code."""
        return self._send_away(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: its clock goes on, it does not."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def forget_lease(self) -> None:
        """Spare the next one the wait for the Lease of the one that was killed."""
        self._around.api.delete(self._around.lease_path)

    def twin(self, name: str = "twin", *options: str) -> Operator:
        """Another one, started in the same way but for further options, with a log of its own; not started yet."""
        log = self._around.log.with_name(f"{self._around.log.name}-{name}")
        return Operator(replace(self._around, log=log), *self._options, *options)

    def log(self) -> str:
        """Everything that was logged in all lives."""
        return self._around.log.read_text(errors="replace")

    def tail(self, lines: int = 60) -> str:
        """The end of the log."""
        return "\n".join(self.log().splitlines()[-lines:])

    def close(self) -> None:
        """End it; AssertionError if it ended by itself, or logged a token or an error that was not foreseen."""
        self._assert_not_ended()
        if not self._sent_away:
            self.resume()
            assert self.stop() == 0, self.tail()
        log = self.log()
        before, found, after = log.partition("Traceback")
        assert not found, f"{before[-500:]}{found}{after[:4000]}"
        assert not _TOKEN.search(log), "a token in the log"

    def _arguments(self) -> list[str]:
        return ["run", f"--lease-namespace={self._around.lease_namespace}", *self._options]

    def _environment(self) -> dict[str, str]:
        """Nothing of ours but the path: no proxy, no settings."""
        return {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self._around.log.parent),
            "KUBECONFIG": str(self._around.kubeconfig),
            "INFERENCEKEY_BASE_URL": self._around.platform_url,
        }

    def _term(self) -> str | None:
        """When the present holder of the Lease took it; None where nobody holds it."""
        lease = self._around.api.find(self._around.lease_path)
        return lease["spec"]["acquireTime"] if lease and lease["spec"].get("holderIdentity") else None

    def _signal(self, number: signal.Signals) -> None:
        self._assert_not_ended()
        assert self._process is not None
        self._process.send_signal(number)

    def _send_away(self, number: signal.Signals) -> int:
        self._signal(number)
        self._sent_away = True
        assert self._process is not None
        return self._process.wait(_STOP_SECONDS)

    def _assert_not_ended(self) -> None:
        assert self._sent_away or self.running, f"it ended by itself:\n{self.tail()}"

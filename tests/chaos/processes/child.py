"""A process of ours that is killed, stopped, and begun again, be it by the plan or because it ended by itself.

Decides what may end by itself: an operator that finds no API server at its start ends with 1, and whoever runs it
starts it again. Anything else that ends is told.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.lives import Life, forked

_KILLED_SECONDS = 10.0


class Child:
    """One name, in as many lives as it takes. Safe to use from several threads."""

    def __init__(self, name: str, module: str, arguments: Callable[[], list[str]], log: Path) -> None:
        self.name, self.log = name, log
        self._module, self._arguments = module, arguments
        self._environment: Mapping[str, str] = {}
        self._life: Life | None = None
        self._taken = True
        self._lock = threading.RLock()
        self.ended_by_itself: list[int] = []
        """Exit codes."""
        log.touch()

    def surround(self, environment: Mapping[str, str]) -> None:
        """What is all that its next lives see of ours."""
        self._environment = dict(environment)

    @property
    def pid(self) -> int:
        """Of the life that it is in, or was in last; 0 before the first."""
        return self._life.pid if self._life is not None else 0

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        with self._lock:
            return self._life is not None and self._life.poll() is None

    def start(self) -> None:
        """A new life; back before it does anything."""
        with self._lock:
            self._life = forked(self._arguments(), self._environment, self.log, module=self._module)
            self._taken = False

    def kill(self) -> None:
        """SIGKILL; gone when this is back."""
        with self._lock:
            self._taken = True
            if self._life is not None and self._life.poll() is None:
                self._life.send_signal(signal.SIGKILL)
                self._life.wait(_KILLED_SECONDS)

    def pause(self) -> None:
        """SIGSTOP."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def look_after(self) -> None:
        """Begin it again if it ended by itself."""
        with self._lock:
            code = None if self._taken or self._life is None else self._life.poll()
            if code is not None:
                self.ended_by_itself.append(code)
                self.start()

    def tail(self, lines: int = 40) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _signal(self, number: signal.Signals) -> None:
        with self._lock:
            if self.running and self._life is not None:
                self._life.send_signal(number)

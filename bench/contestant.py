"""What is measured, as the scenarios see it: a process that starts, works on Workloads, and stops.

Knows no scenario. Who the contestants are is said in `operator` and `rivals`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar


class Contestant(ABC):
    """A process of its own, which asks things of Kubernetes under a user name of its own."""

    name: ClassVar[str]
    reconciles: ClassVar[bool] = True
    """False for what writes once and never looks again: it is only measured while a fleet is created."""
    rests: ClassVar[bool] = True
    """Whether it comes to rest after some work: then that is waited for."""

    many_teams: ClassVar[bool] = True
    """Whether it serves more than one project."""

    user: str

    @property
    @abstractmethod
    def pid(self) -> int:
        """Of the process that runs, or ran last."""

    @abstractmethod
    def start(self) -> None:
        """Back when it is at work."""

    @abstractmethod
    def stop(self) -> None:
        """Ends it, in order."""

    @abstractmethod
    def looked(self) -> int:
        """How often it has looked at a Workload since its start."""

    @abstractmethod
    def check(self) -> None:
        """Raises where it has ended by itself."""

    @abstractmethod
    def close(self) -> None:
        """The last one: what it logged is looked through for what should not be there."""

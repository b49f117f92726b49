"""Everything that a look at a Workload reads and writes, wired once at the start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from inferencekey_operator.claims import Claims
from inferencekey_operator.credentials import Allowed
from inferencekey_operator.events import Recorder
from inferencekey_operator.inferencekey.roster import Rosters
from inferencekey_operator.publication import Publication
from inferencekey_operator.reporter import Reporter
from inferencekey_operator.serving import Serving
from inferencekey_operator.settings import Settings
from inferencekey_operator.store import Store
from inferencekey_operator.watches import Secrets


class AskedAgainError(Exception):
    """Too early to tell: the key comes back in `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(slots=True)
class Term:
    """The time in which this process acts."""

    began: float = float("inf")
    """In the loop's time. What another process began before may still be under way."""
    creates_from: float = float("inf")
    """When nothing that a former leader sent can still arrive."""


@dataclass(frozen=True, slots=True)
class World:
    """The parts, by what they are for."""

    settings: Settings
    store: Store
    reporter: Reporter
    secrets: Secrets
    namespace_policies: Callable[[str], str | None]
    rosters: Rosters
    claims: Claims
    publication: Publication
    serving: Serving
    recorder: Recorder
    term: Term

    @property
    def allowed(self) -> Allowed:
        """Which Secrets and platforms may be used."""
        return Allowed(self.settings.base_url, self.settings.secret_name, self.settings.allow_base_url)

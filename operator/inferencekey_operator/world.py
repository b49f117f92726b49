"""Everything that a look at a Workload reads and writes, wired once at the start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from inferencekey_operator.claims import Claims
from inferencekey_operator.credentials import Allowed
from inferencekey_operator.events import Recorder
from inferencekey_operator.inferencekey.roster import Rosters
from inferencekey_operator.installations import Installations
from inferencekey_operator.keys import Key
from inferencekey_operator.precedence import Precedence
from inferencekey_operator.publication import Publication
from inferencekey_operator.reporter import Reporter
from inferencekey_operator.serving import Serving
from inferencekey_operator.settings import Settings
from inferencekey_operator.shards import shard_of
from inferencekey_operator.store import Store
from inferencekey_operator.watches import Secrets


class AskedAgainError(Exception):
    """Too early to tell: the key comes back in `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


_DECISION: ContextVar[Callable[[], None] | None] = ContextVar("decision", default=None)


@contextmanager
def deciding(check: Callable[[], None]) -> Iterator[None]:
    """`check` raises where a write in this context is not wanted any more: asked right before its bytes go out."""
    token = _DECISION.set(check)
    try:
        yield
    finally:
        _DECISION.reset(token)


def check_decision() -> None:
    """Raises what the decision behind the present write raises, if it does not hold any more."""
    check = _DECISION.get()
    if check is not None:
        check()


@dataclass(slots=True)
class Term:
    """The time in which this process acts for one shard."""

    began: float = float("inf")
    """In the loop's time; infinite while it does not. What another process began before may still be under way."""
    creates_from: float = float("inf")
    """When nothing that a former leader sent can still arrive."""


class Terms:
    """By shard, and so by namespace. With one shard, all is ours, if not at all times."""

    def __init__(self, shards: int = 1) -> None:
        self.of_shard = [Term() for _ in range(shards)]

    def of(self, namespace: str) -> Term:
        """That of the namespace's shard."""
        return self.of_shard[shard_of(namespace, len(self.of_shard))]

    def ours(self, key: Key) -> bool:
        """Whether we look at what is in that namespace; whether we may is asked of the Lease."""
        return len(self.of_shard) == 1 or self.held(key)

    def held(self, key: Key) -> bool:
        """Whether this process acts for that namespace now: a standby does not."""
        return self.of(key.namespace).began < float("inf")

    def foreign(self, key: Key) -> bool:
        """Whether that is for another replica."""
        return not self.ours(key)


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
    terms: Terms
    installations: Installations
    precedence: Precedence | None = None
    """Which creation was begun first, where several replicas create."""

    @property
    def allowed(self) -> Allowed:
        """Which Secrets and platforms may be used."""
        return Allowed(self.settings.base_url, self.settings.secret_name, self.settings.allow_base_url)

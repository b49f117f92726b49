"""Everything that a look at a Workload reads and writes, wired once at the start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from inferencekey_operator.cache.claims import Claims
from inferencekey_operator.cache.creation_order import Precedence
from inferencekey_operator.cache.informers import Secrets
from inferencekey_operator.cache.installations import Installations
from inferencekey_operator.cache.readiness import Serving
from inferencekey_operator.cache.workloads import Store
from inferencekey_operator.election.terms import Terms
from inferencekey_operator.inferencekey.projects import Projects
from inferencekey_operator.kube.recorder import Recorder
from inferencekey_operator.plan.credentials import Allowed
from inferencekey_operator.reconcile.config_map import Publication
from inferencekey_operator.reconcile.status_writer import Reporter
from inferencekey_operator.settings import Settings


class RequeueAfter(Exception):
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


@dataclass(frozen=True, slots=True)
class Context:
    """The parts, by what they are for."""

    settings: Settings
    store: Store
    reporter: Reporter
    secrets: Secrets
    namespace_policies: Callable[[str], str | None]
    projects: Projects
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

"""Five policies × five classes, each cell on a Workload of its own: the verdict, what was told, and what was sent.

All cells stand side by side in one project, are moved at once, and are looked at again after further intervals: a
second write, a second Event or a status that moves while nothing happens would show there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import product

import pytest

from controlplane.access import Cluster
from harness import operators
from harness.api import Api
from harness.drifting import drift, told, until_drift, until_policy, until_told, version
from harness.operators import Operator
from harness.team import ON_DRIFT, Team
from harness.teams import another_team
from harness.waiting import equals, eventually
from inferencekey_simulator.admin import Admin

POLICIES = ("Reconcile", "Fail", "DryRun", "Warn", "Ignore")
CLASSES = ("NotCreated", "SpecChange", "OutOfBand", "Both", "Missing")
DEFAULT = "Warn"
SOON = 60.0
"""Seconds in which an annotation takes effect: far below the round that looks at everything."""


@pytest.fixture(scope="module")
def operator_options() -> tuple[str, ...]:
    """With a default policy that is not the usual one; every cell states its own."""
    return (*operators.USUAL, f"--on-drift={DEFAULT}")


@dataclass(frozen=True)
class Cell:
    """What is to be seen of one Workload: the documented table, word by word."""

    verdict: str
    drifted: str | None = None
    told: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()

    @property
    def stalled(self) -> bool:
        """Whether nothing changes until somebody acts: what the table says, not the operator."""
        return self.verdict in ("False DriftDetected", "False WorkloadMissing")


CREATED = Cell("True Ready", told=("Normal Created", "Normal Ready"), writes=("create",))
REPAIRED = Cell("True Ready", told=("Normal DriftRepaired", "Normal Ready"), writes=("update",))
UPDATED = Cell("True Ready", told=("Normal Updated", "Normal Ready"), writes=("update",))


def _held(verdict: str, drifted: str, *events: str) -> Cell:
    return Cell(verdict, drifted, events)


TABLE = {
    ("NotCreated", "Reconcile"): CREATED,
    ("NotCreated", "Fail"): CREATED,
    ("NotCreated", "DryRun"): _held("False PlanPending", "NotCreated", "Normal PlanPending"),
    ("NotCreated", "Warn"): CREATED,
    ("NotCreated", "Ignore"): CREATED,
    ("OutOfBand", "Reconcile"): REPAIRED,
    ("OutOfBand", "Fail"): _held("False DriftDetected", "OutOfBand", "Warning DriftDetected"),
    ("OutOfBand", "DryRun"): _held("True Ready", "OutOfBand", "Warning DriftDetected"),
    ("OutOfBand", "Warn"): _held("True Ready", "OutOfBand", "Warning DriftDetected"),
    ("OutOfBand", "Ignore"): _held("True Ready", "OutOfBand"),
    ("SpecChange", "Reconcile"): UPDATED,
    ("SpecChange", "Fail"): _held("False DriftDetected", "SpecChange", "Warning DriftDetected"),
    ("SpecChange", "DryRun"): _held("False PlanPending", "SpecChange", "Normal PlanPending"),
    ("SpecChange", "Warn"): _held("False PlanPending", "SpecChange", "Warning PlanPending"),
    ("SpecChange", "Ignore"): _held("True DriftTolerated", "SpecChange"),
    ("Both", "Reconcile"): UPDATED,
    ("Both", "Fail"): _held("False DriftDetected", "Both", "Warning DriftDetected"),
    ("Both", "DryRun"): _held("False PlanPending", "Both", "Normal PlanPending"),
    ("Both", "Warn"): _held("False PlanPending", "Both", "Warning PlanPending"),
    ("Both", "Ignore"): _held("True DriftTolerated", "Both"),
    ("Missing", "Reconcile"): CREATED,
    ("Missing", "Fail"): _held("False WorkloadMissing", "Missing", "Warning WorkloadMissing"),
    ("Missing", "DryRun"): _held("False PlanPending", "Missing", "Warning PlanPending"),
    ("Missing", "Warn"): _held("False WorkloadMissing", "Missing", "Warning WorkloadMissing"),
    ("Missing", "Ignore"): _held("False WorkloadMissing", "Missing"),
}
CELLS = list(product(CLASSES, POLICIES))


def _name(cell: tuple[str, str]) -> str:
    return "-".join(cell).lower()


@dataclass(frozen=True)
class Before:
    """What there was when everything was served and nothing was moved yet."""

    events: dict[str, Counter[str]]
    requests: int


@dataclass(frozen=True)
class Seen:
    """All cells after they were moved, and left alone for some intervals."""

    team: Team
    before: Before
    versions: dict[str, str]

    def verdict(self, cell: tuple[str, str]) -> str:
        """The state and the reason of Ready."""
        return self.team.verdict(_name(cell))

    def told(self, cell: tuple[str, str]) -> Counter[str]:
        """What was told since the cell was moved."""
        return told(self.team, _name(cell), self.before.events.get(_name(cell)))

    def writes(self, cell: tuple[str, str]) -> tuple[str, ...]:
        """What was sent to the platform about it since then."""
        calls = self.team.calls("create", "update", "delete", since=self.before.requests)
        return tuple(call["operation"] for call in calls if call["slug"] == _name(cell))


@pytest.fixture(scope="module")
def seen(module_operator: Operator, control_plane: Cluster, api: Api, platform: Admin) -> Iterator[Seen]:
    """All cells, moved, settled, and left alone for some intervals since."""
    if not module_operator.running:
        module_operator.forget_lease()
        module_operator.start()
    with another_team(control_plane, api, platform) as team:
        before = _serve_all(team)
        _move_all(team)
        found = Seen(team, before, {})
        with suppress(AssertionError):  # what did not come is told by the cell's own test
            for cell in CELLS:
                eventually(partial(_as_expected, found, cell))
        team.pass_intervals(1)
        found.versions.update({_name(cell): version(team, _name(cell)) for cell in CELLS})
        team.pass_intervals(3)
        yield found


def _serve_all(team: Team) -> Before:
    """Everything that is to exist before it is moved, and the policies in force."""
    existing = [cell for cell in CELLS if cell[0] != "NotCreated"]
    for cell in existing:
        team.declare(_name(cell), description="For customers")
    for cell in existing:
        team.until_ready(_name(cell))
        team.annotate(_name(cell), {ON_DRIFT: cell[1]})
    for cell in existing:
        until_policy(team, _name(cell), cell[1])
        until_told(team, _name(cell), *CREATED.told)
    return Before({_name(cell): Counter(CREATED.told) for cell in existing}, team.platform.last())


def _move_all(team: Team) -> None:
    """Each cell moves as its class says; the two sides of `Both` behind a suspension."""
    for policy in POLICIES:
        team.edit(_name(("Both", policy)), suspend=True)
        team.platform.edit(team.name, _name(("OutOfBand", policy)), description="by hand")
        team.platform.remove(team.name, _name(("Missing", policy)))
        team.edit(_name(("SpecChange", policy)), model="llama-4")
        team.declare(_name(("NotCreated", policy)), {ON_DRIFT: policy})
    for policy in POLICIES:
        name = _name(("Both", policy))
        _until_suspended(team, name)
        team.platform.edit(team.name, name, model_name="by-hand")
        team.edit(name, suspend=False, model="llama-4")


def _until_suspended(team: Team, name: str) -> None:
    eventually(lambda: "Suspended" in team.conditions(name))


def _as_expected(found: Seen, cell: tuple[str, str]) -> bool:
    want = TABLE[cell]
    same = found.verdict(cell) == want.verdict and drift(found.team, _name(cell)).get("class") == want.drifted
    return same and found.writes(cell) == want.writes and found.told(cell) == Counter(want.told)


@pytest.mark.parametrize("cell", CELLS, ids=_name)
def test_a_cell_of_the_table(seen: Seen, cell: tuple[str, str]) -> None:
    """Ready, Stalled, the reason, the class and the plan are as the table says."""
    name, want = _name(cell), TABLE[cell]
    conditions = seen.team.conditions(name)
    assert seen.verdict(cell) == want.verdict
    assert ("Stalled" in conditions) == want.stalled
    assert "Reconciling" not in conditions
    drifted = conditions["Drifted"]
    assert (drifted["status"], drifted["reason"]) == (("True", want.drifted) if want.drifted else ("False", "InSync"))
    now = drift(seen.team, name)
    assert (now.get("class"), now["policy"], "planId" in now) == (want.drifted, cell[1], want.drifted is not None)


@pytest.mark.parametrize("cell", CELLS, ids=_name)
def test_what_was_sent_and_told_for_it(seen: Seen, cell: tuple[str, str]) -> None:
    """The platform got exactly the writes of the table, and the Events are its, once, over many further looks."""
    assert seen.writes(cell) == TABLE[cell].writes
    assert seen.told(cell) == Counter(TABLE[cell].told)


def test_nothing_is_written_about_what_is_held(seen: Seen) -> None:
    """Interval after interval each Workload stands as it stood, to the last byte."""
    assert {_name(cell): version(seen.team, _name(cell)) for cell in CELLS} == seen.versions


def test_the_platform_keeps_what_is_held(seen: Seen) -> None:
    """What a policy withheld is not there; what it did not is."""
    live = {row["slug"]: row["fields"] for row in seen.team.platform.workloads(seen.team.name)}
    for policy in POLICIES:
        applied = policy == "Reconcile"
        assert live[_name(("OutOfBand", policy))]["description"] == ("For customers" if applied else "by hand")
        assert live[_name(("SpecChange", policy))]["model_name"] == ("llama-4" if applied else "llama-3")
        assert live[_name(("Both", policy))]["model_name"] == ("llama-4" if applied else "by-hand")
    gone = {_name(("Missing", policy)) for policy in POLICIES if policy != "Reconcile"}
    assert set(live) == {_name(cell) for cell in CELLS} - gone - {_name(("NotCreated", "DryRun"))}


@pytest.mark.usefixtures("operator")
def test_the_default_is_the_operators(team: Team) -> None:
    """Where neither the Workload nor its Namespace states a policy, --on-drift does."""
    team.declare("support-bot")
    team.until_ready("support-bot")
    team.platform.edit(team.name, "support-bot", model_name="by-hand")
    assert until_drift(team, "support-bot", "OutOfBand")["policy"] == DEFAULT


@pytest.mark.usefixtures("operator")
def test_the_nearest_annotation_counts(team: Team) -> None:
    """The Namespace's beats the default, the Workload's own beats both, and each takes effect within seconds."""
    team.declare("support-bot")
    team.until_ready("support-bot")
    team.kubectl("annotate", "namespace", team.name, f"{ON_DRIFT}=Fail")
    until_policy(team, "support-bot", "Fail", SOON)
    team.annotate("support-bot", {ON_DRIFT: "Ignore"})
    until_policy(team, "support-bot", "Ignore", SOON)
    team.kubectl("annotate", "namespace", team.name, "--overwrite", f"{ON_DRIFT}=DryRun")
    team.annotate("support-bot", {ON_DRIFT: None})
    until_policy(team, "support-bot", "DryRun", SOON)
    team.kubectl("annotate", "namespace", team.name, f"{ON_DRIFT}-")
    until_policy(team, "support-bot", DEFAULT, SOON)


@pytest.mark.usefixtures("operator")
def test_a_policy_that_changes_is_carried_out_at_once(team: Team) -> None:
    """What was held is applied within seconds of the Namespace's change, and told as it would be under the new one."""
    team.kubectl("annotate", "namespace", team.name, f"{ON_DRIFT}=Ignore")
    team.declare("support-bot")
    team.until_ready("support-bot")
    team.platform.edit(team.name, "support-bot", model_name="by-hand")
    until_drift(team, "support-bot", "OutOfBand")
    since = team.platform.last()
    team.kubectl("annotate", "namespace", team.name, "--overwrite", f"{ON_DRIFT}=Warn")
    eventually(lambda: "Warning DriftDetected" in told(team, "support-bot"), within=SOON)
    assert team.platform_writes(since) == []
    team.kubectl("annotate", "namespace", team.name, "--overwrite", f"{ON_DRIFT}=Reconcile")
    eventually(lambda: team.live("support-bot")["model_name"], equals("llama-3"), within=SOON)
    until_drift(team, "support-bot", None)
    assert team.platform_writes(since) == ["update support-bot"]


@pytest.mark.usefixtures("operator")
def test_any_other_value_touches_nothing(team: Team) -> None:
    """Neither what is new nor what is there is touched; the message says which values there are, and suggests one."""
    values = {"misspelled": "Reconsile", "dashed": "dry-run", "empty": ""}
    meant = {"misspelled": "Reconcile", "dashed": "DryRun", "empty": "DryRun"}
    for name in (*values, "neighbour"):
        team.declare(name)
    team.until_ready("neighbour")
    for name, value in values.items():
        team.until_ready(name)
        team.annotate(name, {ON_DRIFT: value})
        team.until(name, "False InvalidPolicy", within=SOON)
    since = team.platform.last()
    for name, value in values.items():
        team.declare(f"{name}-new", {ON_DRIFT: value})
        team.until(f"{name}-new", "False InvalidPolicy")
        team.platform.edit(team.name, name, model_name="by-hand")
        team.edit(name, description="For customers")
        team.until(name, "False InvalidPolicy")
    team.pass_intervals(2)
    assert team.platform_writes(since) == []
    for name in (*values, *(f"{name}-new" for name in values)):
        message = team.conditions(name)["Stalled"]["message"]
        assert all(policy in message for policy in POLICIES)
        policy = meant[name.removesuffix("-new")]
        assert _typed(team, message) == f"annotate ikw/{name} -n {team.name} --overwrite {ON_DRIFT}={policy}"
        eventually(lambda name=name: "InvalidPolicy" not in str(team.conditions(name)), within=SOON)  # type: ignore[misc]
        team.annotate(name, {ON_DRIFT: "Reconcile"})
        team.until_ready(name, within=SOON)
        assert team.live(name)["model_name"] == "llama-3"


@pytest.mark.usefixtures("operator")
def test_a_namespaces_other_value_touches_nothing(team: Team) -> None:
    """It stops all that state none of their own, names the Namespace in its command, and no other Workload."""
    team.kubectl("annotate", "namespace", team.name, f"{ON_DRIFT}=Never")
    team.declare("stopped")
    team.declare("going", {ON_DRIFT: "Fail"})
    team.until_ready("going")
    team.until("stopped", "False InvalidPolicy")
    assert team.slugs() == ["going"]
    command = _typed(team, team.conditions("stopped")["Stalled"]["message"])
    assert command == f"annotate ns/{team.name} --overwrite {ON_DRIFT}=DryRun"
    team.until("stopped", "False PlanPending", within=SOON)
    assert team.slugs() == ["going"]


@pytest.mark.usefixtures("operator")
def test_the_sdks_spellings_are_accepted(team: Team) -> None:
    """`dry_run` and the others mean the same, in any case, and the status shows the one spelling."""
    spellings = {"reconcile": "Reconcile", "FAIL": "Fail", "dry_run": "DryRun", "DRY_RUN": "DryRun", "ignore": "Ignore"}
    names = {spelling: f"bot-{number}" for number, spelling in enumerate(spellings)}
    for spelling, name in names.items():
        team.declare(name, {ON_DRIFT: spelling})
    for spelling, name in names.items():
        until_policy(team, name, spellings[spelling])


def _typed(team: Team, message: str) -> str:
    """Type the command that a message ends with; without the name of the program."""
    command = message[message.rindex("kubectl ") :].split(maxsplit=1)[1].rstrip(".")
    team.kubectl(*command.split())
    return command

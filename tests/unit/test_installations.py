"""Two operators that write the same statuses: the one that sees the other's write stands back, for a while."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferencekey_operator.api.workload import Workload
from inferencekey_operator.cache.installations import QUIET, Installations
from inferencekey_operator.errors import Actor, OperatorError, Reason
from unit.builders import a_workload

ME, OTHER = "one/inferencekey-operator", "two/inferencekey-operator"
BEFORE = a_workload()


def written(by: str | None, workload: Workload = BEFORE, plans: int = 1) -> Workload:
    """`workload` with another status, which says who wrote it."""
    return replace(workload, status=replace(workload.status, operator=by, plans_applied=plans))


def contested(installations: Installations, at: float, workload: Workload = BEFORE) -> OperatorError | None:
    """What stops a Workload of that namespace."""
    try:
        installations.refuse_the_contested(workload, at)
    except OperatorError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("why", "before", "after", "stops"),
    [
        ("the other operator wrote", BEFORE, written(OTHER), True),
        ("and again", written(OTHER), written(OTHER, plans=2), True),
        ("after this one", written(ME), written(OTHER, plans=2), True),
        ("this one wrote", BEFORE, written(ME), False),
        ("this one took over", written(OTHER), written(ME, plans=2), False),
        ("a release that did not say so", BEFORE, written(None), False),
        ("only the spec moved, under the status of the other", written(OTHER), written(OTHER), False),
        ("it was there at the start: nobody saw it written", None, written(OTHER), False),
        ("it went", written(OTHER), None, False),
        ("another object of that name", BEFORE, written(OTHER, replace(BEFORE, uid="another")), False),
    ],
)
def test_what_counts_as_a_write_of_another_operator(
    why: str, before: Workload | None, after: Workload | None, stops: bool
) -> None:
    """The status moved, and says that another one wrote it."""
    installations = Installations(ME)
    installations.saw(before, after, 100.0)
    assert (contested(installations, 100.0) is not None) is stops, why


def test_this_one_stands_back_until_the_other_is_quiet() -> None:
    """Each write of the other begins the time anew; then this one goes on, without anybody's help."""
    installations = Installations(ME)
    installations.saw(BEFORE, written(OTHER), 100.0)
    installations.saw(written(OTHER), written(OTHER, plans=2), 150.0)

    error = contested(installations, 200.0)
    assert error is not None
    assert (error.reason, error.reason.actor) == (Reason.OPERATOR_CONFLICT, Actor.PLATFORM)
    assert OTHER in error.message
    assert ME in error.message
    assert error.retry_after == 150.0 + QUIET - 200.0

    assert contested(installations, 150.0 + QUIET - 0.1) is not None
    assert contested(installations, 150.0 + QUIET) is None
    assert contested(installations, 150.0) is None


def test_other_namespaces_go_on() -> None:
    """Two installations whose namespaces overlap contest what they share."""
    installations = Installations(ME)
    installations.saw(BEFORE, written(OTHER), 100.0)
    assert contested(installations, 100.0, a_workload(namespace="team-b")) is None


def test_it_is_reported_once_for_each_time() -> None:
    """However many Workloads it stops."""
    installations = Installations(ME)
    assert not installations.first_report("team-a")
    for began in (100.0, 1000.0):
        installations.saw(BEFORE, written(OTHER), began)
        installations.saw(BEFORE, written(OTHER), began + 1)
        assert [installations.first_report("team-a") for _ in range(3)] == [True, False, False]
        assert contested(installations, began + 1 + QUIET) is None

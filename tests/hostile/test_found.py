"""What hostile platforms made of the operator once, as scenes: each was a fault of its own, and has a name now."""

from __future__ import annotations

from typing import Any

import pytest

from hostile.beside import NO_READER_TAKES, STRANGER, Scene, play, respond
from hostile.material import Document, Raw, written
from hostile.valid import ROW
from inferencekey_simulator.faults import Fault

SPEC: Document = {"model": "llama-3", "backend": "vllm", "description": "mine", "config": {"a": 1}}
LISTED: Document = {
    **ROW,
    "id": "wl_evil",
    "slug": "evil-0",
    "name": "evil-0",
    "description": "mine",
    "config": {"a": 1},
    "execution_policy": "fixed",
    "execution_policy_config": {},
}


def played(*faults: Fault, stranger: Document = STRANGER, **annotations: str) -> None:
    """The scene with these answers for ever; `play` counts what is done, and looks at the neighbours."""
    ours = {f"inferencekey.com/{name.replace('_', '-')}": text for name, text in annotations.items()}
    play(Scene([SPEC], ours, None, None, list(faults), written(stranger)))


def test_a_platform_that_lists_what_it_denies_is_asked_less_and_less() -> None:
    """Each PATCH finds nothing, each list shows the row again: as one that came back it woke us every two seconds."""
    played(respond("list", [LISTED | {"description": "theirs"}]))


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"a": 2, "b": Raw("1e999")}},
        {"config": {"a": 2, "b": Raw("[" * 700 + "]" * 700)}},
        {"model_name": "x" * 600_000},
        {"id": Raw('"\\ud800"')},
        {"slug": "evil-0", "id": None},
    ],
    ids=["a number without end", "deep", "a model of half a megabyte", "an id that cannot be sent", "no id"],
)
@pytest.mark.parametrize("policy", ["Reconcile", "Ignore"])
def test_a_strange_row_has_a_verdict(change: dict[str, Any], policy: str) -> None:
    """And is neither made beside, nor written of without end."""
    played(respond("list", [LISTED | change]), on_drift=policy)


@pytest.mark.parametrize("value", NO_READER_TAKES, ids=["NaN", "infinity", "5,000 digits", "20,000 levels", "control"])
def test_a_row_that_no_reader_takes_holds_up_no_other(value: Raw) -> None:
    """Neither those whose list it is in, nor is anything made beside it, where it is our own."""
    played(respond("list", [LISTED | {"cost": value}]), stranger={**STRANGER, "config": value})


def test_what_was_made_and_is_never_listed_is_not_made_at_each_look() -> None:
    """The platform confirms each POST, and lists none of them."""
    played(respond("list", []), respond("create", LISTED, status=201))

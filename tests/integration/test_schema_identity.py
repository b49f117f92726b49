"""A Workload's identity at the API server: slug and project stay what they were, whoever asks and however."""

from __future__ import annotations

import json
from typing import Any

import pytest

from integration.manifests import Kubectl, manifest, refusal, stored

SLUG_STAYS = "is the Workload's identity and cannot be changed, added or removed: put the old one back"
PROJECT_STAYS = "project is part of the Workload's identity and cannot be changed or removed"

ROUTES = {
    "apply": ("apply", "-f", "-"),
    "server-side apply": ("apply", "--server-side", "--force-conflicts", "-f", "-"),
    "replace": ("replace", "-f", "-"),
}
"""Ways of sending the whole object."""

CHANGES = {
    "a slug is added": (manifest(), manifest(slug="other"), SLUG_STAYS),
    "a slug is removed": (manifest(slug="first"), manifest(), SLUG_STAYS),
    "a slug is edited": (manifest(slug="first"), manifest(slug="second"), SLUG_STAYS),
    "a project is edited": (manifest(project="first"), manifest(project="second"), PROJECT_STAYS),
    "a project is removed": (manifest(project="first"), manifest(), PROJECT_STAYS),
}

PATCHES = {
    "a slug is added by a merge patch": ({}, "merge", {"spec": {"slug": "x"}}, SLUG_STAYS),
    "a slug is removed by a merge patch": ({"slug": "x"}, "merge", {"spec": {"slug": None}}, SLUG_STAYS),
    "a slug is edited by a merge patch": ({"slug": "x"}, "merge", {"spec": {"slug": "y"}}, SLUG_STAYS),
    "a slug is removed by a JSON patch": (
        {"slug": "x"},
        "json",
        [{"op": "remove", "path": "/spec/slug"}],
        SLUG_STAYS,
    ),
    "a project is removed by a merge patch": (
        {"project": "x"},
        "merge",
        {"spec": {"project": None}},
        PROJECT_STAYS,
    ),
    "a project is edited by a JSON patch": (
        {"project": "x"},
        "json",
        [{"op": "replace", "path": "/spec/project", "value": "y"}],
        PROJECT_STAYS,
    ),
}


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES.keys())
@pytest.mark.parametrize(("before", "after", "message"), CHANGES.values(), ids=CHANGES.keys())
def test_identity_stays_whichever_way_the_object_is_sent(
    kubectl: Kubectl, before: dict[str, Any], after: dict[str, Any], message: str, route: tuple[str, ...]
) -> None:
    """Another slug or project would leave a workload behind that nobody owns, and pays for."""
    kubectl(*(route if route[0] == "apply" else ("create", "-f", "-")), document=before)

    said = refusal(kubectl, *route, document=after)

    assert message in said
    assert "create another Workload" in said
    for field in ("slug", "project"):
        assert stored(kubectl)["spec"].get(field) == before["spec"].get(field)


@pytest.mark.parametrize(("spec", "kind", "patch", "message"), PATCHES.values(), ids=PATCHES.keys())
def test_identity_stays_under_patches(
    kubectl: Kubectl, spec: dict[str, Any], kind: str, patch: object, message: str
) -> None:
    """A patch is no way around it."""
    kubectl("create", "-f", "-", document=manifest(**spec))

    said = refusal(kubectl, "patch", "ikw", "support-bot", f"--type={kind}", "-p", json.dumps(patch))

    assert message in said


def test_identity_stays_under_a_patch_of_the_status(kubectl: Kubectl) -> None:
    """The status subresource takes nothing from a spec that is sent along."""
    kubectl("create", "-f", "-", document=manifest())
    patch = {"spec": {"slug": "other", "project": "other"}, "status": {"workloadId": "wl_1"}}

    arguments = ("--subresource=status", "--type=merge", "-p", json.dumps(patch))
    kubectl("patch", "ikw", "support-bot", *arguments)

    found = stored(kubectl)
    assert not {"slug", "project"} & found["spec"].keys()
    assert found["status"]["workloadId"] == "wl_1"


def test_saying_what_holds_already_is_no_change(kubectl: Kubectl) -> None:
    """The slug may be written out once it equals the name, and taken out again; so may the project, once."""
    kubectl("create", "-f", "-", document=manifest())

    for spec in ({"slug": "support-bot"}, {}, {"project": "prod"}, {"project": "prod", "model": "llama-4"}):
        kubectl("replace", "-f", "-", document=manifest(**spec))

    assert stored(kubectl)["spec"]["project"] == "prod"


def test_everything_else_can_be_edited(kubectl: Kubectl) -> None:
    """The rules hold the identity and nothing beside it."""
    kubectl("create", "-f", "-", document=manifest(slug="bot", project="prod"))
    edited = manifest(slug="bot", project="prod", model="x", backend="ollama", suspend=True, taskType="reward")

    kubectl("replace", "-f", "-", document=edited)

    assert stored(kubectl)["spec"].items() >= edited["spec"].items()

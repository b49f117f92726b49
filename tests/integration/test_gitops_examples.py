"""The examples for Argo CD and Flux: their Workloads are accepted, and what they say of one another holds.

That Argo CD takes its Applications is seen by `make e2e-argocd`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from integration.manifests import Kubectl

Json = dict[str, Any]

EXAMPLES = Path(__file__).parents[2] / "examples"
ARGOCD, FLUX = EXAMPLES / "argocd", EXAMPLES / "flux"
WAVE = "argocd.argoproj.io/sync-wave"


def documents(folder: Path) -> list[Json]:
    """All objects in a folder."""
    return [each for path in sorted(folder.rglob("*.yaml")) for each in yaml.safe_load_all(path.read_text()) if each]


def of_kind(folder: Path, kind: str) -> dict[str, Json]:
    """The objects of a kind, by name."""
    return {each["metadata"]["name"]: each for each in documents(folder) if each["kind"] == kind}


@pytest.mark.parametrize("folder", [ARGOCD / "models", FLUX / "models"], ids=str)
def test_what_a_team_declares_is_accepted(kubectl: Kubectl, folder: Path) -> None:
    """The API server takes every object, Workloads by their schema and rules."""
    assert of_kind(folder, "Workload")
    kubectl("apply", "--dry-run=server", "-f", str(folder))


def test_argo_cd_brings_the_operator_first() -> None:
    """In an earlier wave than the models, so it is also deleted after them; deletion of either takes all it holds."""
    applications = of_kind(ARGOCD, "Application")
    operator, models = applications["inferencekey-operator"], applications["team-a-models"]
    waves = [int(each["metadata"]["annotations"][WAVE]) for each in (operator, models)]
    assert waves == sorted(set(waves))
    for each in (operator, models):
        assert each["metadata"]["finalizers"] == ["resources-finalizer.argocd.argoproj.io"]
    assert "SkipDryRunOnMissingResource=true" in models["spec"]["syncPolicy"]["syncOptions"]
    assert models["spec"]["syncPolicy"]["retry"]["limit"] > 0


def test_argo_cd_syncs_the_application_after_its_model() -> None:
    """And the application reads the ConfigMap that the operator writes for that very Workload."""
    (model,) = of_kind(ARGOCD, "Workload").values()
    (user,) = of_kind(ARGOCD, "Deployment").values()
    assert int(model["metadata"]["annotations"][WAVE]) < int(user["metadata"]["annotations"][WAVE])
    (container,) = user["spec"]["template"]["spec"]["containers"]
    assert {"configMapRef": {"name": f"{model['metadata']['name']}-endpoint"}} in container["envFrom"]


def test_flux_waits_for_the_models() -> None:
    """They depend on the operator, and both are waited for; the paths are folders beside the file."""
    found = of_kind(FLUX, "Kustomization")
    assert [each["name"] for each in found["team-a-models"]["spec"]["dependsOn"]] == ["inferencekey-operator"]
    for each in found.values():
        assert each["spec"]["wait"] is True
        assert each["spec"]["prune"] is True
        assert list((FLUX / each["spec"]["path"]).glob("*.yaml"))
        assert each["spec"]["sourceRef"]["name"] in of_kind(FLUX, "GitRepository")

"""A real Argo CD beside the operator, for as long as the tests of this folder run; and an Application for each test."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from argocd.application import Application, Repository
from argocd.installation import ArgoCD, argo_cd
from controlplane.access import Cluster
from harness.api import Api
from harness.team import Team


@pytest.fixture(scope="session")
def argo(control_plane: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArgoCD]:
    """Argo CD at work; it ends before the control plane does."""
    with argo_cd(control_plane, tmp_path_factory.mktemp("argocd")) as running:
        yield running


@pytest.fixture
def application(team: Team, api: Api, argo: ArgoCD, tmp_path: Path) -> Iterator[Application]:
    """An Application for the team's namespace, not created yet, with an empty repository."""
    made = Application(team.name, Repository(tmp_path / "repository"), team.name, api, argo)
    yield made
    made.forget()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what Argo CD logged last."""
    report = yield
    running = getattr(item, "funcargs", {}).get("argo")
    if report.failed and isinstance(running, ArgoCD):
        report.sections.append(("Argo CD's logs", running.tail()))
    return report

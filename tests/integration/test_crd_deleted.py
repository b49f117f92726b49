"""The CRD is deleted under an operator that runs: it says so once, is not ready, and goes on when the CRD is back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane import lookup
from controlplane.cluster import ControlPlane
from controlplane.waiting import wait_until
from harness import operators, permissions
from harness.api import Api
from harness.operators import Operator, Surroundings
from harness.scrape import Scrape, free_port
from harness.teams import another_team
from harness.waiting import eventually
from inferencekey_operator.app.health import NO_CRD
from inferencekey_simulator.admin import Admin
from integration.conftest import CRDS

CRD = "workloads.inferencekey.com"
LONG = 60.0
"""Seconds, for what takes a few on a quiet machine."""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of this module's own: without the CRD no other test could go on."""
    found = lookup.find()
    if not isinstance(found, lookup.Binaries):
        pytest.skip("this cluster is not our own, and its CRD is not ours to delete")
    with ControlPlane.start(found.folder, directory=tmp_path_factory.mktemp("plane") / "own") as started:
        _install(started)
        yield started


@pytest.fixture(scope="module")
def own_api(plane: ControlPlane) -> Iterator[Api]:
    """The API server of that control plane."""
    api = Api(plane)
    yield api
    api.close()


def _install(plane: ControlPlane) -> None:
    plane.kubectl("apply", "--server-side", "-f", str(CRDS))
    wait_until(lambda: plane.established(CRD))


def test_a_crd_that_is_deleted(plane: ControlPlane, own_api: Api, platform: Admin, tmp_path: Path) -> None:
    """What was made is deleted with its Workload, which the CRD waits for; then it is missing; then all goes on."""
    account = permissions.apply(plane, permissions.of_the_manifest())
    permissions.in_force(plane, account)
    scrape = Scrape(free_port())
    operator = Operator(Surroundings(own_api, account, platform.url, tmp_path / "log"), *operators.USUAL, scrape.option)
    operator.start()
    with another_team(plane, own_api, platform) as team:
        team.declare("before")
        team.until_ready("before")
        eventually(lambda: scrape.probe("readyz")[0] == 200, within=LONG)

        plane.kubectl("delete", "crd", CRD, "--timeout=60s")
        assert team.slugs() == []
        _, said = eventually(lambda: scrape.probe("readyz"), lambda seen: seen[0] == 503, within=LONG)
        assert NO_CRD in said
        assert scrape.probe("healthz")[0] == 200

        _install(plane)
        eventually(lambda: scrape.probe("readyz")[0] == 200, within=LONG)
        team.declare("after")
        team.until_ready("after", within=LONG)
        log = operator.log()
        assert log.count(NO_CRD) == 1
        assert "404 page not found" not in log
        assert log.count("the cluster knows Workloads again") == 1
    operator.close()

"""etcd is restored from a copy under an operator that runs: it forgets what it knew, and starts over in its process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane import lookup
from controlplane.cluster import ControlPlane
from controlplane.components import API_SERVER, CONTROLLER_MANAGER, ETCD
from controlplane.waiting import wait_until
from harness import operators, permissions
from harness.api import Api
from harness.operators import Operator, Surroundings
from harness.team import Team
from harness.teams import another_team
from harness.waiting import equals, eventually
from inferencekey_simulator.admin import Admin
from integration.conftest import CRDS

BOUND = 60.0
"""Seconds from the API server's return until everything is true again: the longest back-off of a watch, and a Lease."""
LATER = 300
"""Writes between the copy and the restore, so that the restored versions are older for longer than the start takes."""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of this module's own, whose processes and data it may touch."""
    found = lookup.find()
    if not isinstance(found, lookup.Binaries):
        pytest.skip("this cluster is not our own, and its etcd is not ours to restore")
    with ControlPlane.start(found.folder, directory=tmp_path_factory.mktemp("plane") / "own") as started:
        started.kubectl("apply", "--server-side", "-f", str(CRDS))
        wait_until(lambda: started.established("workloads.inferencekey.com"))
        if started.has_controller_manager:
            started.kill(CONTROLLER_MANAGER)  # what it makes of the restore is not the question
        yield started


@pytest.fixture
def own_api(plane: ControlPlane) -> Iterator[Api]:
    """The API server of that control plane."""
    api = Api(plane)
    yield api
    api.close()


@pytest.fixture
def installed(plane: ControlPlane, own_api: Api, platform: Admin, tmp_path: Path) -> Iterator[Operator]:
    """An operator for that control plane, not started yet, and no Lease."""
    account = permissions.apply(plane, permissions.of_the_manifest())
    permissions.in_force(plane, account)
    operator = Operator(Surroundings(own_api, account, platform.url, tmp_path / "log"), *operators.USUAL)
    operator.forget_lease()
    yield operator
    operator.close()


@pytest.fixture
def restored(
    plane: ControlPlane, own_api: Api, platform: Admin, installed: Operator
) -> Iterator[tuple[Team, Operator]]:
    """A team, and the operator at work."""
    installed.start()
    with another_team(plane, own_api, platform) as team:
        yield team, installed


@pytest.mark.parametrize("bumped", [False, True], ids=["older-versions", "bumped-versions"])
def test_an_operator_goes_on_after_etcd_was_restored(
    plane: ControlPlane, restored: tuple[Team, Operator], tmp_path: Path, bumped: bool
) -> None:
    """An edit after the restore is seen, Ready tells the truth, and what the copy does not know is not deleted.

    Also where versions went on from a higher number, as `etcdutl snapshot restore --bump-revision` has it, so that only
    the objects are older than before.
    """
    team, operator = restored
    for name in ("edited", "forgotten"):
        team.declare(name)
        team.until_ready(name)
    lease = _lease_version(operator)
    _copy_etcd(plane, tmp_path / "copy")
    eventually(lambda: _lease_version(operator) > lease)
    team.edit("forgotten", model="llama-4")
    team.until_ready("forgotten")
    team.declare("younger")
    team.until_ready("younger")
    if not bumped:
        _write_often(team)
    pid, since = operator.pid, team.platform.last()
    operator.pause()
    _restore_etcd(plane, tmp_path / "copy")
    if bumped:
        _write_often(team)
    operator.resume()
    assert team.find("younger") is None
    eventually(lambda: team.live("forgotten")["model_name"], equals("llama-3"), within=BOUND)
    team.until_ready("forgotten", within=BOUND)
    team.edit("edited", model="llama-5")
    team.until_ready("edited", within=BOUND)
    assert team.live("edited")["model_name"] == "llama-5"
    team.pass_intervals(50)  # longer than the operator waits before it believes that an object disappeared
    assert team.slugs() == ["edited", "forgotten", "younger"]
    assert team.calls("create", "delete", since=since) == []
    assert "the operator discards what it knew, and starts over" in operator.log()
    assert (operator.running, operator.pid) == (True, pid)


def test_a_copy_from_before_the_operator_deletes_nothing(
    plane: ControlPlane, own_api: Api, platform: Admin, installed: Operator, tmp_path: Path
) -> None:
    """Neither the Workloads nor the Lease are in it: what the operator knew is forgotten, not deleted."""
    _copy_etcd(plane, tmp_path / "copy")
    installed.start()
    with another_team(plane, own_api, platform) as team:
        for name in ("one", "two"):
            team.declare(name)
            team.until_ready(name)
        since = platform.last()
        installed.pause()
        _restore_etcd(plane, tmp_path / "copy")
        own_api.create("/api/v1/namespaces", {"metadata": {"name": team.name}})
        _write_often(team)  # so that versions are higher than before, and nothing but the Lease tells
        installed.resume()
        eventually(lambda: "the operator discards what it knew, and starts over" in installed.log(), within=BOUND)
        team.secret()
        team.declare("three")
        team.until_ready("three", within=BOUND)
        team.pass_intervals(50)
        assert team.slugs() == ["one", "three", "two"]
        assert team.platform_writes(since) == ["create three"]


def _lease_version(operator: Operator) -> int:
    lease = operator.lease()
    return int(lease["metadata"]["resourceVersion"]) if lease else 0


def _write_often(team: Team) -> None:
    path = f"/api/v1/namespaces/{team.name}/configmaps"
    team.api.create(path, {"metadata": {"name": "often"}})
    for number in range(LATER):
        team.api.patch(f"{path}/often", {"data": {"number": str(number)}})


def _copy_etcd(plane: ControlPlane, copy: Path) -> None:
    """As it would be found after a crash of etcd."""
    plane.pause(ETCD)
    shutil.copytree(plane.directory / "etcd", copy)
    plane.resume(ETCD)


def _restore_etcd(plane: ControlPlane, copy: Path) -> None:
    """The API server knows the newer state, and so must begin anew as well."""
    plane.kill(API_SERVER)
    plane.kill(ETCD)
    shutil.rmtree(plane.directory / "etcd")
    shutil.copytree(copy, plane.directory / "etcd")
    plane.restart(ETCD)
    plane.restart(API_SERVER)

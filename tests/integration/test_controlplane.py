"""The control plane that all other tests stand on: it starts, works, survives faults, and leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controlplane import cluster, lookup
from controlplane.access import Cluster, KubectlFailedError
from controlplane.borrowed import ExistingCluster
from controlplane.cluster import ComponentFailedError, ControlPlane
from controlplane.components import API_SERVER, CONTROLLER_MANAGER, ETCD, Ports
from controlplane.waiting import runs, wait_until

TESTS = Path(__file__).parent.parent
READY_SECONDS = 60.0

pytestmark = pytest.mark.tools

PARENT = """
import signal, sys, time
from pathlib import Path
from controlplane.cluster import ControlPlane
signal.signal(signal.SIGINT, signal.default_int_handler)  # else ignored where the tests run in the background
plane = ControlPlane.start(Path(sys.argv[1]))
print(plane.directory, *plane.pids().values(), flush=True)
time.sleep(1000)
"""

# Stands in for kind, which needs containers: its cluster is the one whose kubeconfig it is told to hand out.
FAKE_KIND = """
import shutil, sys
options = dict(argument.removeprefix("--").split("=") for argument in sys.argv[3:])
with open({calls!r}, "a") as calls:
    print(sys.argv[1], sys.argv[2], options["name"], file=calls)
if sys.argv[1] == "create":
    shutil.copy({kubeconfig!r}, options["kubeconfig"])
"""


@pytest.fixture(scope="module")
def binaries() -> Path:
    """The folder of binaries; a cluster of somebody else's cannot be killed, so there is nothing to test."""
    found = lookup.find()
    if not isinstance(found, lookup.Binaries):
        pytest.skip("an existing cluster or kind is used: there are no binaries of our own to start")
    return found.folder


@pytest.fixture(scope="module")
def plane(binaries: Path) -> Iterator[ControlPlane]:
    """One control plane for all tests that do not break it for good."""
    with ControlPlane.start(binaries, audit=True) as plane:
        yield plane


@pytest.fixture
def bare_binaries(tmp_path: Path, binaries: Path) -> Path:
    """A folder without kube-controller-manager, as setup-envtest makes it."""
    folder = tmp_path / "assets"
    folder.mkdir()
    for name in lookup.NEEDED_BINARIES:
        (folder / name).symlink_to(binaries / name)
    return folder


def _config_map(name: str, **metadata: Any) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}})


def _exists(plane: Cluster, *what: str) -> bool:
    return plane.kubectl("get", *what, check=False).returncode == 0


def _whoami(plane: Cluster, kubeconfig: Path) -> dict[str, Any]:
    answer = plane.kubectl("auth", "whoami", "--output=json", kubeconfig=kubeconfig)
    user: dict[str, Any] = json.loads(answer.stdout)["status"]["userInfo"]
    return user


def test_starts_ready_and_stops_without_leftovers(binaries: Path) -> None:
    """Ready means that kubectl can write; after stop no component runs and the directory is gone."""
    with ControlPlane.start(binaries) as plane:
        plane.kubectl("create", "configmap", "first")
        pids, directory = plane.pids(), plane.directory
        assert set(pids) >= {ETCD, API_SERVER}
    assert [component for component, pid in pids.items() if runs(pid)] == []
    assert not directory.exists()
    plane.stop()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_ended_parent_leaves_nothing(binaries: Path, number: signal.Signals) -> None:
    """Whether its whole process group is killed or gets a Ctrl-C: all components end, the directory goes."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(binaries)],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    with parent:
        try:
            assert parent.stdout is not None
            directory, *pids = parent.stdout.readline().split()
            assert all(runs(int(pid)) for pid in pids)
            os.killpg(parent.pid, number)
            parent.wait(READY_SECONDS)
        finally:
            parent.kill()
    wait_until(lambda: not Path(directory).exists())
    assert [pid for pid in pids if runs(int(pid))] == []


def test_two_at_once_do_not_disturb_each_other(plane: ControlPlane, bare_binaries: Path) -> None:
    """Each has its own address, files and objects; the end of one is nothing to the other."""
    with ControlPlane.start(bare_binaries) as other:
        assert other.server != plane.server
        assert other.directory != plane.directory
        other.kubectl("create", "configmap", "lonely")
        assert _exists(other, "configmap", "lonely")
        assert not _exists(plane, "configmap", "lonely")
    assert _exists(plane, "namespace", "default")


def test_works_without_a_controller_manager(bare_binaries: Path) -> None:
    """An envtest folder starts, and says that nothing will be garbage-collected."""
    with ControlPlane.start(bare_binaries) as plane:
        assert not plane.has_controller_manager
        assert set(plane.pids()) == {ETCD, API_SERVER}


def test_owned_object_is_garbage_collected(plane: ControlPlane) -> None:
    """Deleting an owner deletes what it owns: kube-controller-manager is there and may do its work."""
    plane.kubectl("create", "--filename=-", stdin=_config_map("owner"))
    uid = plane.kubectl("get", "configmap", "owner", "--output=jsonpath={.metadata.uid}").stdout
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
    plane.kubectl("create", "--filename=-", stdin=_config_map("owned", ownerReferences=[owner]))
    plane.kubectl("delete", "configmap", "owner")
    wait_until(lambda: not _exists(plane, "configmap", "owned"), seconds=60)


def test_deleted_namespace_goes(plane: ControlPlane) -> None:
    """A namespace is emptied and ends, and gets a ServiceAccount at its beginning."""
    plane.kubectl("create", "namespace", "passing")
    wait_until(lambda: _exists(plane, "serviceaccount", "default", "--namespace=passing"))
    plane.kubectl("delete", "namespace", "passing", "--timeout=50s")
    assert not _exists(plane, "namespace", "passing")


def test_certificate_says_who_somebody_is(plane: ControlPlane) -> None:
    """A user and their groups arrive at the API server as named, also with colons."""
    user = _whoami(plane, plane.kubeconfig_for_user("team:alice", ("editors", "team:a")))
    assert user["username"] == "team:alice"
    assert {"editors", "team:a"} <= set(user["groups"])


def test_token_of_a_service_account_is_accepted(plane: ControlPlane) -> None:
    """TokenRequest signs with our key, and the API server believes the token; the file is private."""
    token = plane.kubectl("create", "token", "default").stdout.strip()
    kubeconfig = plane.kubeconfig_for_token("default", token)
    assert _whoami(plane, kubeconfig)["username"] == "system:serviceaccount:default:default"
    assert kubeconfig.stat().st_mode & 0o777 == 0o600


def test_failing_kubectl_says_why(plane: ControlPlane) -> None:
    """The error carries what kubectl wrote, so that a failing test explains itself."""
    with pytest.raises(KubectlFailedError, match='configmaps "absent" not found'):
        plane.kubectl("get", "configmap", "absent")


def test_audit_log_names_who_did_what(plane: ControlPlane) -> None:
    """Each request is a line with user, verb and object, and never with a body."""
    plane.kubectl("get", "secrets", kubeconfig=plane.kubeconfig_for_user("auditee"), check=False)

    def logged() -> list[dict[str, Any]]:
        assert plane.audit_log is not None
        events = map(json.loads, plane.audit_log.read_text().splitlines())
        return [event for event in events if event["user"]["username"] == "auditee"]

    wait_until(lambda: any(event.get("objectRef", {}).get("resource") == "secrets" for event in logged()))
    event = next(event for event in logged() if event.get("objectRef", {}).get("resource") == "secrets")
    assert (event["verb"], event["level"], event["responseStatus"]["code"]) == ("list", "Metadata", 403)


@pytest.mark.parametrize("component", [ETCD, API_SERVER])
def test_killed_component_comes_back_with_its_data(plane: ControlPlane, component: str) -> None:
    """After a crash and a restart the same address answers with the same objects."""
    plane.kubectl("create", "configmap", f"kept-{component}")
    server, before = plane.server, plane.pids()[component]
    plane.kill(component)
    assert component not in plane.pids()
    assert plane.kubectl("get", "configmaps", "--request-timeout=1s", check=False).returncode != 0
    plane.restart(component)
    assert plane.pids()[component] != before
    assert plane.server == server
    wait_until(lambda: _exists(plane, "configmap", f"kept-{component}"))


def test_restarted_controller_manager_works(plane: ControlPlane) -> None:
    """What was made while it was away is looked after when it is back."""
    plane.kill(CONTROLLER_MANAGER)
    plane.kubectl("create", "namespace", "unattended")
    plane.restart(CONTROLLER_MANAGER)
    wait_until(lambda: _exists(plane, "serviceaccount", "default", "--namespace=unattended"))


def test_paused_api_server_answers_again(plane: ControlPlane) -> None:
    """While it is paused a request gets no answer; when it goes on it answers."""
    plane.pause(API_SERVER)
    stuck = plane.kubectl("get", "namespaces", "--request-timeout=1s", check=False)
    assert stuck.returncode != 0
    plane.resume(API_SERVER)
    wait_until(lambda: _exists(plane, "namespace", "default"))


def test_taken_port_is_replaced(binaries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that somebody takes between our look and the start costs an attempt, not the start."""
    free = cluster._free_ports
    with socket.create_server(("127.0.0.1", 0)) as taken:
        first = free()
        attempts = [Ports(first.etcd, first.etcd_peers, taken.getsockname()[1]), free()]
        expected = attempts[1].api_server
        monkeypatch.setattr(cluster, "_free_ports", lambda: attempts.pop(0))
        with ControlPlane.start(binaries) as plane:
            assert plane.server == f"https://127.0.0.1:{expected}"
            plane.kubectl("get", "namespaces")
    assert attempts == []


def test_component_that_fails_shows_its_log(tmp_path: Path, bare_binaries: Path) -> None:
    """The error has the last lines of the component's log, and what had started is ended."""
    broken = bare_binaries / API_SERVER
    broken.unlink()
    broken.write_text("#!/bin/sh\necho no such flag: --cheese\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(ComponentFailedError) as caught:
        ControlPlane.start(bare_binaries, directory=tmp_path / "kept")
    assert "kube-apiserver ended with exit code 3" in str(caught.value)
    assert "no such flag: --cheese" in str(caught.value)
    assert "etcd" in (tmp_path / "kept" / "etcd.log").read_text()


def test_existing_cluster_is_used_and_left_alone(plane: ControlPlane) -> None:
    """It offers the same, and stopping it removes our files, not the cluster."""
    found = lookup.Existing(plane.kubeconfig, plane.kubectl_path)
    with cluster.start(found) as existing:
        assert isinstance(existing, ExistingCluster)
        assert (existing.server, existing.ca_pem) == (plane.server, plane.ca_pem)
        assert existing.audit_log is None
        token = existing.kubectl("create", "token", "default").stdout.strip()
        user = _whoami(existing, existing.kubeconfig_for_token("default", token))
        assert user["username"] == "system:serviceaccount:default:default"
    assert not existing.directory.exists()
    assert _exists(plane, "namespace", "default")


def test_kind_cluster_is_made_and_deleted_under_one_name(tmp_path: Path, plane: ControlPlane) -> None:
    """A name of its own is given to kind at the start and again at the end."""
    kind, calls = tmp_path / "kind", tmp_path / "calls"
    code = FAKE_KIND.format(calls=str(calls), kubeconfig=str(plane.kubeconfig))
    kind.write_text(f"#!{sys.executable} -S\n{code}")
    kind.chmod(0o755)
    with cluster.start(lookup.Kind(kind, plane.kubectl_path)) as made:
        assert _exists(made, "namespace", "default")
        assert made.kubeconfig.parent == made.directory
    created, deleted = calls.read_text().splitlines()
    assert created.removeprefix("create") == deleted.removeprefix("delete")
    assert "cluster inferencekey-operator-" in created
    assert not made.directory.exists()

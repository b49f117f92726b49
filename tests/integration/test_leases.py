"""Real processes elect over a real API server; they do nothing else, and note each moment at which they may act.

Signals and a connection that stands still do to them what happens to an operator. All notes bear the time of one
clock, which every process on the machine reads.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from kubernetes.aio import client, config

from controlplane import access
from controlplane.waiting import wait_until
from inferencekey_operator.election.leader import Leader, boot_clock
from inferencekey_operator.kube.client import Cluster

NAME = "inferencekey-operator"
DURATION, RENEW_DEADLINE, RETRY = 6.0, 4.0, 0.5
GAP = DURATION - RENEW_DEADLINE
SHORT = {"duration": DURATION, "renew_deadline": RENEW_DEADLINE, "retry": RETRY}
USUAL_DURATION = 15
LOST = 3
LATE = 30.0
"""Seconds in which a process does what it does at once where the machine is not busy."""

CANDIDATE = f"""
import asyncio, json, logging, os, signal, sys
from inferencekey_operator.kube.client import Cluster
from inferencekey_operator.election.leader import Leader, LeadershipLostError, boot_clock

logging.basicConfig(level=logging.INFO)
namespace, identity, notes, timing = sys.argv[1:]
notes = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def note(what):
    os.write(notes, json.dumps([boot_clock(), identity, what]).encode() + b"\\n")

async def act(leader):
    while True:
        leader.check()
        note("acts")
        await asyncio.sleep(0.05)

async def lead(leader):
    note("waits")
    taken = await leader.acquire()
    note(f"leads, settled in {{leader.settled_at - boot_clock():.1f}} s" if taken else "leads")
    await asyncio.gather(leader.hold(), act(leader))

async def main():
    cluster = await Cluster.connect()
    leader = Leader(cluster, namespace, identity=identity, **json.loads(timing))
    leading = asyncio.create_task(lead(leader))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leading.cancel)
    try:
        await leading
    except asyncio.CancelledError:
        await leader.release()
    finally:
        await cluster.close()

try:
    asyncio.run(main())
except LeadershipLostError:
    sys.exit({LOST})
"""

# Bytes to and fro; stopped, it is a network that swallows everything.
WIRE = """
import asyncio, sys

async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()

async def join(reader, writer):
    there = await asyncio.open_connection(sys.argv[1], int(sys.argv[2]))
    await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

async def main():
    server = await asyncio.start_server(join, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@dataclass(frozen=True)
class Note:
    """A process noted something."""

    at: float
    identity: str
    what: str


class Election:
    """Candidates for one Lease, and what they noted."""

    def __init__(self, control_plane: access.Cluster, namespace: str, folder: Path) -> None:
        self.control_plane, self.namespace, self._folder = control_plane, namespace, folder
        self._notes = folder / "notes"
        self._notes.touch()
        self.processes: dict[str, subprocess.Popen[str]] = {}

    def enter(self, *identities: str, timing: Mapping[str, float] = SHORT, kubeconfig: Path | None = None) -> None:
        """Start these, and wait until they run."""
        for identity in identities:
            arguments = [self.namespace, identity, str(self._notes), json.dumps(dict(timing))]
            self._start(identity, CANDIDATE, *arguments, kubeconfig=kubeconfig or self.control_plane.kubeconfig)
        for identity in identities:
            self.wait_for(identity, "waits")

    def wire(self) -> Path:
        """A kubeconfig whose way to the API server is the process `wire`."""
        server = urlsplit(self.control_plane.server)
        wire = self._start("wire", WIRE, str(server.hostname), str(server.port))
        assert wire.stdout is not None
        address = f"https://127.0.0.1:{wire.stdout.readline().strip()}"
        kubeconfig = self._folder / "wired.kubeconfig"
        kubeconfig.touch(mode=0o600)
        text = self.control_plane.kubeconfig.read_text()
        assert self.control_plane.server in text
        kubeconfig.write_text(text.replace(self.control_plane.server, address))
        return kubeconfig

    def signal(self, identity: str, number: signal.Signals) -> float:
        """Send it, and say when that was done."""
        self.processes[identity].send_signal(number)
        return boot_clock()

    def notes(self, identity: str = "", since: float = 0.0) -> list[Note]:
        """All that was noted, or by one, or lately."""
        whole = self._notes.read_text().splitlines(keepends=True)
        notes = [Note(*json.loads(line)) for line in whole if line.endswith("\n")]
        return [note for note in notes if identity in ("", note.identity) and note.at >= since]

    def wait_for(self, identity: str, what: str, since: float = 0.0, seconds: float = 20.0) -> None:
        """Back when it noted that, or an AssertionError."""
        wait_until(lambda: any(note.what == what for note in self.notes(identity, since)), seconds)

    def leader(self, since: float = 0.0, seconds: float = 20.0) -> str:
        """Who acts; waits until somebody does."""
        wait_until(lambda: any(note.what == "acts" for note in self.notes(since=since)), seconds)
        return next(note.identity for note in self.notes(since=since) if note.what == "acts")

    def spec(self) -> dict[str, object]:
        """What the Lease says, nothing if there is none."""
        found = self.control_plane.kubectl(
            "get", "lease", NAME, "-n", self.namespace, "-o", "jsonpath={.spec}", "--ignore-not-found"
        )
        spec: dict[str, object] = json.loads(found.stdout or "{}")
        return spec

    def acts(self, identity: str) -> list[float]:
        """When it acted."""
        return [note.at for note in self.notes(identity) if note.what == "acts"]

    def verify_one_at_a_time(self) -> None:
        """Nobody acted after another one had begun to."""
        acting = [note.identity for note in sorted(self.notes(), key=lambda note: note.at) if note.what == "acts"]
        terms = [identity for i, identity in enumerate(acting) if i == 0 or acting[i - 1] != identity]
        assert len(terms) == len(set(terms)), terms

    def close(self) -> None:
        """End whoever still runs."""
        for process in self.processes.values():
            process.kill()
            process.communicate()

    def _start(self, name: str, script: str, *arguments: str, kubeconfig: Path | None = None) -> subprocess.Popen[str]:
        with (self._folder / f"{name}.log").open("w") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-c", script, *arguments],
                env={"KUBECONFIG": str(kubeconfig)},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        return self.processes[name]


@pytest.fixture
def election(control_plane: access.Cluster, namespace: str, tmp_path: Path) -> Iterator[Election]:
    """Nobody runs yet."""
    election = Election(control_plane, namespace, tmp_path)
    yield election
    election.close()


# -- processes -------------------------------------------------------------------------------------------------


def test_sigterm_hands_over_before_the_lease_runs_out(election: Election) -> None:
    """With the default timings, one after the other, as a rollout does it."""
    election.enter("a", "b", "c", timing={})
    since = 0.0
    for transitions in range(3):
        leader = election.leader(since)
        wait_until(lambda leader=leader: election.spec()["holderIdentity"] == leader)  # type: ignore[misc]
        assert election.spec()["leaseTransitions"] == transitions
        assert election.spec()["leaseDurationSeconds"] == USUAL_DURATION
        signalled = election.signal(leader, signal.SIGTERM)
        assert election.processes[leader].wait(LATE) == 0
        since = election.acts(leader)[-1] + 1e-6
        if transitions < 2:
            successor = election.leader(since)
            assert election.acts(successor)[0] - signalled < USUAL_DURATION
            assert "leads" in [note.what for note in election.notes(successor)], "it has nothing to wait for"
    assert election.spec()["holderIdentity"] == ""
    election.verify_one_at_a_time()


def test_sigkill_is_replaced_within_the_lease(election: Election) -> None:
    """Not before what the dead one may have sent has arrived; the new one knows that there may be such writes."""
    election.enter("a", "b")
    leader = election.leader()
    successor = "b" if leader == "a" else "a"
    wait_until(lambda: len(election.acts(leader)) > 20)
    killed = election.signal(leader, signal.SIGKILL)
    assert election.leader(killed + 0.5, seconds=LATE) == successor
    began = election.acts(successor)[0]
    assert GAP < began - killed < LATE
    assert any(note.what.startswith("leads, settled in") for note in election.notes(successor))
    assert election.spec()["leaseTransitions"] == 1
    election.verify_one_at_a_time()


def test_a_process_that_was_stopped_does_nothing_when_it_wakes(election: Election) -> None:
    """SIGSTOP for longer than the Lease: another leads by then, and check() raises before anything is written."""
    election.enter("a", "b")
    leader = election.leader()
    successor = "b" if leader == "a" else "a"
    stopped = election.signal(leader, signal.SIGSTOP)
    assert election.leader(stopped + 0.5, seconds=LATE) == successor
    election.signal(leader, signal.SIGCONT)
    assert election.processes[leader].wait(LATE) == LOST
    assert election.acts(leader)[-1] < stopped + RENEW_DEADLINE / 2
    assert election.spec()["holderIdentity"] == successor
    assert election.processes[successor].poll() is None
    election.verify_one_at_a_time()


def test_a_process_that_was_stopped_alone_does_nothing_either(election: Election) -> None:
    """Nobody took the Lease, yet its time is over: the process ends, and the next one waits for nothing but that."""
    election.enter("a")
    election.leader()
    stopped = election.signal("a", signal.SIGSTOP)
    wait_until(lambda: boot_clock() > stopped + RENEW_DEADLINE + 0.5)
    election.signal("a", signal.SIGCONT)
    assert election.processes["a"].wait(LATE) == LOST
    assert election.acts("a")[-1] < stopped + RENEW_DEADLINE / 2


def test_a_leader_that_is_cut_off_stops_before_another_starts(election: Election) -> None:
    """Its requests hang for ever: it stops at its deadline, and the other one starts after the gap."""
    election.enter("cut", kubeconfig=election.wire())
    assert election.leader() == "cut"
    election.enter("whole")
    cut = election.signal("wire", signal.SIGSTOP)
    assert election.processes["cut"].wait(LATE) == LOST
    last = election.acts("cut")[-1]
    assert cut < last < cut + RENEW_DEADLINE + GAP / 2
    election.wait_for("whole", "acts")
    assert election.acts("whole")[0] - last > GAP
    election.verify_one_at_a_time()


def test_a_short_silence_changes_nothing(election: Election) -> None:
    """The API server does not answer for half of the deadline: the leader leads on, the other waits on."""
    wired = election.wire()
    election.enter("a", kubeconfig=wired)
    assert election.leader() == "a"
    election.enter("b", kubeconfig=wired)
    silent = election.signal("wire", signal.SIGSTOP)
    wait_until(lambda: boot_clock() > silent + RENEW_DEADLINE / 2)
    election.signal("wire", signal.SIGCONT)
    wait_until(lambda: boot_clock() > silent + DURATION + 2)
    assert election.acts("a")[-1] > silent + DURATION + 1
    assert election.acts("b") == []
    assert election.spec()["leaseTransitions"] == 0


# -- the Lease and the API server ------------------------------------------------------------------------------


@asynccontextmanager
async def connected(kubeconfig: Path) -> AsyncIterator[Cluster]:
    """Our access, as whoever the kubeconfig says."""
    configuration = client.Configuration()
    await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
    cluster = Cluster(configuration)
    try:
        yield cluster
    finally:
        await cluster.close()


async def warned(caplog: pytest.LogCaptureFixture) -> str:
    """The first warning, as soon as there is one."""
    async with asyncio.timeout(20):
        while not warnings(caplog):  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.05)
    return warnings(caplog)[0]


async def renewed(election: Election, since: object) -> dict[str, object]:
    """What the Lease says as soon as it is there and was renewed after that renewTime."""
    async with asyncio.timeout(20):
        while True:
            spec = await asyncio.to_thread(election.spec)
            if spec and spec["renewTime"] != since:
                return spec


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What people were warned of."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_what_others_do_to_the_lease_is_borne(election: Election) -> None:
    """Labelled or deleted under its leader, it goes on, with the label, or anew."""
    kubectl, lease = election.control_plane.kubectl, ("lease", NAME, "-n", election.namespace)
    async with connected(election.control_plane.kubeconfig) as cluster:
        leader = Leader(cluster, election.namespace, identity="a", retry=0.2)
        await leader.acquire()
        acquired = election.spec()
        holding = asyncio.create_task(leader.hold())
        await asyncio.to_thread(kubectl, "label", *lease, "team=red")
        labelled = await asyncio.to_thread(election.spec)
        spec = await renewed(election, labelled["renewTime"])
        assert spec == {**acquired, "renewTime": spec["renewTime"]}
        assert kubectl("get", *lease, "-o", "jsonpath={.metadata.labels.team}").stdout == "red"
        await asyncio.to_thread(kubectl, "delete", *lease)
        spec = await renewed(election, None)
        assert spec == {**acquired, "renewTime": spec["renewTime"]}
        leader.check()
        holding.cancel()
        await leader.release()
    assert election.spec()["holderIdentity"] == ""


ROLE = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: elector}
rules:
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create]}
- {apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [inferencekey-operator], verbs: [get, update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: elector}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: elector}
subjects: [{kind: ServiceAccount, name: elector}]
"""


async def test_an_account_that_may_not_is_told_and_one_that_may_needs_no_more(
    election: Election, caplog: pytest.LogCaptureFixture
) -> None:
    """Verb, namespace and remedy are named; with the three verbs it takes, renews, makes anew and gives up."""
    kubectl, namespace = election.control_plane.kubectl, election.namespace
    kubectl("create", "serviceaccount", "elector", "-n", namespace)
    token = kubectl("create", "token", "elector", "-n", namespace).stdout.strip()
    async with connected(election.control_plane.kubeconfig_for_token("elector", token)) as cluster:
        leader = Leader(cluster, namespace, identity="a", retry=0.2)
        acquired = asyncio.create_task(leader.acquire())
        told = await warned(caplog)
        for words in ('cannot get resource "leases"', namespace, "get, create and update", "--lease-namespace"):
            assert words in told
        await asyncio.to_thread(kubectl, "apply", "-n", namespace, "-f", "-", stdin=ROLE)
        assert await asyncio.wait_for(acquired, 20) is False
        holding = asyncio.create_task(leader.hold())
        await asyncio.to_thread(kubectl, "delete", "lease", NAME, "-n", namespace)
        await renewed(election, None)
        holding.cancel()
        await leader.release()
    assert election.spec()["holderIdentity"] == ""
    assert len(warnings(caplog)) == 1


async def test_a_namespace_that_is_missing_is_told(election: Election, caplog: pytest.LogCaptureFixture) -> None:
    """It waits for the namespace, and goes on once that is there."""
    missing = f"{election.namespace}-later"
    async with connected(election.control_plane.kubeconfig) as cluster:
        leader = Leader(cluster, missing, identity="a", retry=0.2)
        acquired = asyncio.create_task(leader.acquire())
        told = await warned(caplog)
        assert f'namespaces "{missing}" not found' in told
        assert "--lease-namespace" in told
        await asyncio.to_thread(election.control_plane.kubectl, "create", "namespace", missing)
        assert await asyncio.wait_for(acquired, 20) is False
        await leader.release()
    election.control_plane.kubectl("delete", "namespace", missing, "--wait=false")

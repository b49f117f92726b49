"""The image and the chart under a real kubelet: what only pods can show. Run by `make e2e-pods` alone.

The tests share one release, in the order in which they stand here.
"""

from __future__ import annotations

from collections import Counter

from harness.api import Json
from harness.team import Team
from harness.waiting import eventually
from helmchart.render import NAMESPACE, RELEASE
from pods.image import IMAGE
from pods.release import SECONDS, Release

FIRST, SECOND, THIRD = "first", "second", "third"

_LOOK_INSIDE = """
import errno, json, os, shutil
def write(path):
    try:
        open(path, "w")
    except OSError as error:
        return errno.errorcode[error.errno]
status = dict(line.split(":", 1) for line in open("/proc/1/status"))
facts = {name: status[name].split()[0] for name in ("Uid", "Gid", "CapEff", "NoNewPrivs", "Seccomp")}
facts["write"] = write("/written"), write("/opt/operator/written")
facts["compilers"] = [name for name in ("cc", "gcc", "c++", "clang") if shutil.which(name)]
facts["argv"] = open("/proc/1/cmdline").read().split(chr(0))
print(json.dumps(facts))
"""


def test_two_replicas_are_ready_by_their_probes(release: Release) -> None:
    """On a namespace that admits the restricted only; each was started once, by the kubelet's own judgement."""
    pods = release.pods()
    assert len(pods) == 2
    for pod in pods.values():
        (container,), (state,) = pod["spec"]["containers"], pod["status"]["containerStatuses"]
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)
        assert (state["started"], state["ready"], state["restartCount"]) == (True, True, 0)
        assert container["image"] == IMAGE
    assert eventually(release.leader, pods.__contains__, within=SECONDS)


def test_nobody_in_it_could_write_or_rise(release: Release) -> None:
    """Not root, without a capability, filtered system calls, a root file system that is read-only, and no compiler."""
    for pod in release.pods():
        facts = release.ask(pod, _LOOK_INSIDE)
        assert facts.pop("argv")[1:3] == ["/opt/operator/bin/inferencekey-operator", "run"]
        assert facts == {
            "Uid": "65532",
            "Gid": "65532",
            "CapEff": "0000000000000000",
            "NoNewPrivs": "1",
            "Seccomp": "2",
            "write": ["EROFS", "EROFS"],
            "compilers": [],
        }


def test_a_workload_becomes_ready_and_an_application_finds_it(release: Release, residents: Team) -> None:
    """It is on the platform once; a pod takes the ConfigMap that was published as its environment, and says so."""
    residents.declare(FIRST)
    residents.until_ready(FIRST, within=120)
    assert residents.slugs() == [FIRST]
    published = residents.config_map(f"{FIRST}-endpoint")
    assert published is not None
    residents.kubectl("apply", "-f", "-", document=_application(f"{FIRST}-endpoint"))
    done = ("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/app", "--timeout=50s")
    residents.kubectl(*done)
    said = residents.kubectl("logs", "app").stdout.split()
    assert said == [published["data"]["OPENAI_BASE_URL"], published["data"]["OPENAI_MODEL"]]
    assert said[0].startswith("http://")


def test_the_leaders_pod_is_killed_in_the_middle_of_a_creation(release: Release, residents: Team) -> None:
    """The other replica takes over what was begun: it is made once, and becomes Ready; a new pod stands by."""
    leader = release.leader()
    (other,) = set(release.pods()) - {leader}
    residents.platform.fault("delay_after", operation="create", project=residents.name, seconds=4.0)
    residents.declare(SECOND)
    eventually(lambda: [call for call in residents.calls("create") if call["seconds"] is None])
    release.kubectl("delete", "pod", leader, "--grace-period=0", "--force")
    eventually(release.leader, other.__eq__, within=SECONDS)
    residents.until_ready(SECOND, within=120)
    assert _made(residents) == {FIRST: 1, SECOND: 1}
    release.until_rolled_out()
    assert leader not in release.pods()


def test_a_rollout_hands_the_work_over(release: Release, residents: Team) -> None:
    """New pods take over from old ones; what is there is not written again, and what is new is made once."""
    before, since = set(release.pods()), residents.platform.last()
    release.kubectl("rollout", "restart", f"deployment/{RELEASE}")
    release.until_rolled_out()
    after = set(release.pods())
    assert not before & after
    eventually(release.leader, after.__contains__, within=SECONDS)
    assert residents.platform_writes(since) == []
    residents.declare(THIRD)
    residents.until_ready(THIRD, within=120)
    assert _made(residents) == {FIRST: 1, SECOND: 1, THIRD: 1}


def test_uninstalled_it_leaves_what_is_the_users(release: Release, residents: Team) -> None:
    """The pods end; the CRD, the Workloads and what is on the platform stay."""
    release.helm.run("uninstall", RELEASE, f"--namespace={NAMESPACE}")
    eventually(release.pods, lambda pods: pods == {}, within=SECONDS)
    assert release.cluster.established("workloads.inferencekey.com")
    names = sorted(each["metadata"]["name"] for each in release.api.workloads(residents.name))
    assert names == residents.slugs() == [FIRST, SECOND, THIRD]
    assert residents.platform_writes()[-1] == f"create {THIRD}"


def _made(team: Team) -> Counter[str]:
    """How often each slug was made; each that was made is there, once."""
    made = Counter(call["slug"] for call in team.calls("create") if call["status"] == 201)
    assert Counter(team.slugs()) == made
    return made


def _application(config_map: str) -> Json:
    """A pod that says where its model is."""
    says = "import os; print(os.environ['OPENAI_BASE_URL'], os.environ['OPENAI_MODEL'])"
    container = {
        "name": "app",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["python", "-c", says],
        "envFrom": [{"configMapRef": {"name": config_map}}],
    }
    spec = {"restartPolicy": "Never", "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app"}, "spec": spec}

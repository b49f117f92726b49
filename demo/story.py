"""The story, chapter by chapter: what the demo does, and what must be seen to happen.

A chapter that is not seen to happen as it says raises StepFailedError. How things look is the screen's affair, how they
are started the stage's.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from demo.stage import INTERVAL, NAMESPACE, PROJECT, Stage, StepFailedError
from demo.watch import ON_DRIFT, Workload, read

APPROVE_PLAN = "inferencekey.com/approve-plan"
REVIEWED = "reviewed"
"""The example of which every write waits for approval."""
SURVIVOR = "survivor"
_QUIET_SECONDS = 3 * INTERVAL


@dataclass(frozen=True)
class Change:
    """What somebody changes in the dashboard, and the drift policy that the Workload has by then."""

    name: str
    policy: str
    live: dict[str, Any]
    """The platform's fields, with dots to reach inside one."""


CHANGES = (
    Change("chat", "Reconcile", {"model_name": "Qwen/Qwen3-0.6B"}),
    Change(REVIEWED, "DryRun", {"model_name": "mistralai/Ministral-8B", "execution_policy_config.replicas": 4}),
    Change("office-hours", "Warn", {"execution_policy_config.window": "Mon-Sun 00:00-24:00 Europe/Madrid"}),
    Change("embedding-ollama", "Fail", {"model_name": "mxbai-embed-large"}),
)


def from_nothing_to_serving(stage: Stage) -> None:
    """Everything that the examples declare is made, but for what waits for approval."""
    applied = stage.kubectl("apply -k examples/").splitlines()
    stage.wait(
        f"all {len(applied)} are Ready, but for {REVIEWED}, whose plan is held",
        lambda: len(stage.workloads.all()) == len(applied) and all(map(_settled, stage.workloads.all())),
        lambda: _told(stage),
        seconds=60,
    )


def approval(stage: Stage) -> None:
    """A held plan is carried out once somebody approves it."""
    held = stage.workload(REVIEWED)
    stage.screen.say(f"Its status says: {held.message}")
    _approve(stage, held)


def rest(stage: Stage) -> None:
    """While nothing happens, one list per project and interval is all there is."""
    stage.wait(
        f"nothing is written for {_QUIET_SECONDS:.0f} s",
        lambda: stage.counters.quiet_seconds > _QUIET_SECONDS,
        lambda: f"{stage.counters.now}, {stage.counters.quiet_seconds:.0f} s without a write",
        seconds=60,
    )
    seen = stage.counters.over(_QUIET_SECONDS)
    if not 1 <= seen.lists <= 2 * _QUIET_SECONDS / INTERVAL:
        raise StepFailedError(f"Expected: one list per {INTERVAL:g} s.\nSeen: {seen.lists} in {_QUIET_SECONDS:.0f} s")
    stage.screen.say(
        f"In that time, for {len(stage.workloads.all())} Workloads: {seen.lists} lists (one per project and "
        f"interval, here {INTERVAL:g} s) and {seen.platform_writes} writes of the platform."
    )
    if not stage.counters.audited:
        stage.screen.say("Writes to Kubernetes are not counted: that takes the API server's audit log.")
        return
    total = stage.counters.now.kubernetes
    by_resource = ", ".join(f"{total[each]} of {each}" for each in sorted(total) if each != "leases")
    stage.screen.say(
        f"Writes to Kubernetes: {seen.kubernetes_writes}. That counts every create, update, patch and delete by the "
        f"operator in the audit log (so far {by_resource}), but for the {seen.lease_writes} renewals of its Lease."
    )


def drift(stage: Stage) -> None:
    """What somebody changes on the platform is repaired or reported, as each one's policy says."""
    _set_policies(stage)
    begin = stage.admin.last()
    stage.screen.say("Somebody sets, in the dashboard:")
    for change in CHANGES:
        stage.admin.edit(PROJECT, stage.workload(change.name).slug, **change.live)
        edits = ", ".join(f"{field} = {value}" for field, value in change.live.items())
        stage.screen.say(f"    {change.name}: {edits}", "magenta")
    stage.wait(
        "all of it is repaired or reported, as the policies say",
        lambda: all(_dealt_with(stage, change, begin) for change in CHANGES),
        lambda: _told(stage),
    )
    for change in CHANGES:
        _show_outcome(stage, change, begin)
    stage.screen.beat()
    failing = CHANGES[-1].name
    stage.screen.say(f"{failing} is approved now; the others keep their drift, for you to try.")
    _approve(stage, stage.workload(failing))


def crash(stage: Stage) -> None:
    """Killed between the platform's creation and its own knowledge of it, the operator does not create twice."""
    stage.admin.fault("delay_after", operation="create", slug=SURVIVOR, seconds=8)
    begin = stage.admin.last()
    stage.kubectl(f"apply -f demo/{SURVIVOR}.yaml")
    stage.wait(
        "the platform has made it, and its answer is on the way",
        lambda: any(request["status"] is None for request in _creations(stage, begin)) and _rows(stage),
        lambda: _creations(stage, begin),
    )
    killed = stage.operator.pid
    stage.operator.kill()
    stage.screen.say(f"kill -9 {killed}: the operator is dead.", "red")
    _check_intent(stage)
    restart = stage.admin.last()
    stage.operator.start()
    stage.screen.say(
        f"Another one starts, pid {stage.operator.pid}. First the dead one's Lease must run out, some 15 s."
    )
    stage.wait(
        f"it has found {SURVIVOR}, and {SURVIVOR} is Ready",
        lambda: (found := stage.workload(SURVIVOR)).ready == "True" and found.id,
        lambda: _told(stage),
        seconds=60,
    )
    _check_no_twin(stage, begin, restart)


def deletion(stage: Stage) -> None:
    """What the operator made goes with its Workload."""
    stage.kubectl(f"delete ikw/{SURVIVOR}")
    stage.wait(
        f"{SURVIVOR} is gone from Kubernetes and from the platform",
        lambda: stage.workloads.get(SURVIVOR) is None and not _rows(stage),
        lambda: (stage.workloads.get(SURVIVOR), _rows(stage)),
    )


CHAPTERS: tuple[tuple[str, Callable[[Stage], None]], ...] = (
    ("From nothing to serving", from_nothing_to_serving),
    ("A plan waits until somebody approves it", approval),
    ("Nothing happens, and nothing is written", rest),
    ("Somebody changes workloads in the dashboard", drift),
    ("The operator is killed in the middle of a creation", crash),
    ("A Workload is deleted", deletion),
)


def what_next(stage: Stage) -> None:
    """What people can try, with commands that can be pasted."""
    screen, url, held = stage.screen, stage.admin.url, stage.workload(REVIEWED)
    kubectl = "kubectl" if shutil.which("kubectl") else str(stage.cluster.kubectl_path)
    screen.say("Everything stays up until Ctrl-C. In another terminal:")
    screen.command(f"export KUBECONFIG={stage.cluster.kubeconfig}")
    screen.command(f"{kubectl} get ikw -A")
    screen.command(f"{kubectl} -n {NAMESPACE} describe ikw/{held.name}")
    screen.say("Approve what is held:")
    screen.command(f"{kubectl} -n {NAMESPACE} annotate ikw/{held.name} --overwrite {APPROVE_PLAN}={held.plan}")
    screen.say(f"Change something in the dashboard, which is the simulator's admin API, {url}/simulator/:")
    edit = """-d '{"model_name": "another"}'"""
    screen.command(f"curl -X PATCH {url}/simulator/workloads/{PROJECT}/chat {edit}")
    screen.say("See what the platform was asked, and what the operator says:")
    screen.command(f"curl {url}/simulator/requests")
    screen.command(f"tail -f {stage.operator.log}")


def _approve(stage: Stage, held: Workload) -> None:
    stage.kubectl(f"annotate ikw/{held.name} --overwrite {APPROVE_PLAN}={held.plan}")
    stage.wait(
        f"plan {held.plan} is applied, and {held.name} is Ready",
        lambda: (now := stage.workload(held.name)).ready == "True" and not now.plan,
        lambda: stage.workload(held.name),
    )


def _set_policies(stage: Stage) -> None:
    for change in CHANGES:
        if stage.workload(change.name).policy != change.policy:
            stage.kubectl(f"annotate ikw/{change.name} {ON_DRIFT}={change.policy}")
    stage.wait(
        "the policies are in force",
        lambda: all(stage.workload(change.name).policy == change.policy for change in CHANGES),
        lambda: {change.name: stage.workload(change.name).policy for change in CHANGES},
    )


def _dealt_with(stage: Stage, change: Change, begin: int) -> bool:
    now = stage.workload(change.name)
    if change.policy == "Reconcile":
        live = stage.admin.workload(PROJECT, now.slug)
        return live is not None and live["fields"]["model_name"] == now.model and bool(_updates(stage, change, begin))
    ready = "False" if change.policy == "Fail" else "True"
    return len(now.drift_fields) == len(change.live) and now.ready == ready and bool(now.plan)


def _show_outcome(stage: Stage, change: Change, begin: int) -> None:
    now, updates = stage.workload(change.name), _updates(stage, change, begin)
    if change.policy == "Reconcile":
        expected, outcome = 1, f"repaired: {updates[0]['method']} {json.dumps(updates[0]['body'])}"
    else:
        expected, outcome = 0, f"Ready {now.ready}, reported, plan {now.plan} held"
    if len(updates) != expected:
        raise StepFailedError(f"Expected: {expected} writes of {change.name} to the platform.\nSeen: {updates}")
    stage.screen.say(f"{change.name}, {change.policy}: {outcome}")
    for field in now.drift_fields:
        stage.screen.say(f"    {field.path}: declared {field.declared}, live {field.live}", "yellow")


def _check_intent(stage: Stage) -> None:
    stored = stage.cluster.kubectl("-n", NAMESPACE, "get", f"ikw/{SURVIVOR}", "-o", "json").stdout
    known = read(json.loads(stored))
    if known.id or not known.finalizers:
        raise StepFailedError(f"Expected: a finalizer and no workloadId, as it died in between.\nSeen: {known}")
    stage.screen.say(f"All that Kubernetes knows: finalizer {known.finalizers[0]}, and no status.workloadId.")


def _check_no_twin(stage: Stage, begin: int, restart: int) -> None:
    rows, posts = _rows(stage), _creations(stage, begin)
    writes = [each for each in stage.admin.requests(restart) if each["method"] != "GET"]
    if [row["id"] for row in rows] != [stage.workload(SURVIVOR).id] or len(posts) != 1 or writes:
        raise StepFailedError(f"Expected: one row, one POST, no write since.\nSeen: {rows}, {posts}, {writes}")
    stage.screen.say(f"On the platform: {len(rows)} {SURVIVOR} ({rows[0]['id']}), from {len(posts)} POST, not two.")
    stage.screen.say(f"Writes to the platform since the restart: {len(writes)}.")


def _settled(workload: Workload) -> bool:
    """Served, or held where that is its policy."""
    if workload.annotated == "DryRun":
        return workload.reason == "PlanPending" and bool(workload.plan)
    return workload.ready == "True"


def _told(stage: Stage) -> str:
    return "; ".join(f"{each.name}: {each.brief}" for each in stage.workloads.all())


def _updates(stage: Stage, change: Change, begin: int) -> list[dict[str, Any]]:
    slug = stage.workload(change.name).slug
    return [each for each in stage.admin.requests(begin, "update") if each["slug"] == slug]


def _creations(stage: Stage, begin: int) -> list[dict[str, Any]]:
    return stage.admin.requests(begin, "create")


def _rows(stage: Stage) -> list[dict[str, Any]]:
    """Twins are there under the slug with a number behind it."""
    return [each for each in stage.admin.workloads(PROJECT) if each["slug"].startswith(SURVIVOR)]

"""The end of a run: faults stop, inputs are mended, and then everything must be as declared, and nothing move.

What each policy calls for is `expected`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from chaos.clocks import now
from chaos.expected import AT_REST, ready_of, reasons
from chaos.history import PROJECTS, Life
from chaos.kubernetes import Name
from chaos.oracle import in_sync
from chaos.world import PORT, World
from inferencekey_operator.api.workload import RECONCILE_REQUESTED_AT
from inferencekey_operator.cache.installations import QUIET
from inferencekey_simulator.inventory import Row
from unit.invariants import broken_rules

CONVERGES = 900.0
"""Seconds in which everything is as declared, at the latest: some full rounds, and the longest wait of a retry."""
STEP = 20.0
IDLE = 300.0
"""Seconds of rest: more than two full rounds, and several looks at readiness."""


async def come_to_rest(world: World) -> None:
    """Mend everything, wait until it converged, and watch it do nothing."""
    await _mend(world)
    deadline = now() + CONVERGES
    while (left := list(_unsettled(world))) and now() < deadline and not world.oracle.broken:  # noqa: ASYNC110
        await asyncio.sleep(STEP)  # of virtual time
    for what in left:
        world.oracle.wrong(f"not-converged: {what}")
    for what in world.oracle.leaks(world.platform.live()):
        world.oracle.wrong(what)
    if not world.oracle.broken:
        await _stay_idle(world)


async def _mend(world: World) -> None:
    world.mend()
    world.replicas = 1
    for life in world.others:
        life.process.kill()
    for life in world.running():
        life.process.dies_in = None
        life.process.frozen_from.clear()
    for namespace in PROJECTS:
        if namespace not in world.good_tokens:
            world.give_token(namespace)
    for row in world.platform.live().values():
        world.platform.set_phase(row, None)
    if world.others:
        await asyncio.sleep(QUIET)  # until then the one stands back for the other
    await asyncio.sleep(90.0)  # what was under way arrives, and whoever was killed is replaced
    for workload in world.workloads():
        world.annotate(workload, RECONCILE_REQUESTED_AT, f"{now():.3f}")


async def _stay_idle(world: World) -> None:
    await asyncio.sleep(STEP)
    kubernetes, platform = len(world.oracle.kubernetes_writes), len(world.oracle.platform_writes)
    await asyncio.sleep(IDLE)
    for written in (world.oracle.kubernetes_writes[kubernetes:], world.oracle.platform_writes[platform:]):
        if written:
            world.oracle.wrong(f"not-idle: {written[:10]}")


def _unsettled(world: World) -> Iterator[str]:
    """What is not as it should be yet."""
    for life in world.workloads():
        if life.deleting:
            yield f"{life.namespace}/{life.name} is not gone: {ready_of(life.body)}"
            continue
        row = world.platform.inventory.lookup(_project(life), life.slug)
        word = ready_of(life.body).get("reason")
        allowed = _allowed(world, life, row)
        if word not in allowed:
            shown = row.fields if row else None
            yield f"{life.namespace}/{life.name} says {ready_of(life.body)}, and not {sorted(allowed)}; row {shown}"
        elif life.body["status"].get("observedGeneration") != life.body["metadata"]["generation"]:
            yield f"{life.namespace}/{life.name} has a status of another generation"
        elif ready_of(life.body).get("status") == "True" and not _published(world, life):
            yield f"{life.namespace}/{life.name} is ready, and its endpoint's ConfigMap is not as it should be"
        elif wrong := next(broken_rules(life.body["status"]), None):
            yield f"{life.namespace}/{life.name} has a bad status: {wrong}"
        elif {"creation", "workloadId"} <= life.body["status"].keys() and not _blocked(life):
            yield f"{life.namespace}/{life.name} still looks for what came of a creation"


def _project(life: Life) -> str:
    """Where it belongs by now: what hands took out of the status is pinned anew, or stays out until it is created."""
    return str(life.body["status"].get("projectSlug") or PROJECTS[life.namespace])


def _published(world: World, life: Life) -> bool:
    """Whether the endpoint's ConfigMap is the Workload's, and says where that is; of the suspended nothing is kept."""
    found = world.objects.get(Name("configmaps", life.namespace, f"{life.name}-endpoint"))
    if life.body["spec"].get("suspend"):
        return True
    url = f"http://127.0.0.1:{PORT}/endpoint/{_project(life)}/{life.slug}/v1"
    owners = [each["uid"] for each in (found or {"metadata": {}})["metadata"].get("ownerReferences") or ()]
    return found is not None and owners == [life.uid] and found["data"]["OPENAI_BASE_URL"] == url


def _blocked(life: Life) -> bool:
    """Whether nothing is looked for, since it is suspended, or waits for a person."""
    waits = ready_of(life.body).get("reason") in ("IdentityChanged", "SlugConflict", "InvalidPolicy")
    return waits or bool(life.body["spec"].get("suspend"))


def _allowed(world: World, life: Life, row: Row | None) -> set[str]:
    """The reasons that `Ready` may have."""
    policy, spec = world.history.policy(life), life.body["spec"]
    if spec.get("suspend"):
        return AT_REST
    if policy is None:
        return {"InvalidPolicy"}
    ours = world.platform.inventory.find(life.body["status"].get("workloadId", ""))
    if _project(life) != PROJECTS[life.namespace] or (ours is not None and ours.slug != life.slug):
        return {"IdentityChanged", "SlugConflict"}
    rivals = [
        other
        for other in world.workloads()
        if other.slug == life.slug and _project(other) == _project(life) and other is not life
    ]
    if rivals and any(ready_of(other.body).get("reason") != "SlugConflict" for other in rivals):
        conflict = {"SlugConflict"}
        if ready_of(life.body).get("reason") == "SlugConflict":
            return conflict
    same = row is not None and in_sync(life.body, row)
    remembered = {"IdentityChanged"} if _renamed_and_wiped(world, life) else set()
    return remembered | reasons(policy, life.body, row.id if row is not None else None, in_sync=same)


def _renamed_and_wiped(world: World, life: Life) -> bool:
    """Whether a process may remember a workload that was renamed, and that hands took out of the status."""
    ids = {body["status"].get("workloadId", "") for _, body in life.versions}
    rows = [world.platform.inventory.find(identifier) for identifier in ids]
    return bool({"status", "restored"} & life.hands) and any(row is not None and row.slug != life.slug for row in rows)

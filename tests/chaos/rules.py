"""What may happen in a run: what people do on both sides, what breaks, and who dies.

A rule takes the world and three numbers, and picks with them whatever is there at that moment: so a list of steps
stays a list of steps when some of them are left out. A rule that finds nothing to act on does nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any, NamedTuple, TypeVar

from chaos.apiserver import Trouble, some_trouble
from chaos.clocks import now
from chaos.history import PROJECTS, Life, annotation
from chaos.kubernetes import WORKLOADS, Body, Name, RefusedError
from chaos.life import API_SERVER
from chaos.network import Place
from chaos.normal import NORMAL
from chaos.oracle import declared
from chaos.platform import IN_FRONT, some_fault
from chaos.world import PORT, World
from inferencekey_operator.api.workload import APPROVE_PLAN, FINALIZER, GROUP, ON_DRIFT, RECONCILE_REQUESTED_AT, VERSION
from inferencekey_simulator.faults import Fault

T = TypeVar("T")
Rule = Callable[[World, int, int, int], None]

NAMESPACES = tuple(PROJECTS)
NAMES = ("alpha", "beta", "gamma")
MODELS = ("llama-3", "llama-3-70b", "qwen-3")
POLICIES = ("Reconcile", "Fail", "DryRun", "Warn", "Ignore")
WORDS = ("Reconcile", "Reconcile", None, None, None, "Fail", "DryRun", "Warn", "Ignore", "dry_run", "Sometimes")
DELETION = (None, "Delete", "Orphan")
ADOPTION = (None, None, None, "Always", "IfIdentical", "Never")
PAUSES = (0.0, 0.0, 0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 1.0, 2.0, 2.0, 3.0, 4.0, 6.0, 9.0, 12.0, 25.0, 60.0)
AUTOSCALING = {"min_workers": 0, "max_workers": 3, "max_hourly_cost_usd": 2.5}


class Step(NamedTuple):
    """One thing that happens, and how long nothing else does."""

    rule: str
    a: int = 0
    b: int = 0
    c: int = 0
    pause: float = 0.0

    def __str__(self) -> str:
        return f"Step({self.rule!r}, {self.a}, {self.b}, {self.c}, {self.pause:g})"


def pick(options: Sequence[T], number: int) -> T:
    """One of them."""
    return options[number % len(options)]


_RULES: dict[str, tuple[int, Rule]] = {}


def _rule(weight: int) -> Callable[[Rule], Rule]:
    def registered(rule: Rule) -> Rule:
        _RULES[rule.__name__] = (weight, rule)
        return rule

    return registered


def apply(world: World, step: Step) -> None:
    """Let it happen."""
    with suppress(RefusedError):  # what hands are refused, they do not do
        _RULES[step.rule][1](world, step.a, step.b, step.c)


def steps(rng: Random, count: int) -> list[Step]:
    """What happens in a run: a few Workloads first, then anything."""
    names, weights = list(_RULES), [weight for weight, _ in _RULES.values()]
    chosen = ["declare"] * 2 + rng.choices(names, weights, k=count - 2)
    return [
        Step(name, rng.randrange(1000), rng.randrange(1000), rng.randrange(1000), rng.choice(PAUSES)) for name in chosen
    ]


# -- people in Kubernetes --------------------------------------------------------------------------------------


def _workload(world: World, number: int) -> Life | None:
    present = world.workloads()
    return pick(present, number) if present else None


@_rule(10)
def declare(world: World, a: int, b: int, c: int) -> None:
    """`kubectl apply` of a new Workload; now and then with a slug that another one has."""
    namespace, name = pick(NAMESPACES, a), pick(NAMES, b)
    spec: Body = {"model": pick(MODELS, c), "backend": "vllm"}
    if c % 9 == 0:
        name, spec["slug"] = f"{name}-too", name
    for key, value in (("deletionPolicy", pick(DELETION, c // 7)), ("adoptionPolicy", pick(ADOPTION, a // 3))):
        if value is not None:
            spec[key] = value
    word = pick((None, None, None, None, *POLICIES), b // 3)
    metadata = {"annotations": {ON_DRIFT: word}} if word else {}
    body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "Workload", "metadata": metadata, "spec": spec}
    world.objects.create(Name(WORKLOADS, namespace, name), body)


@_rule(8)
def edit_spec(world: World, a: int, b: int, c: int) -> None:
    """A field of the declaration is set, or not declared any more."""
    workload = _workload(world, a)
    changes: tuple[Body, ...] = (
        {"model": pick(MODELS, c)},
        {"command": pick(("vllm serve", "vllm serve --fast", None), c)},
        {"description": pick(("a bot", "another bot", "A Bot\n", None), c)},
        {"config": pick(({"seed": 1}, {"seed": 2, "nested": {"x": c % 3}}, None), c)},
        {"executionPolicy": "autoscaling", "executionPolicyConfig": AUTOSCALING},
        {"executionPolicy": "fixed", "executionPolicyConfig": {"replicas": 1 + c % 3}},
    )
    if workload is not None:
        world.patch(workload, {"spec": pick(changes, b)})


@_rule(6)
def set_policy(world: World, a: int, b: int, c: int) -> None:
    """The drift policy of a Workload."""
    workload = _workload(world, a)
    if workload is not None:
        world.annotate(workload, ON_DRIFT, pick(WORDS, b))


@_rule(1)
def set_policy_of_namespace(world: World, a: int, b: int, c: int) -> None:
    """The drift policy that a Namespace states."""
    name = Name("namespaces", "", pick(NAMESPACES, a))
    world.objects.patch(name, {"metadata": {"annotations": {ON_DRIFT: pick(WORDS, b)}}})


@_rule(7)
def approve(world: World, a: int, b: int, c: int) -> None:
    """Somebody approves what is shown: of a Workload that has a plan, if there is one."""
    waiting = [life for life in world.workloads() if life.body["status"].get("drift", {}).get("planId")]
    if waiting:
        life = pick(waiting, a)
        world.annotate(life, APPROVE_PLAN, life.body["status"]["drift"]["planId"])


@_rule(2)
def approve_the_stale(world: World, a: int, b: int, c: int) -> None:
    """An id that was shown once, of this Workload or another, or never."""
    workload = _workload(world, a)
    shown = sorted(plan for life in world.history.lives.values() for plan in life.shown_plans)
    if workload is not None:
        world.annotate(workload, APPROVE_PLAN, pick([*shown, "0123456789abcdef0123456789abcdef"], b))


@_rule(2)
def request_look(world: World, a: int, b: int, c: int) -> None:
    """Look now."""
    workload = _workload(world, a)
    if workload is not None:
        world.annotate(workload, RECONCILE_REQUESTED_AT, f"{now():.3f}")


@_rule(3)
def suspend(world: World, a: int, b: int, c: int) -> None:
    """Suspended, or not any more."""
    workload = _workload(world, a)
    if workload is not None:
        world.patch(workload, {"spec": {"suspend": None if workload.body["spec"].get("suspend") else True}})


@_rule(3)
def set_deletion_policy(world: World, a: int, b: int, c: int) -> None:
    """Delete, Orphan, or unset."""
    workload = _workload(world, a)
    if workload is not None:
        world.patch(workload, {"spec": {"deletionPolicy": pick(DELETION, b)}})


@_rule(2)
def set_adoption_policy(world: World, a: int, b: int, c: int) -> None:
    """Always, IfIdentical, Never, or unset."""
    workload = _workload(world, a)
    if workload is not None:
        world.patch(workload, {"spec": {"adoptionPolicy": pick(ADOPTION, b)}})


@_rule(8)
def delete(world: World, a: int, b: int, c: int) -> None:
    """`kubectl delete`."""
    workload = _workload(world, a)
    if workload is not None:
        world.objects.delete(world.name(workload))


@_rule(2)
def remove_finalizer(world: World, a: int, b: int, c: int) -> None:
    """By hand; half of the time on the way to a deletion by force."""
    workload = _workload(world, a)
    if workload is None:
        return
    workload.hands.add("finalizer")
    if b % 2:
        world.objects.delete(world.name(workload))
    if workload.gone_at is None:
        world.patch(workload, {"metadata": {"finalizers": None}})


@_rule(2)
def forge_finalizer(world: World, a: int, b: int, c: int) -> None:
    """Our finalizer by hand: it proves nothing."""
    workload = _workload(world, a)
    if workload is not None and not workload.deleting:
        world.patch(workload, {"metadata": {"finalizers": [FINALIZER]}})


@_rule(3)
def wipe_status(world: World, a: int, b: int, c: int) -> None:
    """As after a restore that leaves statuses out."""
    workload = _workload(world, a)
    if workload is not None:
        world.wipe_status(workload)


@_rule(2)
def restore_status(world: World, a: int, b: int, c: int) -> None:
    """An older status of the same Workload is written over the present one."""
    workload = _workload(world, a)
    if workload is None:
        return
    older = pick([body["status"] for _, body in workload.versions], b)
    workload.hands.add("restored")
    world.patch(workload, {"status": dict.fromkeys(workload.body["status"])}, status=True)
    world.patch(workload, {"status": older}, status=True)


@_rule(2)
def restore_object(world: World, a: int, b: int, c: int) -> None:
    """A backup of a Workload that is gone comes back: the same declaration, another uid, no status."""
    gone = [life for life in world.history.lives.values() if life.gone_at is not None]
    if gone:
        life = pick(gone, a)
        kept = annotation(life.body, ON_DRIFT)
        metadata: Body = {"annotations": {ON_DRIFT: kept} if kept else {}}
        if b % 2:
            metadata["finalizers"] = [FINALIZER]
        made = world.objects.create(world.name(life), {"metadata": metadata, "spec": life.body["spec"]})
        if b % 2:
            world.history.lives[made["metadata"]["uid"]].hands.add("restored")


@_rule(2)
def touch_config_map(world: World, a: int, b: int, c: int) -> None:
    """An endpoint's ConfigMap is edited, deleted, frozen, forged or left without an owner; or writes are refused."""
    name = Name("configmaps", pick(NAMESPACES, a), f"{pick(NAMES, b)}-endpoint")
    if world.objects.get(name) is None:
        return
    forged = {"data": {"OPENAI_BASE_URL": "http://elsewhere.example/v1"}}
    choices: tuple[Callable[[], object], ...] = (
        lambda: world.objects.patch(name, {"data": {"OPENAI_MODEL": "edited"}}),
        lambda: world.objects.delete(name),
        lambda: world.objects.patch(name, {"immutable": True}),
        lambda: world.objects.patch(name, {"immutable": True, **forged}),
        lambda: world.objects.patch(name, {**forged, "metadata": {"ownerReferences": None}}),
        lambda: world.api.troubles.append(Trouble("status", "configmaps", True, status=403, times=1 + c % 5)),
    )
    pick(choices, c)()


@_rule(5)
def touch_secret(world: World, a: int, b: int, c: int) -> None:
    """A Secret is rotated, spoiled, taken away, or given back."""
    namespace = pick(NAMESPACES, a)
    foreign = "lab" if PROJECTS[namespace] == "prod" else "prod"
    choices: tuple[Callable[[], None], ...] = (
        *[lambda: world.give_token(namespace)] * 6,
        lambda: world.put_secret(namespace, None),
        lambda: world.put_secret(namespace, ""),
        lambda: world.put_secret(namespace, "nonsense"),
        lambda: world.put_secret(namespace, f"ik_sdk_00000000_{'0' * 64}"),
        lambda: world.put_secret(namespace, world.mint(foreign)),
        lambda: world.give_token(namespace, ("workload:read",)),
        lambda: _revoke(world, namespace),
        lambda: world.move_secret(namespace, foreign),
        lambda: world.move_secret(namespace, foreign),
    )
    pick(choices, b)()
    world.oracle.note()


def _revoke(world: World, namespace: str) -> None:
    token = world.good_tokens.pop(namespace, None)
    if token is not None:
        world.platform.revoke(token.rpartition("_")[0])


@_rule(2)
def flood(world: World, a: int, b: int, c: int) -> None:
    """For some seconds a ConfigMap, a Secret, a policy or a request changes ten times a second."""
    act: Rule = pick((_edit_config_map, _rotate, set_policy, request_look), a)
    for number in range(pick((20, 60, 150), c)):
        world.loop.call_later(number / 10, _if_allowed, act, world, b, number)


def _if_allowed(act: Rule, world: World, b: int, number: int) -> None:
    with suppress(RefusedError):
        act(world, b, number, number)


def _edit_config_map(world: World, a: int, b: int, c: int) -> None:
    present = list(world.objects.items("configmaps"))
    if present:
        metadata = pick(present, a)["metadata"]
        name = Name("configmaps", metadata["namespace"], metadata["name"])
        world.objects.patch(name, {"data": {"OPENAI_BASE_URL": f"http://elsewhere.example/{b}"}})


def _rotate(world: World, a: int, b: int, c: int) -> None:
    world.give_token(pick(NAMESPACES, a))
    world.oracle.note()


# -- people in the dashboard -----------------------------------------------------------------------------------


def _row(world: World, number: int) -> Any:
    rows = list(world.platform.live().values())
    return pick(rows, number) if rows else None


@_rule(8)
def edit_row(world: World, a: int, b: int, c: int) -> None:
    """Somebody changes a workload in the dashboard."""
    row = _row(world, a)
    changes: tuple[Body, ...] = (
        {"model_name": pick(MODELS, c)},
        {"config.command": pick(("vllm serve", "by hand"), c)},
        {"description": "by hand"},
        {"execution_policy_config": {"replicas": 1 + c % 4}},
        {"name": f"renamed-{c % 3}"},
        {"config": {"theirs": c % 3}},
    )
    if row is not None:
        world.platform.edit(row, pick(changes, b))


@_rule(5)
def remove_row(world: World, a: int, b: int, c: int) -> None:
    """Somebody deletes a workload in the dashboard."""
    row = _row(world, a)
    if row is not None:
        world.platform.remove(row)


@_rule(5)
def add_row(world: World, a: int, b: int, c: int) -> None:
    """Somebody makes a workload in the dashboard: of any slug that is free, as a Workload declares it or not."""
    project, slug = pick(("prod", "lab"), a), pick((*NAMES, "theirs"), b)
    if world.platform.inventory.lookup(project, slug) is not None:
        return
    fields: Body = {"slug": slug, "name": slug, "model_name": pick(MODELS, c), "backend": "vllm"}
    same = [life for life in world.workloads() if life.slug == slug and PROJECTS[life.namespace] == project]
    if same and c % 2:
        fields |= declared(same[0].body)
    world.platform.add(project, fields)


@_rule(2)
def rename_row(world: World, a: int, b: int, c: int) -> None:
    """Somebody gives a workload another slug in the dashboard."""
    row = _row(world, a)
    slug = f"renamed-{b}"
    if row is not None and world.platform.inventory.lookup(row.project, slug) is None:
        world.platform.edit(row, {"slug": slug})


@_rule(2)
def set_phase(world: World, a: int, b: int, c: int) -> None:
    """A workload stops serving, is held on its way, or begins anew."""
    row = _row(world, a)
    if row is not None:
        world.platform.set_phase(row, pick((None, "error", "provisioning", "ready"), b))


# -- the operator's processes ----------------------------------------------------------------------------------


@_rule(9)
def crash(world: World, a: int, b: int, c: int) -> None:
    """It is killed after so many sends: before the next request, in the middle, or before an answer."""
    running = world.running()
    if running:
        pick(running, a).process.dies_in = pick((0, 1, 2, 3, 4, 5, 8, 13, 30), b)
        world.crashes += 1


@_rule(2)
def hand_over(world: World, a: int, b: int, c: int) -> None:
    """SIGTERM to the one that works; now and then there is another one that waits."""
    leader = world.leader()
    if b % 2 and len(world.running()) < 2:
        world.start()
    if leader is not None:
        asyncio.ensure_future(leader.stop())  # noqa: RUF006 - it ends with the process
        world.crashes += 1


@_rule(1)
def second_replica(world: World, a: int, b: int, c: int) -> None:
    """Another one waits for the Lease from now on."""
    if len(world.running()) < 2:
        world.replicas = 2
        world.start()


@_rule(1)
def install_another(world: World, a: int, b: int, c: int) -> None:
    """For a while a second installation works on the same namespaces, with a Lease of its own."""
    if not any(not life.over for life in world.others):
        life = world.install_another()
        world.loop.call_later(pick((15.0, 60.0), a), life.process.kill)


@_rule(1)
def restore_etcd(world: World, a: int, b: int, c: int) -> None:
    """Kubernetes is put back to a former state, from a snapshot."""
    world.restore_etcd(pick((5.0, 20.0, 60.0), a))


@_rule(2)
def cut_off(world: World, a: int, b: int, c: int) -> None:
    """One process does not reach the API server, or the platform, for a while."""
    running = world.running()
    if running:
        seconds = pick((1.0, 6.0, 20.0, 40.0), b)
        place: Place = API_SERVER if c % 2 == 0 else PORT
        pick(running, a).process.cut_off(place, now() + seconds)
        world.trouble_in_kubernetes(seconds)
        world.cuts += 1


# -- what breaks -----------------------------------------------------------------------------------------------

_OPERATIONS = ("list", "create", "update", "delete", "create", "delete")


@_rule(22)
def platform_fault(world: World, a: int, b: int, c: int) -> None:
    """The next calls of a kind go wrong: refused, late, cut before or after, spoiled."""
    operation, times = pick(_OPERATIONS, a), pick((1, 1, 1, 2, 3), c)
    world.platform.faults.add(some_fault(b, c, operation=operation, times=times))


@_rule(8)
def trouble_with_a_creation(world: World, a: int, b: int, c: int) -> None:
    """Something new is declared, or made again, and its POST is late, lost, or the last thing that a process sends."""
    fault: Body = pick(
        (
            {"action": "delay", "seconds": 12.0},
            {"action": "delay", "seconds": 30.0},
            {"action": "cut_after"},
            {"action": "delay_after", "seconds": 12.0},
        ),
        c,
    )
    world.platform.faults.add(Fault.model_validate({**fault, "operation": "create"}))
    if c % 3:
        declare(world, a, b, c)
    else:
        remove_row(world, a, b, c)
    if b % 4 == 0:
        crash(world, a, a, c)


@_rule(5)
def take_the_slug(world: World, a: int, b: int, c: int) -> None:
    """Something new is declared, and while its POST is on the way somebody takes the slug; then anything happens."""
    world.platform.faults.add(Fault.model_validate({"action": "delay", "operation": "create", "seconds": 3.0}))
    declare(world, a, b, c)
    world.loop.call_later(2.0, _take, world, pick(NAMESPACES, a), pick(NAMES, b), c)
    if c % 2:
        refusal = {"action": "respond", "operation": "delete", "status": pick((503, 404, 500), c), "times": 1 + b % 3}
        world.platform.faults.add(Fault.model_validate(refusal))
    if c % 3 == 0:
        world.loop.call_later(3.2, crash, world, a, pick((0, 1, 2, 3), c), c)


def _take(world: World, namespace: str, slug: str, c: int) -> None:
    project = PROJECTS[namespace]
    if world.platform.inventory.lookup(project, slug) is None:
        fields = {"slug": slug, "name": "theirs", "model_name": pick(MODELS, c), "backend": "vllm"}
        world.platform.add(project, fields)


@_rule(2)
def outage(world: World, a: int, b: int, c: int) -> None:
    """The platform is down for everybody, for a while."""
    in_front = tuple({"action": "respond", **answer} for answer in IN_FRONT)
    none = ({"action": "cut_before"}, {"action": "respond", "status": 503}, {"action": "delay", "seconds": 15.0})
    fault: Body = pick((*none, *none, *in_front), a)
    number = world.platform.faults.add(Fault.model_validate({**fault, "times": None}))
    world.loop.call_later(pick((3.0, 15.0, 45.0, 90.0), b), world.platform.faults.clear, number)


@_rule(9)
def storm(world: World, a: int, b: int, c: int) -> None:
    """For a while any call to the platform may go wrong in any way, and any write to Kubernetes."""
    seconds, chance = pick((10.0, 30.0, 60.0), a), pick((0.1, 0.3, 0.5), b)
    world.platform.weather.until, world.platform.weather.chance = now() + seconds, chance
    if c % 2:
        world.api.storm_until, world.api.chance = now() + seconds, chance
        world.trouble_in_kubernetes(seconds)


@_rule(4)
def lie(world: World, a: int, b: int, c: int) -> None:
    """The next lists are empty, null, or half of what there is."""
    lie = pick((b"[]", b'{"workloads":null}', None, None), a)
    world.platform.lies += [lie] * pick((1, 1, 2, 4), b)
    world.cuts += 1


@_rule(5)
def lists_lag(world: World, a: int, b: int, c: int) -> None:
    """For a while lists show each kind of change late, all of them or every second one."""
    seconds = pick((3.0, 10.0, 25.0, 35.0, 90.0), a)
    kinds = pick((("create", "update", "delete"), ("create",), ("update",), ("delete",)), b)
    world.platform.configure({"list_lag": dict.fromkeys(kinds, seconds), "stale_replicas": c % 3 == 0})
    world.loop.call_later(pick((20.0, 60.0, 120.0), c), world.platform.configure, {"list_lag": NORMAL["list_lag"]})
    world.cuts += 1


@_rule(3)
def set_the_clock(world: World, a: int, b: int, c: int) -> None:
    """The platform's clock goes wrong by up to ten minutes, and what it says of times in other ways, too."""
    world.platform.configure(
        {
            "clock_skew": pick((0.0, -600.0, -90.0, -20.0, 20.0, 600.0), a),
            "date_header": pick(("platform", "platform", "true", "none"), b),
            "created_at": pick(("utc", "utc", "naive", "year_1", "missing"), c),
        }
    )


@_rule(2)
def behave(world: World, a: int, b: int, c: int) -> None:
    """For a while the platform takes its time to delete, or does not; and updates restart what they change."""
    ways = {"deletion": pick(("now", "later", "never", "soft"), a), "readiness": {"restart_on_update": b % 2 == 0}}
    world.platform.configure(ways)
    world.loop.call_later(pick((20.0, 60.0), c), world.platform.configure, {"deletion": "now"})


@_rule(2)
def restate(world: World, a: int, b: int, c: int) -> None:
    """For a while lists spell a description in another way than the answers to writes."""
    rule = {"field": "description", "operation": pick(("trim", "trim", "lower"), a), "lists_only": True}
    world.platform.configure({"normalise": [rule]})
    world.loop.call_later(pick((20.0, 60.0, 300.0), b), world.platform.configure, {"normalise": ()})


@_rule(14)
def kubernetes_fault(world: World, a: int, b: int, c: int) -> None:
    """The next requests of a kind go wrong: refused, late, cut, or done and not answered."""
    plural = pick((WORKLOADS, WORKLOADS, WORKLOADS, "configmaps", "events", ""), a)
    times = pick((1, 1, 2, 3), c)
    world.api.troubles.append(some_trouble(b, c, plural, b % 6 < 5, times))
    world.trouble_in_kubernetes()


@_rule(3)
def silent_watches(world: World, a: int, b: int, c: int) -> None:
    """No watch tells anything for a while; then all at once."""
    seconds = pick((1.0, 4.0, 12.0, 25.0), a)
    world.api.silent_until = max(world.api.silent_until, now() + seconds)
    world.trouble_in_kubernetes(seconds)
    world.cuts += 1


@_rule(2)
def expire_watches(world: World, a: int, b: int, c: int) -> None:
    """410 Gone for every watch at its next word."""
    world.api.expire_watches()
    world.trouble_in_kubernetes()
    world.cuts += 1


@_rule(3)
def calm(world: World, a: int, b: int, c: int) -> None:
    """Whatever was armed is disarmed."""
    world.mend()

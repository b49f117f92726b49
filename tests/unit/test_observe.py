"""The first quarter of a look: what stands in the way before any call, how new a list must be, and whose row it is."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from typing import Any

import pytest

from inferencekey_operator.api.status import Creation, HandledApproval
from inferencekey_operator.api.workload import FINALIZER, OnDrift, TokenSecretRef, Workload
from inferencekey_operator.errors import ConfigurationError, PlatformFailure, Reason
from inferencekey_operator.plan import conditions
from inferencekey_operator.plan.conditions import Report
from inferencekey_operator.plan.ownership import Origin, sent_hash
from inferencekey_operator.reconcile.context import RequeueAfter
from inferencekey_operator.reconcile.observe import (
    drift_policy,
    find,
    refuse_rivals,
    settled,
    stake,
)
from inferencekey_operator.reconcile.safeguards import look_requested, recheck_absence
from unit.builders import (
    IDENTITY,
    NOW,
    PLATFORM,
    TOKEN,
    a_live,
    a_workload,
    agreed,
    annotated,
    at_rest,
    redeclared,
)
from unit.place import SECRET, Place, a_place
from unit.scripted_platform import REJECTED, now, row
from unit.virtual_time import virtual

# -- the policy ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "namespace", "default", "policy"),
    [
        (None, None, OnDrift.RECONCILE, OnDrift.RECONCILE),
        (None, None, OnDrift.WARN, OnDrift.WARN),
        (None, "Fail", OnDrift.WARN, OnDrift.FAIL),
        ("Ignore", "Fail", OnDrift.WARN, OnDrift.IGNORE),
        ("dry_run", None, OnDrift.WARN, OnDrift.DRY_RUN),
        (None, "DRY_RUN", OnDrift.WARN, OnDrift.DRY_RUN),
    ],
)
def test_which_policy(own: str | None, namespace: str | None, default: OnDrift, policy: OnDrift) -> None:
    """The Workload's annotation, else its Namespace's, else the operator's; the SDK's spellings too."""

    @virtual
    async def check() -> None:
        place = await a_place(on_drift=default)
        if namespace:
            place.namespaces["team-a"] = namespace
        workload = annotated(a_workload(), on_drift=own) if own else a_workload()

        assert drift_policy(place.context, workload) is policy
        assert (await place.look(workload)).policy is policy

    check()


@pytest.mark.parametrize(
    ("own", "namespace", "said", "where", "policy"),
    [
        ("Panic", "Warn", 'of Workload support-bot is "Panic"', "ikw/support-bot -n team-a", "DryRun"),
        ("dry-run", None, "Did you mean DryRun?", "ikw/support-bot -n team-a", "DryRun"),
        ("Fial", None, "Did you mean Fail?", "ikw/support-bot -n team-a", "Fail"),
        ("reconsile", None, "Did you mean Reconcile?", "ikw/support-bot -n team-a", "Reconcile"),
        ("", None, 'is "", which is not a drift policy', "ikw/support-bot -n team-a", "DryRun"),
        (None, "Panic", 'of Namespace team-a is "Panic"', "ns/team-a", "DryRun"),
        (f"ik_sdk_0123abcd_{'0' * 64}", None, "is what looks like a token", "ikw/support-bot -n team-a", "DryRun"),
    ],
)
def test_a_policy_that_is_none(own: str | None, namespace: str | None, said: str, where: str, policy: str) -> None:
    """Nothing is touched, and the message quotes it, names its place, and never suggests more than was meant."""

    @virtual
    async def check() -> None:
        place = await a_place()
        if namespace:
            place.namespaces["team-a"] = namespace
        workload = a_workload() if own is None else annotated(a_workload(), on_drift=own)

        with pytest.raises(ConfigurationError) as caught:
            await place.look(workload)

        assert caught.value.reason is Reason.INVALID_POLICY
        assert said in caught.value.message
        assert f"kubectl annotate {where} --overwrite inferencekey.com/on-drift={policy}" in caught.value.message
        assert "0000" not in caught.value.message
        assert place.lists == 0

    check()


# -- before any call -----------------------------------------------------------------------------------------------

MOVED = agreed(a_workload(), project_slug="staging")
OTHER_SECRET = {"token_secret_ref": TokenSecretRef(name="another")}
IN_THE_WAY: list[tuple[Reason, Workload, dict[str, str]]] = [
    (Reason.INVALID_POLICY, annotated(a_workload(), on_drift="x"), SECRET),
    (Reason.SECRET_IN_SPEC, a_workload({"config": {"key": TOKEN}}), SECRET),
    (Reason.SECRET_NOT_ALLOWED, a_workload(OTHER_SECRET), SECRET),
    (Reason.SECRET_KEY_NOT_FOUND, a_workload(), {}),
    (Reason.TOKEN_MALFORMED, a_workload(), SECRET | {"INFERENCEKEY_SDK_TOKEN": "x"}),
    (Reason.PROJECT_NOT_SET, a_workload(), {"INFERENCEKEY_SDK_TOKEN": TOKEN}),
    (Reason.BASE_URL_NOT_ALLOWED, a_workload(), SECRET | {"INFERENCEKEY_BASE_URL": "https://evil.example"}),
    (Reason.IDENTITY_CHANGED, MOVED, SECRET),
]


@pytest.mark.parametrize(("reason", "workload", "secret"), IN_THE_WAY, ids=[row[0] for row in IN_THE_WAY])
def test_what_stands_in_the_way_costs_no_call(reason: Reason, workload: Workload, secret: dict[str, str]) -> None:
    """Neither now nor later, in the interval, for a Workload whose credential was good before."""

    @virtual
    async def check() -> None:
        place = await a_place()
        await place.look(a_workload())
        place.put(secret)

        with pytest.raises(ConfigurationError) as caught:
            await place.look(workload)
        await asyncio.sleep(300)

        assert caught.value.reason is reason
        assert place.lists == 1
        assert list(place.context.projects) == []

    check()


@virtual
async def test_no_secret_at_all() -> None:
    """It may still come, and nothing is called until it does."""
    place = Place()

    with pytest.raises(ConfigurationError) as caught:
        await place.look(a_workload())
    place.put(SECRET)

    assert (caught.value.reason, place.lists) == (Reason.SECRET_NOT_FOUND, 0)
    assert (await place.look(a_workload())).live == row("support-bot")


# -- what a look gives ---------------------------------------------------------------------------------------------


@virtual
async def test_a_look() -> None:
    """Who we are, what is declared, and what there is."""
    place = await a_place()

    seen = await place.look(a_workload())

    assert seen.identity == IDENTITY
    assert seen.declared["model_name"] == "llama-3"
    assert (seen.live, seen.known) == (row("support-bot"), False)
    assert place.context.projects.of(a_workload().key) is seen.project
    assert place.secrets.last_good("team-a", "inferencekey", "INFERENCEKEY_SDK_TOKEN", "prod") == SECRET


DOUBT = Origin.DOUBT
RECORD = Creation(time=NOW, sent=sent_hash({"name": "support-bot", "backend": "vllm", "model_name": "llama-3"}))
OLDER = a_workload(uid="0")
YOUNGER = a_workload(uid="1", namespace="team-b")


@virtual
async def test_a_token_that_was_refused_is_not_kept() -> None:
    """Only what the platform accepted may serve a deletion later; and it proves no claim."""
    place = await a_place()
    place.stands(OLDER, YOUNGER)
    stake(place.context, YOUNGER)
    place.platform.down = REJECTED

    with pytest.raises(PlatformFailure):
        await place.look(OLDER)

    assert place.secrets.last_good("team-a", "inferencekey", "INFERENCEKEY_SDK_TOKEN", "prod") is None
    refuse_rivals(place.context, YOUNGER, IDENTITY)


# -- whose slug it is ----------------------------------------------------------------------------------------------


async def two_claimants() -> Place:
    """Both declare the slug with a good token; neither was looked at yet."""
    place = await a_place()
    place.put(SECRET, namespace="team-b")
    place.stands(OLDER, YOUNGER)
    return place


@virtual
async def test_the_slug_of_another_workload() -> None:
    """The younger one touches nothing, and is told whose it is."""
    place = await two_claimants()
    await place.look(OLDER)

    with pytest.raises(ConfigurationError, match="belongs to Workload team-a/support-bot") as caught:
        await place.look(YOUNGER)

    assert caught.value.reason is Reason.SLUG_CONFLICT
    assert "kubectl delete ikw/" in caught.value.message
    assert (await place.look(OLDER)).identity == IDENTITY


@virtual
async def test_a_claim_is_staked_before_the_first_look() -> None:
    """As soon as the Secret says who it is; it counts from the moment at which the platform accepts the token."""
    place = await two_claimants()
    stake(place.context, OLDER)
    stake(place.context, YOUNGER)
    assert set(place.context.claims.holders(PLATFORM, "prod", ["support-bot"])) == {OLDER.key, YOUNGER.key}
    assert place.lists == 0
    refuse_rivals(place.context, YOUNGER, IDENTITY)

    await place.context.projects.use("somebody else with this token", PLATFORM, "prod", TOKEN).look()

    with pytest.raises(ConfigurationError, match="belongs to Workload team-a/support-bot"):
        refuse_rivals(place.context, YOUNGER, IDENTITY)
    refuse_rivals(place.context, OLDER, IDENTITY)


@virtual
async def test_a_junk_token_squats_nothing() -> None:
    """The older one's claim stands, and stops nobody, until its Secret holds a token that was accepted."""
    place = await two_claimants()
    place.put(SECRET | {"INFERENCEKEY_SDK_TOKEN": TOKEN.replace("a1", "b1")})
    stake(place.context, OLDER)
    assert (await place.look(YOUNGER)).identity == IDENTITY

    place.put(SECRET)
    stake(place.context, OLDER)

    with pytest.raises(ConfigurationError, match="belongs to Workload team-a/support-bot"):
        await place.look(YOUNGER)


@virtual
async def test_what_becomes_of_a_rival_during_a_look_counts() -> None:
    """Its creation was recorded, or its id, after this one was observed: asked again, the slug is taken."""
    place = await two_claimants()
    await place.look(YOUNGER)
    await place.look(OLDER)

    begun = replace(YOUNGER, status=replace(YOUNGER.status, creation=RECORD), resource_version="101")
    place.stands(begun)

    with pytest.raises(ConfigurationError, match="belongs to Workload team-b/support-bot"):
        refuse_rivals(place.context, OLDER, IDENTITY)
    place.stands(replace(agreed(OLDER), resource_version="102"))
    refuse_rivals(place.context, OLDER, IDENTITY)
    with pytest.raises(ConfigurationError, match="belongs to Workload team-a/support-bot"):
        refuse_rivals(place.context, begun, IDENTITY)


@pytest.mark.parametrize("secret", [None, SECRET | {"INFERENCEKEY_SDK_TOKEN": "x"}, {"INFERENCEKEY_SDK_TOKEN": TOKEN}])
@pytest.mark.parametrize(
    ("workload", "claims", "counts", "why"),
    [
        (agreed(OLDER), True, True, "what is recorded was proven before"),
        (agreed(OLDER, workload_id=None), True, False, "pinned, and nothing proves it today"),
        (OLDER, False, False, "nobody knows who it is"),
    ],
)
def test_an_identity_that_cannot_be_known(
    secret: dict[str, str] | None, workload: Workload, claims: bool, counts: bool, why: str
) -> None:
    """Without a usable Secret the pinned identity is claimed, and nothing proves it."""

    @virtual
    async def check() -> None:
        place = Place()
        place.put(SECRET, namespace="team-b")
        place.stands(workload, YOUNGER)
        if secret is not None:
            place.put(secret)
        await place.look(YOUNGER)

        stake(place.context, workload)

        holders = set(place.context.claims.holders(PLATFORM, "prod", ["support-bot"]))
        assert holders == {YOUNGER.key} | ({OLDER.key} if claims else set()), why
        assert place.context.claims.rival(YOUNGER.key) == (OLDER.key if counts else None), why

    check()


@virtual
async def test_who_claims_another_slug_frees_the_one_it_had() -> None:
    """The Secret names another project by now: whoever waited is told, once."""
    place = await two_claimants()
    stake(place.context, OLDER)
    stake(place.context, YOUNGER)
    assert place.freed == []

    place.put(SECRET | {"INFERENCEKEY_PROJECT": "staging"})
    stake(place.context, OLDER)

    assert place.freed == [YOUNGER.key]
    assert list(place.context.claims.holders(PLATFORM, "staging", ["support-bot"])) == [OLDER.key]


# -- whose row it is -----------------------------------------------------------------------------------------------

ROWS: list[tuple[str, dict[str, Any], list[dict[str, Any]], str | None, Origin]] = [
    ("the recorded one", {"workload_id": "wl_1"}, [{}], "wl_1", Origin.OURS),
    ("none at all", {"workload_id": "wl_1"}, [], None, Origin.FOUND),
    ("found under the slug", {}, [{}], "wl_1", Origin.FOUND),
    ("no id, and a creation on record", {"creation": RECORD}, [{}], "wl_1", Origin.OURS),
    ("a creation on record, and a row of another model", {"creation": RECORD}, [{"model_name": "x"}], "wl_1", DOUBT),
    ("gone, and another one under the slug", {"workload_id": "wl_9"}, [{}], "wl_1", Origin.FOUND),
    ("that, though a record stands there", {"workload_id": "wl_9", "creation": RECORD}, [{}], "wl_1", Origin.FOUND),
    ("a row of another project", {}, [{"project_slug": "staging"}], None, Origin.FOUND),
    ("the project in another spelling", {}, [{"project_slug": "PROD"}], "wl_1", Origin.FOUND),
    ("a row that is listed as deleted", {}, [{"deleted_at": "2026-03-02T10:41:32Z"}], None, Origin.FOUND),
]


async def listed(place: Place, rows: list[dict[str, Any]]) -> Any:
    """A project whose newest list has these rows."""
    place.platform.rows = {}
    place.platform.extra = [{**asdict(a_live()), "created_at": NOW.isoformat(), **changes} for changes in rows]
    project = place.project()
    await project.look()
    return project


@pytest.mark.parametrize(("why", "status", "rows", "expected", "origin"), ROWS, ids=[row[0] for row in ROWS])
def test_whose_row_it_is(
    why: str, status: dict[str, Any], rows: list[dict[str, Any]], expected: str | None, origin: Origin
) -> None:
    """By the recorded id; without an id, by our slug and the record of a creation. Our finalizer proves nothing."""

    @virtual
    async def check() -> None:
        place = await a_place()
        project = await listed(place, rows)
        for finalizers in ((), (FINALIZER,)):
            workload = a_workload(finalizers=finalizers)
            workload = replace(workload, status=replace(workload.status, **status))

            found, whose = find(place.context, workload, IDENTITY, project)

            assert (found and found.id, whose) == (expected, origin), why

    check()


@virtual
async def test_a_record_that_made_nothing_proves_nothing() -> None:
    """This process wrote it, and the platform refused the creation: a row that appears then is someone else's."""
    place = await a_place()
    project = await listed(place, [{}])
    workload = replace(a_workload(), status=replace(a_workload().status, creation=RECORD))
    assert find(place.context, workload, IDENTITY, project)[1] is Origin.OURS

    place.memory(workload).void = True

    assert find(place.context, workload, IDENTITY, project)[1] is Origin.FOUND


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"slug": "other"}, 'slug of workload wl_1 was changed on the platform, from "support-bot" to "other"'),
        ({"project_slug": "staging"}, 'project of workload wl_1 was changed on the platform, from "prod" to "staging"'),
    ],
)
@virtual
async def test_a_recorded_workload_that_moved(row: dict[str, Any], words: str) -> None:
    """Under another slug, or in another project, it is not ours to touch, and nothing is created in its place."""
    place = await a_place()
    project = await listed(place, [row, {"id": "wl_2"}] if "slug" in row else [row])

    with pytest.raises(ConfigurationError, match=words) as caught:
        find(place.context, agreed(a_workload()), IDENTITY, project)

    assert caught.value.reason is Reason.IDENTITY_CHANGED


# -- how new a list must be ----------------------------------------------------------------------------------------


def approved(workload: Workload) -> Workload:
    """With an approval that was not handled yet."""
    return annotated(workload, approve_plan="0123456789abcdef")


REST = at_rest(a_workload())
HANDLED = replace(
    REST.status,
    last_handled_reconcile_at="now",
    last_handled_approval=HandledApproval(plan_id="0123456789abcdef", result="PlanStale"),
)
FRESHNESS = [
    ("what is settled is decided from any list", REST, 0),
    ("a new Workload needs one since it was seen", a_workload(), 1),
    ("an edited one too", redeclared(REST, model="x"), 1),
    ("an approval is decided from a fresh one", approved(REST), 1),
    ("one that was handled is not", replace(approved(REST), status=HANDLED), 0),
    ("a look that is requested is one", annotated(REST, reconcile_requested_at="now"), 1),
    ("one that was taken is not", replace(annotated(REST, reconcile_requested_at="now"), status=HANDLED), 0),
]


@pytest.mark.parametrize(("why", "workload", "lists"), FRESHNESS, ids=[row[0] for row in FRESHNESS])
def test_how_new_a_list_must_be(why: str, workload: Workload, lists: int) -> None:
    """A round over ten thousand settled Workloads costs no call; what is to be written needs a fresh list."""

    @virtual
    async def check() -> None:
        place = await a_place()
        await place.look(REST)
        before = place.lists
        await asyncio.sleep(5)
        place.context.store.memory(workload.key).seen = now() - 1e-9

        await place.look(workload)

        assert place.lists - before == lists, why

    check()


@virtual
async def test_after_a_write_that_was_lost_a_newer_list_is_needed() -> None:
    """Of whatever is not settled."""
    place = await a_place()
    first = await place.look(a_workload())
    await asyncio.sleep(5)
    first.project.uncertain_since = now() - 1e-9

    seen = await place.look(a_workload())

    assert seen.project.began > first.project.uncertain_since
    assert place.lists == 2


@virtual
async def test_the_list_that_confirms_an_absence_is_late_enough() -> None:
    """It begins after the moment from which on a list can tell more, and until then the last one will do."""
    place = await a_place()
    await place.look(REST)
    place.memory(REST).recheck_from = later = now() + 40.0

    assert (await place.look(REST)).project.began < later
    assert place.lists == 1
    await asyncio.sleep(40.0)
    assert (await place.look(REST)).project.began > later


@pytest.mark.parametrize(
    ("workload", "answer", "why"),
    [
        (REST, True, "looked at, and fine"),
        (a_workload(), False, "never looked at"),
        (redeclared(REST), False, "edited since"),
        (replace(REST, deletion_timestamp=NOW), False, "on its way out"),
        (replace(REST, status=replace(REST.status, workload_id=None)), False, "nothing is recorded"),
        (replace(REST, status=replace(REST.status, conditions=())), False, "nothing was said"),
    ],
)
def test_settled(workload: Workload, answer: bool, why: str) -> None:
    """What an outage leaves as it is."""
    assert settled(workload) is answer, why


@pytest.mark.parametrize("reason", [Reason.PLATFORM_UNREACHABLE, Reason.SECRET_NOT_FOUND, Reason.PLATFORM_ERROR])
def test_a_passing_trouble_is_not_settled(reason: Reason) -> None:
    """It is looked at until it has passed; a workload that is on its way is settled, and so is a held plan."""
    for told, answer in ((reason, False), (Reason.PROGRESSING, True), (Reason.PLAN_PENDING, True)):
        status = conditions.status(REST, Report(told, "words"), NOW)
        assert settled(replace(REST, status=status)) is answer


@pytest.mark.parametrize(
    ("asked", "taken", "answer"), [(None, None, False), ("a", None, True), ("a", "a", False), ("b", "a", True)]
)
def test_a_look_that_was_requested(asked: str | None, taken: str | None, answer: bool) -> None:
    """Any new value is a request."""
    workload = annotated(REST, reconcile_requested_at=asked) if asked else REST

    assert look_requested(replace(workload, status=replace(REST.status, last_handled_reconcile_at=taken))) is answer


# -- a row that is denied ------------------------------------------------------------------------------------------


@virtual
async def test_a_row_that_the_platform_denies() -> None:
    """It lists it and says that there is none: a newer list decides, and if that has it too, it is an error."""
    place = await a_place()
    seen = await place.look(REST)
    await asyncio.sleep(5)
    memory = place.context.store.memory(REST.key)

    with pytest.raises(RequeueAfter):
        recheck_absence(memory, seen.project)
    await asyncio.sleep(0.001)
    again = await place.look(REST)
    assert place.lists == 2

    with pytest.raises(PlatformFailure) as caught:
        recheck_absence(memory, again.project)
    assert caught.value.reason is Reason.PLATFORM_ERROR


# -- what is too deep ----------------------------------------------------------------------------------------------


def nested(levels: int) -> Any:
    """A value with so many objects and lists in one another."""
    value: Any = 1
    for level in range(levels):
        value = {"a": value} if level % 2 else [value]
    return value


@virtual
async def test_a_declaration_without_end_is_refused_before_it_is_walked() -> None:
    """As deep as the API server stores it: a person must mend it, and no call is made for it."""
    place = await a_place()
    with pytest.raises(ConfigurationError, match="nested deeper than 100 levels") as caught:
        await place.look(a_workload({"config": nested(9_980)}))

    assert caught.value.reason is Reason.PLATFORM_REFUSED
    assert place.lists == 0
    assert (await place.look(a_workload({"config": {"a": nested(90)}}))).live is not None


@virtual
async def test_a_declaration_of_countless_values_is_never_sent() -> None:
    """Each look would take the time of all others; what has room goes on."""
    place = await a_place()

    with pytest.raises(ConfigurationError, match="more than 2000 values") as caught:
        await place.look(a_workload({"config": {str(number): number for number in range(2_001)}}))

    assert caught.value.reason is Reason.PLATFORM_REFUSED
    assert place.lists == 0
    assert (await place.look(a_workload({"config": {"list": list(range(1_900))}}))).live is not None


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("extra", [{"slug": "support-bot"}, {"id": "x" * 300, "slug": "support-bot"}])
@virtual
async def test_a_row_that_cannot_be_read_is_not_missing(recorded: bool, extra: dict[str, Any]) -> None:
    """It has our slug: nothing is made beside it, and nobody is told that it went."""
    place = await a_place()
    place.platform.rows.clear()
    place.platform.extra.append(extra)

    with pytest.raises(PlatformFailure, match="cannot be read") as caught:
        await place.look(agreed(a_workload()) if recorded else a_workload())

    assert caught.value.reason is Reason.PLATFORM_ERROR


@virtual
async def test_a_row_with_a_configuration_beyond_reason_is_not_compared() -> None:
    """What was not read would count as drift, and a repair would take it away."""
    place = await a_place()
    place.platform.rows = {"support-bot": row("support-bot", config=nested(200))}

    with pytest.raises(PlatformFailure, match="nested too deep") as caught:
        await place.look(agreed(a_workload()))

    assert caught.value.reason is Reason.PLATFORM_ERROR

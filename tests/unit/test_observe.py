"""The first quarter of a look: what stands in the way before any call, how new a list must be, and whose row it is."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from inferencekey_operator import conditions
from inferencekey_operator.claims import Claims
from inferencekey_operator.conditions import Report
from inferencekey_operator.errors import ConfigurationError, PlatformFailure, Reason
from inferencekey_operator.inferencekey.roster import Pace, Rosters
from inferencekey_operator.keys import Key
from inferencekey_operator.observe import (
    Observed,
    deny,
    drift_policy,
    find,
    look_requested,
    made_here,
    observe,
    refuse_rivals,
    settled,
    stake,
)
from inferencekey_operator.serving import Serving
from inferencekey_operator.settings import Settings
from inferencekey_operator.status import HandledApproval
from inferencekey_operator.store import Store
from inferencekey_operator.watches import Secrets
from inferencekey_operator.workload import FINALIZER, OnDrift, TokenSecretRef, Workload
from inferencekey_operator.world import AskedAgainError, Terms, World
from unit.builders import (
    BORN,
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
from unit.scripted_platform import REJECTED, ScriptedPlatform, now, row
from unit.virtual_time import virtual

SECRET = {"INFERENCEKEY_SDK_TOKEN": TOKEN, "INFERENCEKEY_PROJECT": "prod"}


class Place:
    """The parts of the world that a look reads, real ones, over a platform of which each call is known."""

    def __init__(self, **settings: Any) -> None:
        self.platform = ScriptedPlatform(row("support-bot"))
        self.namespaces: dict[str, str] = {}
        self.secrets = Secrets(lambda _: None)
        self.serving = Serving(lambda *_: None, 0.0)
        self.store = Store()
        self.freed: list[Key] = []
        unused = cast("Any", None)
        self.world = World(
            settings=Settings(base_url=PLATFORM, **settings),
            store=self.store,
            reporter=unused,
            secrets=self.secrets,
            namespace_policies=self.namespaces.get,
            rosters=Rosters(lambda _: self.platform, Pace(), changed=lambda *_: None, recovered=lambda _: None),
            claims=Claims(self.store.get, self.freed.append),
            publication=unused,
            serving=self.serving,
            recorder=unused,
            terms=Terms(),
        )

    def put(self, data: dict[str, str], name: str = "inferencekey", namespace: str = "team-a") -> None:
        """A Secret in a Workload's namespace."""
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self.secrets.put({"metadata": {"namespace": namespace, "name": name, "resourceVersion": "1"}, "data": encoded})

    def stands(self, *workloads: Workload) -> None:
        """The watch tells of `workloads`: this is how they stand now."""
        for workload in workloads:
            assert self.store.observe(body_of(workload))

    async def look(self, workload: Workload) -> Observed:
        """Observe `workload`."""
        return await observe(self.world, workload)

    @property
    def lists(self) -> int:
        """How many lists went out."""
        return len(self.platform.times("list"))


def body_of(workload: Workload) -> dict[str, Any]:
    """The object that the API server has, as far as claims go by it."""
    return {
        "metadata": {
            "namespace": workload.namespace,
            "name": workload.name,
            "uid": workload.uid,
            "resourceVersion": workload.resource_version,
            "generation": workload.generation,
            "creationTimestamp": workload.creation_timestamp.isoformat(),
            "finalizers": list(workload.finalizers),
        },
        "spec": {"model": workload.spec.model, "backend": workload.spec.backend},
        "status": workload.status.to_wire(),
    }


async def a_place(**settings: Any) -> Place:
    """One with the usual Secret and a Workload, some time after the start."""
    place = Place(**settings)
    place.put(SECRET)
    place.stands(replace(a_workload(), resource_version="1"))
    await asyncio.sleep(100)
    return place


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

        assert drift_policy(place.world, workload) is policy
        assert (await place.look(workload)).policy is policy

    check()


@pytest.mark.parametrize(
    ("own", "namespace", "command"),
    [
        ("Panic", "Warn", "kubectl annotate ikw/support-bot -n team-a --overwrite inferencekey.com/on-drift=Reconcile"),
        ("", None, "kubectl annotate ikw/support-bot -n team-a --overwrite"),
        (None, "Panic", "kubectl annotate ns/team-a --overwrite inferencekey.com/on-drift=Reconcile"),
    ],
)
def test_a_policy_that_is_none(own: str | None, namespace: str | None, command: str) -> None:
    """Nothing is touched, nothing is called, and the command names the place where it stands."""

    @virtual
    async def check() -> None:
        place = await a_place()
        if namespace:
            place.namespaces["team-a"] = namespace
        workload = a_workload() if own is None else annotated(a_workload(), on_drift=own)

        with pytest.raises(ConfigurationError) as caught:
            await place.look(workload)

        assert caught.value.reason is Reason.INVALID_POLICY
        assert command in caught.value.message
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
        assert list(place.world.rosters) == []

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
    assert place.world.rosters.of(a_workload().key) is seen.roster
    assert place.secrets.last_good("team-a", "inferencekey", "INFERENCEKEY_SDK_TOKEN", "prod") == SECRET


OLDER = a_workload(uid="0")
YOUNGER = a_workload(uid="1", namespace="team-b")


@virtual
async def test_a_token_that_was_refused_is_not_kept() -> None:
    """Only what the platform accepted may serve a deletion later; and it proves no claim."""
    place = await a_place()
    place.stands(OLDER, YOUNGER)
    stake(place.world, YOUNGER)
    place.platform.down = REJECTED

    with pytest.raises(PlatformFailure):
        await place.look(OLDER)

    assert place.secrets.last_good("team-a", "inferencekey", "INFERENCEKEY_SDK_TOKEN", "prod") is None
    refuse_rivals(place.world, YOUNGER, IDENTITY)


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
    stake(place.world, OLDER)
    stake(place.world, YOUNGER)
    assert set(place.world.claims.holders(PLATFORM, "prod", ["support-bot"])) == {OLDER.key, YOUNGER.key}
    assert place.lists == 0
    refuse_rivals(place.world, YOUNGER, IDENTITY)

    await place.world.rosters.use("somebody else with this token", PLATFORM, "prod", TOKEN).look()

    with pytest.raises(ConfigurationError, match="belongs to Workload team-a/support-bot"):
        refuse_rivals(place.world, YOUNGER, IDENTITY)
    refuse_rivals(place.world, OLDER, IDENTITY)


@virtual
async def test_a_junk_token_squats_nothing() -> None:
    """The older one's claim stands, and stops nobody, until its Secret holds a token that was accepted."""
    place = await two_claimants()
    place.put(SECRET | {"INFERENCEKEY_SDK_TOKEN": TOKEN.replace("a1", "b1")})
    stake(place.world, OLDER)
    assert (await place.look(YOUNGER)).identity == IDENTITY

    place.put(SECRET)
    stake(place.world, OLDER)

    with pytest.raises(ConfigurationError, match="belongs to Workload team-a/support-bot"):
        await place.look(YOUNGER)


@virtual
async def test_what_becomes_of_a_rival_during_a_look_counts() -> None:
    """Its finalizer went up, or its id was recorded, after this one was looked at: asked again, the slug is taken."""
    place = await two_claimants()
    await place.look(YOUNGER)
    await place.look(OLDER)

    begun = replace(YOUNGER, finalizers=(FINALIZER,), resource_version="101")
    place.stands(begun)

    with pytest.raises(ConfigurationError, match="belongs to Workload team-b/support-bot"):
        refuse_rivals(place.world, OLDER, IDENTITY)
    place.stands(replace(agreed(OLDER), resource_version="102"))
    refuse_rivals(place.world, OLDER, IDENTITY)
    with pytest.raises(ConfigurationError, match="belongs to Workload team-a/support-bot"):
        refuse_rivals(place.world, begun, IDENTITY)


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

        stake(place.world, workload)

        holders = set(place.world.claims.holders(PLATFORM, "prod", ["support-bot"]))
        assert holders == {YOUNGER.key} | ({OLDER.key} if claims else set()), why
        assert place.world.claims.rival(YOUNGER.key) == (OLDER.key if counts else None), why

    check()


@virtual
async def test_who_claims_another_slug_frees_the_one_it_had() -> None:
    """The Secret names another project by now: whoever waited is told, once."""
    place = await two_claimants()
    stake(place.world, OLDER)
    stake(place.world, YOUNGER)
    assert place.freed == []

    place.put(SECRET | {"INFERENCEKEY_PROJECT": "staging"})
    stake(place.world, OLDER)

    assert place.freed == [YOUNGER.key]
    assert list(place.world.claims.holders(PLATFORM, "staging", ["support-bot"])) == [OLDER.key]


# -- whose row it is -----------------------------------------------------------------------------------------------

ROWS: list[tuple[str, dict[str, Any], list[dict[str, Any]], str | None, bool]] = [
    ("the recorded one", {"recorded": "wl_1"}, [{}], "wl_1", True),
    ("none at all", {"recorded": "wl_1"}, [], None, False),
    ("found under the slug", {}, [{}], "wl_1", False),
    ("made here, the answer was lost", {"begun": True}, [{"created_at": BORN}], "wl_1", True),
    (
        "made here, a minute of clocks apart",
        {"begun": True},
        [{"created_at": BORN - timedelta(seconds=60)}],
        "wl_1",
        True,
    ),
    ("older than that: found", {"begun": True}, [{"created_at": BORN - timedelta(seconds=61)}], "wl_1", False),
    ("of unknown age", {"begun": True}, [{"created_at": None}], "wl_1", True),
    ("without our finalizer it was not made here", {}, [{"created_at": NOW}], "wl_1", False),
    ("the recorded id has another slug: not ours to touch", {"recorded": "wl_1"}, [{"slug": "other"}], None, False),
    (
        "the slug belongs to another row by now: found",
        {"recorded": "wl_1", "begun": True},
        [{"slug": "other"}, {"id": "wl_2"}],
        "wl_2",
        False,
    ),
    ("gone, and another one under the slug", {"recorded": "wl_9", "begun": True}, [{}], "wl_1", False),
]


@pytest.mark.parametrize(("why", "workload", "rows", "expected", "known"), ROWS, ids=[row[0] for row in ROWS])
def test_whose_row_it_is(
    why: str, workload: dict[str, Any], rows: list[dict[str, Any]], expected: str | None, known: bool
) -> None:
    """By the recorded id and our slug; without an id, by our finalizer and its age. What we made is never found."""

    @virtual
    async def check() -> None:
        place = await a_place()
        place.platform.rows = {str(number): a_live(**changes) for number, changes in enumerate(rows)}
        declared = a_workload(finalizers=(FINALIZER,) if workload.get("begun") else ())
        declared = agreed(declared, workload_id=workload.get("recorded"))
        roster = place.world.rosters.use("a", PLATFORM, "prod", TOKEN)
        await roster.look()

        found, is_known = find(declared, IDENTITY, roster)

        assert (found and found.id, is_known) == (expected, known), why

    check()


@pytest.mark.parametrize(
    ("begun", "age", "made"),
    [(True, 0, True), (True, 60, True), (True, 61, False), (True, None, True), (False, 0, False)],
)
def test_made_here(begun: bool, age: int | None, made: bool) -> None:
    """Our finalizer is the record of a creation; a row that is older than the Workload was there before it."""
    workload = a_workload(finalizers=(FINALIZER,) if begun else ())
    created = None if age is None else BORN - timedelta(seconds=age)

    assert made_here(workload, a_live(created_at=created)) is made


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
        place.world.store.memory(workload.key).seen = now() - 1e-9

        await place.look(workload)

        assert place.lists - before == lists, why

    check()


@virtual
async def test_after_a_write_that_was_lost_a_newer_list_is_needed() -> None:
    """Of whatever is not settled."""
    place = await a_place()
    first = await place.look(a_workload())
    await asyncio.sleep(5)
    first.roster.uncertain_since = now() - 1e-9

    seen = await place.look(a_workload())

    assert seen.roster.began > first.roster.uncertain_since
    assert place.lists == 2


@virtual
async def test_the_list_that_confirms_an_absence_is_late_enough() -> None:
    """Two seconds after the one that began it, waited for here."""
    place = await a_place()
    seen = await place.look(REST)
    since = place.world.store.memory(REST.key).missing_since = seen.roster.began

    again = await place.look(REST)

    assert again.roster.began >= since + 2.0


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
    memory = place.world.store.memory(REST.key)

    with pytest.raises(AskedAgainError):
        deny(memory, seen.roster)
    await asyncio.sleep(0.001)
    again = await place.look(REST)
    assert place.lists == 2

    with pytest.raises(PlatformFailure) as caught:
        deny(memory, again.roster)
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

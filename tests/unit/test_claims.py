"""Which Workload an identity belongs to, when two declare the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencekey_operator.api.keys import Key
from inferencekey_operator.api.status import Creation
from inferencekey_operator.api.workload import FINALIZER, Workload
from inferencekey_operator.cache.claims import Claims
from inferencekey_operator.plan.plan import Identity
from unit.builders import BORN, IDENTITY, PLATFORM, a_workload

ELSEWHERE = Identity(PLATFORM, "staging", "support-bot")
A, B, C = (Key(namespace, "support-bot") for namespace in ("team-a", "team-b", "team-c"))


def claimant(key: Key, *, recorded: bool = False, begun: bool = False, age: int = 0, **metadata: Any) -> Workload:
    """A Workload that declares the slug; `age` in minutes, `recorded` has an id, `begun` the record of a creation."""
    workload = a_workload(
        namespace=key.namespace,
        name=key.name,
        **{"uid": f"uid-of-{key.namespace}", "creation_timestamp": BORN - timedelta(minutes=age), **metadata},
    )
    status = replace(
        workload.status,
        workload_id=f"wl_{key.namespace}" if recorded else None,
        creation=Creation() if begun else None,
    )
    return replace(workload, status=status)


class Place:
    """Claims over Workloads, and a platform that accepts credentials: either may change at any time."""

    def __init__(self, **begun: int) -> None:
        self.workloads: dict[Key, Workload] = {}
        self.accepted: set[Key] = set()
        self.freed: list[Key] = []
        self.claims = Claims(
            self.workloads.get,
            self.freed.append,
            begun=lambda workload: begun.get(workload.namespace.replace("-", "_"), 0),
            with_id=lambda workload_id: [
                key for key, each in self.workloads.items() if each.status.workload_id == workload_id
            ],
        )

    def stake(self, workload: Workload, identity: Identity = IDENTITY, *, proven: bool = True) -> None:
        """`workload` is what stands now, and claims `identity`."""
        key = workload.key
        self.workloads[key] = workload
        (self.accepted.add if proven else self.accepted.discard)(key)
        self.claims.stake(key, identity, lambda: key in self.accepted)

    def record(self, key: Key) -> None:
        """The id of what was made is written into the status."""
        old = self.workloads[key]
        status = replace(old.status, workload_id=f"wl_{key.namespace}", creation=None)
        self.workloads[key] = replace(old, status=status)

    def begin(self, key: Key) -> None:
        """A creation begins: its record is written into the status."""
        old = self.workloads[key]
        if old.status.workload_id is None:
            self.workloads[key] = replace(old, status=replace(old.status, creation=Creation()))

    def winners(self, *keys: Key) -> list[Key]:
        """Those that nobody stands before."""
        return [key for key in keys if self.claims.rival(key) is None]


ORDER: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("a recorded workload wins", {"recorded": True}, {"age": 9}),
    ("also over one whose creation may be under way", {"recorded": True}, {"age": 9, "begun": True}),
    ("a creation that may be under way wins over age", {"begun": True}, {"age": 9}),
    ("a finalizer proves nothing", {"age": 9}, {"finalizers": (FINALIZER,)}),
    ("then the older", {"age": 9, "uid": "z"}, {"uid": "a"}),
    ("also of two that are recorded", {"age": 9, "recorded": True}, {"recorded": True}),
    ("then the smaller uid", {"uid": "a"}, {"uid": "b"}),
]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("why", "stronger", "weaker"), ORDER)
def test_the_stronger_claim(why: str, stronger: dict[str, Any], weaker: dict[str, Any], first: bool) -> None:
    """In whatever order they come, one holds the slug and the other is told who."""
    place = Place()
    staked = [claimant(A, **stronger), claimant(B, **weaker)]
    for workload in staked if first else reversed(staked):
        place.stake(workload)

    assert place.claims.rival(A) is None, why
    assert place.claims.rival(B) == A, why


@pytest.mark.parametrize(
    ("what", "claim", "counts"),
    [
        ("declared, and older", {"age": 9}, False),
        ("with our finalizer, which anyone who edits Workloads can write", {"finalizers": (FINALIZER,)}, False),
        ("its creation is on record", {"begun": True}, True),
        ("it was created", {"recorded": True}, True),
    ],
)
def test_what_another_replica_reconciles(what: str, claim: dict[str, Any], counts: bool) -> None:
    """This process never lists with its credential: only the status says that the platform accepted it."""
    place = Place()
    place.stake(claimant(A, **claim), proven=False)
    place.stake(claimant(B))
    assert (place.claims.rival(B) == A) is counts, what


@pytest.mark.parametrize(
    ("a", "b", "begun", "winner"),
    [
        ({"age": 9}, {}, {"team_a": 7, "team_b": 6}, B),
        ({}, {"age": 9}, {"team_a": 6, "team_b": 7}, A),
        ({"age": 9}, {}, {"team_a": 6, "team_b": 0}, B),
        ({"age": 9}, {}, {}, A),
        ({"recorded": True}, {"age": 9}, {"team_a": 7, "team_b": 6}, A),
        ({"recorded": True}, {"recorded": True, "age": 9}, {"team_a": 6, "team_b": 7}, B),
    ],
)
@pytest.mark.parametrize("unproven", [A, B])
def test_of_two_creations_the_first_wins(
    a: dict[str, Any], b: dict[str, Any], begun: dict[str, int], winner: Key, unproven: Key
) -> None:
    """In both processes alike; age decides where nobody saw them begin, and where both are over."""
    place = Place(**begun)
    for key, claim in ((A, a), (B, b)):
        place.stake(claimant(key, begun=True, **claim), proven=key != unproven)
    assert place.winners(A, B) == [winner]


def test_rivals_are_all_who_claim_the_same() -> None:
    """Whatever their claims are worth; what another replica does with its own wakes ours."""
    place = Place()
    place.stake(claimant(A), proven=False)
    place.stake(claimant(B))
    place.stake(claimant(C), ELSEWHERE)
    assert list(place.claims.rivals(A)) == [B]
    assert list(place.claims.rivals(C)) == []
    assert list(place.claims.rivals(Key("team-d", "unknown"))) == []


def test_a_claim_counts_once_it_is_proven() -> None:
    """A junk token must not squat a slug: until the platform took its credential, the older one stops nobody."""
    place = Place()
    place.stake(claimant(A, age=9), proven=False)
    place.stake(claimant(B))
    assert place.claims.rival(B) is None

    place.stake(claimant(A, age=9), proven=True)

    assert place.winners(A, B) == [A]


def test_a_proof_that_comes_later_counts_at_once() -> None:
    """Whoever is about to create asks again: the older one was accepted meanwhile, and staked nothing anew."""
    place = Place()
    place.stake(claimant(A, age=9), proven=False)
    place.stake(claimant(B))
    assert place.winners(B) == [B]

    place.accepted.add(A)

    assert place.claims.rival(B) == A
    place.accepted.discard(A)
    assert place.claims.rival(B) is None


def test_a_creation_that_begins_counts_at_once() -> None:
    """The creation of the younger one went on record after both had staked: the older one must not create beside it."""
    place = Place()
    place.stake(claimant(A))
    place.stake(claimant(B, age=9))
    assert place.winners(A, B) == [B]

    place.begin(A)

    assert (place.claims.rival(A), place.claims.rival(B)) == (None, A)


def test_an_id_that_is_recorded_counts_at_once() -> None:
    """It outranks the record of a creation, proves the claim, and nobody has to stake again for it."""
    place = Place()
    place.stake(claimant(A), proven=False)
    place.stake(claimant(B, age=9, begun=True))
    assert place.winners(A, B) == [B]

    place.record(A)

    assert (place.claims.rival(A), place.claims.rival(B)) == (None, A)


def test_an_id_that_is_gone_counts_no_more() -> None:
    """A status that lost its id is as weak as it looks: the claim needs its proof again."""
    place = Place()
    place.stake(claimant(A, recorded=True), proven=False)
    place.stake(claimant(B))
    assert place.winners(A, B) == [A]

    place.workloads[A] = claimant(A)

    assert place.claims.rival(B) is None


def test_a_workload_that_nobody_knows_any_more_stops_nobody() -> None:
    """It went, and its claim was not released yet."""
    place = Place()
    place.stake(claimant(A, recorded=True))
    place.stake(claimant(B))

    del place.workloads[A]

    assert place.claims.rival(B) is None


def test_what_is_not_proven_does_not_learn_who_holds_the_slug() -> None:
    """The winner's name is told between proven claims only; whoever asks has been proven before."""
    place = Place()
    place.stake(claimant(A), proven=False)
    place.stake(claimant(B, age=9), proven=False)

    assert place.winners(A, B) == [A, B]


def test_a_recorded_workload_was_proven_before() -> None:
    """After a restart, what the status records counts before the first call."""
    place = Place()
    place.stake(claimant(A, recorded=True), proven=False)
    place.stake(claimant(B, age=9))

    assert place.winners(A, B) == [A]


def test_when_the_winner_goes_the_others_are_told() -> None:
    """Each of them may now have it, and the strongest has."""
    place = Place()
    for key, age in ((A, 9), (B, 5), (C, 7)):
        place.stake(claimant(key, age=age))

    place.claims.release(A)

    assert sorted(place.freed) == [B, C]
    assert place.winners(B, C) == [C]
    assert place.claims.rival(A) is None


def test_what_a_former_claimant_sent_has_to_settle() -> None:
    """Whoever claims the same knows until when; nobody else has to wait."""
    place = Place()
    place.stake(claimant(A))
    place.stake(claimant(B))
    place.stake(claimant(C), ELSEWHERE)
    place.claims.release(A, 40.0)
    assert [place.claims.settles_at(key) for key in (A, B, C)] == [float("-inf"), 40.0, float("-inf")]
    place.claims.release(C, 5000.0)
    assert place.claims.settles_at(B) == float("-inf")


def test_a_claim_of_what_is_gone_does_not_occupy_the_slug() -> None:
    """A reconcile that was under way when its Workload was torn away stakes its claim once more."""
    place = Place()
    place.stake(claimant(A))
    where = (IDENTITY.platform_url, IDENTITY.project, IDENTITY.slug)
    assert place.claims.claimed(*where)
    del place.workloads[A]
    assert not place.claims.claimed(*where)


def test_the_last_one_goes_quietly() -> None:
    """Nobody is left to be told; whoever never claimed can go as well."""
    place = Place()
    place.stake(claimant(A))

    place.claims.release(A)
    place.claims.release(A)
    place.claims.release(B)

    assert place.freed == []
    assert list(place.claims.holders(PLATFORM, "prod", ["support-bot"])) == []


def test_a_claim_that_moves_frees_the_place_it_had() -> None:
    """Before anything is created a Secret may name another project: who waited for the slug is told."""
    place = Place()
    place.stake(claimant(A, age=9))
    place.stake(claimant(B))

    place.stake(claimant(A, age=9), ELSEWHERE)

    assert place.freed == [B]
    assert place.winners(A, B) == [A, B]


def test_staking_again_frees_nobody() -> None:
    """Each look stakes; that is no news."""
    place = Place()
    for _ in range(3):
        place.stake(claimant(A))
        place.stake(claimant(B))

    assert place.freed == []


def test_holders_are_found_by_slug() -> None:
    """The rows of a list name the Workloads to look at: all that claim a slug, winners or not."""
    place = Place()
    place.stake(claimant(A))
    place.stake(claimant(B), proven=False)
    place.stake(claimant(C), ELSEWHERE)

    holders = place.claims.holders
    assert set(holders(PLATFORM, "prod", ["other", "support-bot"])) == {A, B}
    assert set(holders(PLATFORM, "staging", ["support-bot"])) == {C}
    assert list(holders("https://elsewhere", "prod", ["support-bot"])) == []


# -- one id, two Workloads -----------------------------------------------------------------------------------------


def of_id(key: Key, *, platform: str = PLATFORM, workload_id: str = "wl_1", age: int = 0) -> Workload:
    """A Workload whose status records this id of this platform."""
    workload = claimant(key, recorded=True, age=age)
    return replace(workload, status=replace(workload.status, workload_id=workload_id, platform_url=platform))


@pytest.mark.parametrize(
    ("why", "other", "rivals"),
    [
        ("one id of one platform", of_id(B), True),
        ("another id", of_id(B, workload_id="wl_2"), False),
        ("that id of another platform", of_id(B, platform="https://elsewhere.example"), False),
    ],
)
@pytest.mark.parametrize("identity", [IDENTITY, ELSEWHERE, replace(IDENTITY, project="PROD")])
def test_one_recorded_id_belongs_to_one_workload(why: str, other: Workload, rivals: bool, identity: Identity) -> None:
    """However their projects are spelled: the platform takes a project in any case, and its id is one."""
    place = Place()
    place.stake(of_id(A, age=9))
    place.stake(other, identity)
    rivals = rivals or identity == IDENTITY

    assert place.claims.rival(A) is None, why
    assert place.claims.rival(B) == (A if rivals else None), why


def test_a_workload_with_the_id_of_another_is_a_rival_before_it_claims() -> None:
    """A status that was copied with its id counts at once, whatever else is known of that Workload."""
    place = Place()
    place.stake(of_id(A, age=9))
    place.workloads[B] = of_id(B)

    assert place.claims.rival(B) == A
    del place.workloads[A]
    assert place.claims.rival(B) is None


KEYS = st.sampled_from([A, B, C])
STAKES = st.tuples(KEYS, st.sampled_from([IDENTITY, ELSEWHERE]), st.booleans(), st.booleans(), st.integers(0, 2))
CHANGES = st.tuples(KEYS, st.sampled_from(["prove", "refuse", "begin", "record"]))


def happens(place: Place, staked: dict[Key, Identity], event: Any) -> None:
    """A release, a stake, or a change that nobody tells the claims of."""
    match event:
        case Key() as key:
            place.claims.release(key)
            staked.pop(key, None)
        case (key, identity, proven, recorded, age):
            place.stake(claimant(key, recorded=recorded, age=age), identity, proven=proven)
            staked[key] = identity
        case (key, _) if key not in place.workloads:
            pass
        case (key, "begin"):
            place.begin(key)
        case (key, "record"):
            place.record(key)
        case (key, word):
            (place.accepted.add if word == "prove" else place.accepted.discard)(key)


def rank(workload: Workload) -> tuple[bool, bool, Any, str]:
    """The order of the table above, once more."""
    status = workload.status
    return status.workload_id is None, status.creation is None, workload.creation_timestamp, workload.uid


def on_record(workload: Workload) -> bool:
    """Whether the status says that the platform accepted the credential."""
    return workload.status.workload_id is not None or workload.status.creation is not None


@given(st.lists(STAKES | KEYS | CHANGES, max_size=12))
def test_of_all_that_are_proven_exactly_one_holds_the_slug(events: list[Any]) -> None:
    """Whatever comes and goes: among the proven claims on an identity one has no rival, and it is the others' rival."""
    place, staked = Place(), dict[Key, Identity]()
    for event in events:
        happens(place, staked, event)
    for identity in (IDENTITY, ELSEWHERE):
        proven = [
            key
            for key, claimed in staked.items()
            if claimed == identity and (key in place.accepted or on_record(place.workloads[key]))
        ]
        strongest = min(proven, key=lambda key: rank(place.workloads[key]), default=None)
        assert place.winners(*proven) == ([strongest] if strongest else [])
        assert {place.claims.rival(key) for key in proven if key != strongest} <= {strongest}

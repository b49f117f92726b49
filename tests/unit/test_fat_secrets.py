"""Secrets with more in them than a token: little of it is kept, and nothing of it without a user."""

from __future__ import annotations

import base64
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencekey_operator.api.keys import Key
from inferencekey_operator.api.workload import TaskType, TokenSecretRef
from inferencekey_operator.cache.informers import MOST_ADDED_KEYS, MOST_OF_A_SECRET, Secrets, in_use, own_config_map
from inferencekey_operator.errors import ConfigurationError, Reason
from inferencekey_operator.kube.client import Cluster
from inferencekey_operator.kube.reading import Body
from inferencekey_operator.plan.credentials import TOO_LONG, Allowed, credential
from inferencekey_operator.plan.endpoint import KEYS, data
from unit.builders import IDENTITY, PLATFORM, TOKEN, a_live, a_workload
from unit.place import SECRET, a_place
from unit.virtual_time import virtual

ALLOWED = Allowed(PLATFORM, {"inferencekey"})


def a_secret(data: dict[str, bytes], namespace: str = "team-a") -> Body:
    """As the API server sends it."""
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    metadata = {"namespace": namespace, "name": "inferencekey", "resourceVersion": "1", "managedFields": [{"a": "b"}]}
    return {"metadata": metadata, "data": encoded}


def fat(namespace: str) -> Body:
    """A good credential among 0.9 MB of other things."""
    others = {f"other-{number}": b"x" * 9_000 for number in range(100)}
    return a_secret({key: value.encode() for key, value in SECRET.items()} | others, namespace)


class Pages(Cluster):
    """Lists of Secrets, each in a page of its own."""

    def __init__(self, number: int) -> None:
        self._number = number

    async def pages(self, path: str, *, accept: str = "", **query: str) -> AsyncIterator[Body]:
        """One after the other."""
        for number in range(self._number):
            yield {"metadata": {"resourceVersion": "7"}, "items": [fat(f"team-{number}")]}


async def test_forty_fat_secrets_take_the_memory_of_forty_tokens() -> None:
    """While they are listed, too: not all of them are held at once."""
    secrets = Secrets(lambda _: None)
    (reflector,) = secrets.reflectors(Pages(40), ["inferencekey"], ())
    tracemalloc.start()
    try:
        await reflector._list()
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert secrets.get("team-39", "inferencekey") is not None
    assert held < 40 * 3 * MOST_OF_A_SECRET
    assert peak < 10_000_000
    assert credential(replace(a_workload(), namespace="team-7"), secrets.get("team-7", "inferencekey"), ALLOWED)


@given(st.dictionaries(st.text("abcI", min_size=1, max_size=9), st.binary(max_size=3_000), max_size=30))
def test_no_other_key_crowds_out_a_token(others: dict[str, bytes]) -> None:
    """Whatever else is in it, what is kept is bounded, and the token under the usual key or another one is."""
    for key in ("INFERENCEKEY_SDK_TOKEN", "other-key"):
        secrets = Secrets(lambda _: None)
        secrets.put(a_secret(others | {key: TOKEN.encode(), "INFERENCEKEY_PROJECT": b"prod"}))
        data = secrets.get("team-a", "inferencekey")
        assert data is not None
        assert sum(len(name) + len(text) for name, text in data.items()) <= MOST_OF_A_SECRET
        workload = a_workload()
        workload = replace(workload, spec=replace(workload.spec, token_secret_ref=TokenSecretRef(key=key)))
        assert credential(workload, data, ALLOWED).token == TOKEN
    assert in_use(in_use(a_secret(others))) == in_use(a_secret(others))


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("INFERENCEKEY_SDK_TOKEN", Reason.TOKEN_MALFORMED),
        ("INFERENCEKEY_PROJECT", Reason.PROJECT_NOT_SET),
        ("INFERENCEKEY_BASE_URL", Reason.BASE_URL_NOT_ALLOWED),
    ],
)
def test_a_value_that_is_too_long_has_a_condition(key: str, reason: Reason) -> None:
    """It says how long it may be, and names the key."""
    secrets = Secrets(lambda _: None)
    secrets.put(a_secret({name: text.encode() for name, text in SECRET.items()} | {key: TOKEN.encode() * 20}))
    workload = a_workload()
    workload = replace(workload, spec=replace(workload.spec, project=None))
    with pytest.raises(ConfigurationError) as caught:
        credential(workload, secrets.get("team-a", "inferencekey"), ALLOWED)
    assert caught.value.reason is reason
    assert key in caught.value.message
    assert TOO_LONG not in caught.value.message
    assert "1,024 bytes" in caught.value.message or reason is Reason.BASE_URL_NOT_ALLOWED


@virtual
async def test_the_last_user_takes_the_token_along() -> None:
    """What was kept for deletions is forgotten with the last Workload that used it, and not before."""
    place = await a_place()
    used = ("team-a", "inferencekey", "INFERENCEKEY_SDK_TOKEN", "prod")
    first, second = Key("team-a", "first"), Key("team-a", "second")
    for user in (first, second, first):
        place.secrets.keep(user, used[1], used[2], used[3], SECRET)
    place.secrets.release(first)
    assert place.secrets.last_good(*used) == SECRET
    place.secrets.release(second)
    assert place.secrets.last_good(*used) is None
    place.secrets.release(second)


def test_little_is_kept_of_a_config_map_that_anybody_labelled() -> None:
    """Of a megabyte under others' keys, some names, which are to be removed; of ours, what is compared."""
    metadata = {"namespace": "team-a", "name": "alpha-endpoint", "uid": "u-1", "resourceVersion": "1"}
    added = {f"other-{number}": "x" * 9_000 for number in range(100)}
    data = {"OPENAI_BASE_URL": "https://evil.example.com", "OPENAI_MODEL": "m" * 100_000}
    kept = own_config_map({"metadata": metadata, "data": added | data}).data
    assert kept["OPENAI_BASE_URL"] == data["OPENAI_BASE_URL"]
    assert data["OPENAI_MODEL"].startswith(kept["OPENAI_MODEL"])
    assert len(kept) == MOST_ADDED_KEYS + 2
    assert sum(len(key) + len(text) for key, text in kept.items()) < 10_000


def test_all_that_is_published_is_compared() -> None:
    """No key that an endpoint may have is taken for one that somebody added."""
    published = (data(IDENTITY, live, kind) for live in (a_live(), None) for kind in (None, *TaskType))
    assert {key for each in published for key in each} == KEYS

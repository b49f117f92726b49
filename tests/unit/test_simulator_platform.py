"""The simulated platform's state and rules, without HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inferencekey_simulator.credentials import generated, redacted, shown
from inferencekey_simulator.inventory import to_json
from inferencekey_simulator.platform import Platform, project_id
from inferencekey_simulator.refusal import RefusedError
from inferencekey_simulator.rules import canonical_slug
from inferencekey_simulator.settings import Settings
from unit.manual_time import Time

PROJECT = "acme"
BODY = {"name": "Bot", "slug": "bot", "backend": "vllm", "model_name": "llama-3"}
CLOUD = {
    "max_hourly_cost_usd": 5.0,
    "workers": {"source": "cloud", "cloud_pool": {"gpu_pool": ["A100"], "max_hourly_cost_usd": 5.0}},
}


@pytest.fixture
def time() -> Time:
    """The time of the platform."""
    return Time()


@pytest.fixture
def platform(time: Time) -> Platform:
    """A platform without workloads."""
    return Platform(time.clock())


@pytest.fixture
def token(platform: Platform) -> str:
    """A token that may write."""
    return platform.mint(PROJECT)


def listed(platform: Platform, token: str) -> Any:
    """Return what a list answers."""
    return json.loads(platform.list_workloads(token, PROJECT))


def test_a_taken_slug_makes_a_twin(platform: Platform, token: str) -> None:
    """Every further create of a slug is another workload, with a number behind the slug."""
    slugs = [platform.create(token, PROJECT, BODY).slug for _ in range(3)]
    assert slugs == ["bot", "bot-1", "bot-2"]
    assert [row["workload_slug"] for row in listed(platform, token)] == slugs
    assert len({row["id"] for row in listed(platform, token)}) == 3


def test_a_slug_is_free_again_after_its_deletion(platform: Platform, token: str) -> None:
    """A deleted workload leaves nothing behind that a new one could trip over."""
    first = platform.create(token, PROJECT, BODY)
    platform.delete(token, first.id)
    assert platform.create(token, PROJECT, BODY).slug == "bot"
    assert [row["slug"] for row in listed(platform, token)] == ["bot"]


def test_projects_do_not_share_slugs(platform: Platform, token: str) -> None:
    """The same slug in another project is no twin."""
    platform.create(token, PROJECT, BODY)
    assert platform.create(platform.mint("other"), "other", BODY).slug == "bot"


def test_the_answer_has_every_field(platform: Platform, token: str, time: Time) -> None:
    """What was not declared has the server's default or is null; times are RFC 3339."""
    answer = json.loads(platform.create(token, PROJECT, BODY).encoded)
    identifier = answer.pop("id")
    assert identifier.startswith("wl_")
    assert answer == {
        "name": "Bot",
        "description": None,
        "slug": "bot",
        "project_id": project_id(PROJECT),
        "project_slug": PROJECT,
        "workload_slug": "bot",
        "task_type": "text2text",
        "backend": "vllm",
        "model_name": "llama-3",
        "config": {},
        "worker_id": None,
        "gpu_resource_id": None,
        "execution_policy": "fixed",
        "execution_policy_config": {"replicas": 1},
        "created_at": "1970-01-01T00:16:40.000000Z",
        "updated_at": "1970-01-01T00:16:40.000000Z",
    }


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("Gemma 4 26B (llama.cpp) on R9700", "gemma-4-26b-llama-cpp-on-r9700"),
        ("a__b..c", "a-b-c"),
        ("---", ""),
    ],
)
def test_canonical_slugs(text: str, slug: str) -> None:
    """Runs of anything else become one dash, none at the ends."""
    assert canonical_slug(text) == slug


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": " "}, "name must not be empty"),
        ({"model_name": None}, "model_name must not be empty"),
        ({"backend": ""}, "backend must not be empty"),
        ({"slug": "---"}, "slug must contain"),
        ({"slug": 7}, "slug must be a string"),
        ({"config": []}, "config must be an object"),
        ({"task_type": "text2smell"}, "unknown task_type"),
        ({"execution_policy": "sometimes"}, "unknown execution_policy"),
        ({"execution_policy_config": {"replicas": 0}}, "replicas must be greater than zero"),
        ({"execution_policy_config": {"replicas": True}}, "replicas must be greater than zero"),
        ({"execution_policy": "scheduled"}, "either cron or window"),
        (
            {
                "execution_policy": "scheduled",
                "execution_policy_config": {"cron": "0 2 * * *", "window": "Mon"},
            },
            "either cron or window",
        ),
        ({"execution_policy": "autoscaling"}, "max_hourly_cost_usd must be greater than zero"),
        (
            {
                "execution_policy": "autoscaling",
                "execution_policy_config": {**CLOUD, "workers": {"cloud_pool": {"gpu_pool": []}}},
            },
            "gpu_pool must not be empty",
        ),
        (
            {
                "execution_policy": "autoscaling",
                "execution_policy_config": {
                    **CLOUD,
                    "workers": {"cloud_pool": {"gpu_pool": ["A100"], "max_hourly_cost_usd": 0}},
                },
            },
            "max_hourly_cost_usd must be greater than zero",
        ),
        (
            {
                "execution_policy": "autoscaling",
                "execution_policy_config": {"workers": {"source": "private"}},
            },
            "private_worker_ids must not be empty",
        ),
    ],
)
def test_a_create_is_validated(platform: Platform, token: str, change: dict[str, Any], message: str) -> None:
    """A create that cannot be carried out is refused with 400, and nothing is created."""
    with pytest.raises(RefusedError, match=message) as raised:
        platform.create(token, PROJECT, BODY | change)
    assert raised.value.status == 400
    assert listed(platform, token) == []


@pytest.mark.parametrize(
    ("policy", "config"),
    [
        ("fixed", {"replicas": 2}),
        ("scheduled", {"window": "Mon-Fri 08:00-20:00 Europe/Madrid"}),
        ("autoscaling", CLOUD | {"key_of_the_future": 1}),
        ("autoscaling", {"workers": {"source": "private", "private_worker_ids": ["wrk_1"]}}),
    ],
)
def test_policies_that_are_accepted(platform: Platform, token: str, policy: str, config: dict[str, Any]) -> None:
    """Every kind of policy is stored as it was sent, keys nobody knows included."""
    row = platform.create(token, PROJECT, BODY | {"execution_policy": policy, "execution_policy_config": config})
    assert row.fields["execution_policy_config"] == config


def test_a_patch_changes_what_it_names(platform: Platform, token: str, time: Time) -> None:
    """The other fields stay, and updated_at moves."""
    row = platform.create(token, PROJECT, BODY)
    before = dict(row.fields)
    time.now += 1
    platform.update(token, row.id, {"model_name": "llama-4", "description": None})
    changed = {name for name in before if before[name] != row.fields[name]}
    assert changed == {"model_name", "updated_at"}
    assert listed(platform, token)[0]["model_name"] == "llama-4"


@pytest.mark.parametrize("form", ["replace", "merge"])
def test_a_patch_of_config(token: str, platform: Platform, form: str) -> None:
    """A PATCH replaces the config whole, or lays its keys over it."""
    platform.configure({"config_update": form})
    row = platform.create(token, PROJECT, BODY | {"config": {"command": "a", "kept": 1}})
    platform.update(token, row.id, {"config": {"command": "b"}})
    assert row.fields["config"] == {"command": "b"} | ({"kept": 1} if form == "merge" else {})


@pytest.mark.parametrize("field", ["task_type", "slug", "id", "project_slug"])
def test_some_fields_cannot_be_patched(platform: Platform, token: str, field: str) -> None:
    """What makes up the identity, and the task type, is refused even with the value it has."""
    row = platform.create(token, PROJECT, BODY)
    with pytest.raises(RefusedError, match=f"{field} cannot be changed"):
        platform.update(token, row.id, {field: row.fields[field]})


def test_a_new_policy_kind_is_checked_with_the_stored_config(platform: Platform, token: str) -> None:
    """The kind alone meets the old config and is refused; together with its config it is accepted."""
    row = platform.create(token, PROJECT, BODY)
    with pytest.raises(RefusedError, match="max_hourly_cost_usd must be greater than zero"):
        platform.update(token, row.id, {"execution_policy": "autoscaling"})
    assert row.fields["execution_policy"] == "fixed"
    platform.update(token, row.id, {"execution_policy": "autoscaling", "execution_policy_config": CLOUD})
    assert row.fields["execution_policy_config"] == CLOUD


def test_server_side_keys_and_fields(platform: Platform, token: str) -> None:
    """The server adds keys of its own where they were not sent, also after a PATCH."""
    platform.configure({"extra_config": {"auto": True, "command": "x"}, "extra_policy_config": {"min": 0}})
    platform.configure({"extra_fields": {"region": "eu"}, "omit_null": True})
    row = platform.create(token, PROJECT, BODY | {"config": {"command": "mine"}})
    platform.update(token, row.id, {"config": {"command": "new"}})
    answer = listed(platform, token)[0]
    assert answer["config"] == {"auto": True, "command": "new"}
    assert answer["execution_policy_config"] == {"min": 0, "replicas": 1}
    assert answer["region"] == "eu"
    assert "worker_id" not in answer


def test_normalisation_that_only_lists_show(platform: Platform, token: str) -> None:
    """The answer to a write echoes what was sent, and so does the next one."""
    rule = {"field": "description", "operation": "trim", "lists_only": True}
    platform.configure({"normalise": [rule]})
    row = platform.create(token, PROJECT, BODY | {"description": " d\n"})
    assert row.fields["description"] == " d\n"
    assert json.loads(platform.list_workloads(token, PROJECT))[0]["description"] == "d"
    assert platform.update(token, row.id, {"name": "b"}).fields["description"] == " d\n"


def test_normalisation(platform: Platform, token: str) -> None:
    """The server trims, lowers, clamps and sets what it was told to, and leaves other types alone."""
    rules = [
        {"field": "config.command", "operation": "trim"},
        {"field": "name", "operation": "lower"},
        {"field": "config.size", "operation": "clamp", "minimum": 2, "maximum": 4},
        {"field": "config.absent", "operation": "clamp", "minimum": 2},
        {"field": "config.nested.made", "operation": "set", "value": 7},
    ]
    platform.configure({"normalise": rules})
    row = platform.create(token, PROJECT, BODY | {"config": {"command": " a ", "size": 9}})
    assert row.fields["name"] == "bot"
    assert row.fields["config"] == {"command": "a", "size": 4, "nested": {"made": 7}}
    platform.update(token, row.id, {"config": {"command": 5, "size": 1}})
    assert row.fields["config"] == {"command": 5, "size": 2, "nested": {"made": 7}}


@pytest.mark.parametrize(
    ("shape", "empty", "full"),
    [("array", "[]", "["), ("object", '{"workloads":[]}', "{"), ("null", "null", "[")],
)
def test_shapes_of_the_list(platform: Platform, token: str, shape: str, empty: str, full: str) -> None:
    """The list comes in three shapes; a change of shape needs no change of the rows."""
    platform.configure({"list_shape": shape})
    assert platform.list_workloads(token, PROJECT).decode() == empty
    platform.create(token, PROJECT, BODY)
    assert platform.list_workloads(token, PROJECT).decode().startswith(full)


def test_the_dashboard_asks_no_questions(platform: Platform, token: str) -> None:
    """Any field can be edited, inside others too; what was there before is not changed in place."""
    row = platform.create(token, PROJECT, BODY | {"config": {"command": "a"}})
    before = row.fields["config"]
    platform.edit(row, {"task_type": "embedding", "config.command": "b", "created_at": "2001-01-01T00:00:00Z"})
    assert before == {"command": "a"}
    assert (row.fields["task_type"], row.fields["config"]) == ("embedding", {"command": "b"})
    assert listed(platform, token)[0]["created_at"] == "2001-01-01T00:00:00Z"


def test_the_dashboard_can_rename_a_slug(platform: Platform, token: str) -> None:
    """A workload is found under its new slug, and a taken slug or another id is impossible."""
    row = platform.create(token, PROJECT, BODY)
    platform.create(token, PROJECT, BODY | {"slug": "taken"})
    platform.edit(row, {"slug": "new"})
    assert platform.row(PROJECT, "new") is row
    assert (row.fields["slug"], row.fields["workload_slug"]) == ("new", "new")
    assert platform.inventory.lookup(PROJECT, "bot") is None
    with pytest.raises(ValueError, match="taken"):
        platform.edit(row, {"slug": "taken"})
    with pytest.raises(ValueError, match="id"):
        platform.edit(row, {"id": "wl_other"})


def test_a_renamed_workload_keeps_its_place(platform: Platform, token: str) -> None:
    """A new slug does not change the order of a list; an explicit workload_slug is kept."""
    row = platform.create(token, PROJECT, BODY)
    platform.create(token, PROJECT, BODY | {"slug": "younger"})
    platform.edit(row, {"slug": "new", "workload_slug": "other"})
    assert [(each["slug"], each["workload_slug"]) for each in listed(platform, token)] == [
        ("new", "other"),
        ("younger", "younger"),
    ]


@pytest.mark.parametrize(
    ("form", "slugs"),
    [
        ({}, ["support-bot", "support-bot-1", "support-desk"]),
        ({"slug_form": "upper"}, ["SUPPORT-BOT", "SUPPORT-BOT-1", "SUPPORT-DESK"]),
        ({"slug_form": "truncated"}, ["support-", "support--1", "support--2"]),
        ({"slug_form": "truncated", "slug_length": 9}, ["support-b", "support-b-1", "support-d"]),
    ],
)
def test_forms_of_a_slug(platform: Platform, token: str, form: dict[str, Any], slugs: list[str]) -> None:
    """A POST stores the canonical slug in the form that is set, and makes that one unique; the dashboard does not."""
    platform.configure(form)
    wanted = ["Support Bot", "support-bot", "support-desk"]
    assert [platform.create(token, PROJECT, BODY | {"slug": slug}).slug for slug in wanted] == slugs
    assert platform.add(PROJECT, {"slug": "by-hand-and-long"}).slug == "by-hand-and-long"


def refusal(platform: Platform, token: str | None, project: str = PROJECT) -> tuple[int, str]:
    """Return status and code of the refusal of a create."""
    with pytest.raises(RefusedError) as raised:
        platform.create(token, project, BODY)
    return raised.value.status, raised.value.code


def test_credentials(platform: Platform, token: str) -> None:
    """Unknown, of the wrong kind, of another project, without the scope, revoked: each its own refusal."""
    reader = platform.mint(PROJECT, ["workload:read"])
    assert refusal(platform, None) == (401, "unauthenticated")
    assert refusal(platform, generated("ik_sdk")) == (401, "unauthenticated")
    assert refusal(platform, generated("ik_live")) == (403, "wrong_credential_type")
    assert refusal(platform, token, "other") == (403, "project_scope_mismatch")
    assert refusal(platform, reader) == (403, "scope_insufficient")
    assert listed(platform, reader) == []
    platform.revoke(shown(reader) or "")
    with pytest.raises(RefusedError):
        platform.list_workloads(reader, PROJECT)


def test_a_workload_of_another_project_is_out_of_reach(platform: Platform, token: str) -> None:
    """Its id is refused as belonging elsewhere; an id that is nowhere is not found."""
    row = platform.create(token, PROJECT, BODY)
    stranger = platform.mint("other")
    for action in (lambda: platform.update(stranger, row.id, {}), lambda: platform.delete(stranger, row.id)):
        with pytest.raises(RefusedError) as raised:
            action()
        assert raised.value.code == "project_scope_mismatch"
    with pytest.raises(RefusedError) as raised:
        platform.delete(token, "wl_nowhere")
    assert raised.value.status == 404


def test_a_project_can_be_named_by_its_id(platform: Platform, token: str) -> None:
    """The id of the project does where its slug does."""
    platform.create(token, project_id(PROJECT), BODY)
    assert [row.project for row in platform.rows()] == [PROJECT]


def test_tokens_have_one_form(platform: Platform) -> None:
    """A fixed token must look like one, and scopes must exist."""
    fixed = generated("ik_sdk")
    assert platform.mint(PROJECT, token=fixed) == fixed
    for wrong in ("secret", generated("ik_live"), fixed.upper()):
        with pytest.raises(ValueError, match="form"):
            platform.mint(PROJECT, token=wrong)
    with pytest.raises(ValueError, match="scopes"):
        platform.mint(PROJECT, ["workload:everything"])


def test_what_is_shown_of_a_token() -> None:
    """Prefix and public identifier, or next to nothing."""
    token = generated("ik_live")
    assert shown(token) == f"{token[:16]}…"
    assert shown("hunter2") == "ik…"
    assert shown(None) is None
    assert redacted(f"a {token} b") == f"a {token[:16]}… b"


def test_readiness_follows_the_clock(platform: Platform, token: str, time: Time) -> None:
    """The phases take as long as they are set to, bootstrapping in steps."""
    platform.configure({"readiness": {"scheduling": 1, "provisioning": 2, "bootstrapping": 3}})
    row = platform.create(token, PROJECT, BODY)
    seen = []
    for _ in range(7):
        reading = platform.reading(row)
        seen.append((reading.phase, reading.step, reading.changes_in))
        time.now += 1
    assert seen == [
        ("scheduling", None, 1),
        ("provisioning", None, 2),
        ("provisioning", None, 1),
        ("bootstrapping", "pull_image", 1),
        ("bootstrapping", "load_weights", 1),
        ("bootstrapping", "start_server", 1),
        ("ready", None, None),
    ]


def test_readiness_at_once(token: str, platform: Platform) -> None:
    """Without durations a workload is ready when it is created."""
    platform.configure({"readiness": {"scheduling": 0, "provisioning": 0, "bootstrapping": 0}})
    assert platform.reading(platform.create(token, PROJECT, BODY)).phase == "ready"


def test_readiness_can_be_held_failed_and_set(platform: Platform, token: str, time: Time) -> None:
    """A workload stays where it is held, fails where it is told to, and leaves ready again."""
    platform.configure({"readiness": {"hold_at": "provisioning"}})
    held = platform.create(token, PROJECT, BODY)
    platform.configure({"readiness": {"hold_at": None, "error": "no GPU"}})
    failing = platform.create(token, PROJECT, BODY)
    time.now += 100
    assert platform.reading(held).phase == "provisioning"
    assert (platform.reading(failing).phase, platform.reading(failing).message) == ("error", "no GPU")
    platform.set_phase(held, "ready")
    platform.set_phase(held, "bootstrapping", "again", "load_weights")
    assert platform.reading(held).event(1.5) == {
        "phase": "bootstrapping",
        "message": "again",
        "elapsed_ms": 1500,
        "step": "load_weights",
    }
    platform.configure({"readiness": {"error": None}})
    platform.set_phase(failing, None)
    assert platform.reading(failing).phase == "scheduling"


def test_an_update_may_restart_a_workload(platform: Platform, token: str, time: Time) -> None:
    """A patched workload begins anew, or goes on serving where that is set."""
    row = platform.create(token, PROJECT, BODY)
    time.now += 100
    platform.update(token, row.id, {"name": "x"})
    assert platform.reading(row).phase == "scheduling"
    time.now += 100
    platform.configure({"readiness": {"restart_on_update": False}})
    platform.update(token, row.id, {"name": "y"})
    assert platform.reading(row).phase == "ready"


def test_watchers_hear_of_phases_and_of_the_end(platform: Platform, token: str) -> None:
    """Whoever watches a row is told when its phase is set and when it is deleted."""
    row = platform.create(token, PROJECT, BODY)
    heard: list[bool] = []
    row.watchers.add(lambda: heard.append(row.removed))
    platform.set_phase(row, "ready")
    platform.delete(token, row.id)
    assert heard == [False, True]


def test_settings_are_checked() -> None:
    """An unknown name, also inside readiness, is an error and changes nothing."""
    for wrong in (
        {"latencyy": 1},
        {"readiness": {"speed": 1}},
        {"error_form": "xml"},
        {"latency": -1},
        {"list_lag": {"create": -1}},
        {"list_lag": {"rename": 1}},
        {"list_lag": 1},
        {"clock_skew": 1e300},
        {"clock_skew": float("nan")},
        {"page_size": 0},
        {"slug_length": 0},
    ):
        with pytest.raises(ValueError, match="validation error"):
            Settings().patched(wrong)


def test_nested_settings_are_patched_key_by_key() -> None:
    """A change of one duration leaves the others."""
    settings = Settings().patched({"readiness": {"scheduling": 9}, "list_lag": {"create": 7}})
    settings = settings.patched({"readiness": {"error": "x"}, "list_lag": {"delete": 8}})
    assert (settings.readiness.scheduling, settings.readiness.error) == (9, "x")
    assert settings.list_lag.model_dump() == {"create": 7, "update": 0, "delete": 8}


def test_latency_per_project() -> None:
    """A project's own latency goes before the general one."""
    settings = Settings(latency=1, project_latency={"slow": 5, "fast": 0})
    assert [settings.latency_of(name) for name in ("slow", "fast", "other", None)] == [5, 0, 1, 1]


def test_ten_thousand_rows_are_listed_from_what_was_made_before(
    platform: Platform, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more create makes the JSON of one row, not of all, and a list makes none."""
    made: list[bytes] = []

    def counted(value: object) -> bytes:
        made.append(to_json(value))
        return made[-1]

    monkeypatch.setattr("inferencekey_simulator.platform.to_json", counted)
    for number in range(10_000):
        platform.create(token, PROJECT, BODY | {"slug": f"w{number}"})
    assert len(listed(platform, token)) == 10_000
    assert platform.list_workloads(token, PROJECT) is platform.list_workloads(token, PROJECT)
    assert len(made) == 10_000

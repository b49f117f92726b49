"""From a Secret to a token, a project and a platform: each failure by its own reason, and never a fallback."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencekey_operator.api.status import EndpointStatus
from inferencekey_operator.api.workload import TokenSecretRef, WorkloadStatus
from inferencekey_operator.errors import Actor, ConfigurationError, OperatorError, PlatformFailure, Reason
from inferencekey_operator.plan.credentials import (
    Allowed,
    Credential,
    credential,
    identity,
    origin,
    pinned_identity,
    refuse_secrets,
    with_remedy,
)
from inferencekey_operator.plan.drift import declared_document
from inferencekey_operator.plan.plan import Identity
from unit.builders import IDENTITY, PLATFORM, SECRET_HALF, TOKEN, a_workload, agreed

ALLOWED = Allowed(PLATFORM, ("inferencekey",), ("https://eu.inferencekey.com",))
SECRET = {"INFERENCEKEY_SDK_TOKEN": TOKEN, "INFERENCEKEY_PROJECT": "prod"}
LIVE_KEY = f"ik_live_a1b2c3d4_{SECRET_HALF}"


def refusal(secret: dict[str, str] | None, spec: dict[str, Any] | None = None) -> ConfigurationError:
    """What stands in the way."""
    with pytest.raises(ConfigurationError) as caught:
        credential(a_workload(spec), secret, ALLOWED)
    return caught.value


def test_one_secret_made_from_an_env_file_is_enough() -> None:
    """Token and project come from the SDK's own names; the platform is the operator's."""
    assert credential(a_workload(), SECRET, ALLOWED) == Credential(TOKEN, "prod", PLATFORM)


def test_the_spec_names_the_project_first() -> None:
    """The Secret's project is what holds where the Workload names none."""
    found = credential(a_workload({"project": "staging"}), SECRET, ALLOWED)

    assert found.project == "staging"


def test_another_key_of_the_secret() -> None:
    """The reference says which key; no other is looked at."""
    ref = {"token_secret_ref": TokenSecretRef(name="inferencekey", key="TOKEN")}

    assert credential(a_workload(ref), {"TOKEN": TOKEN, "INFERENCEKEY_PROJECT": "prod"}, ALLOWED).token == TOKEN
    assert refusal(SECRET, ref).reason is Reason.SECRET_KEY_NOT_FOUND


def test_white_space_around_a_value_is_no_part_of_it() -> None:
    """A file that ends with a line break is the usual way to get one."""
    secret = {key: f" {value}\n" for key, value in (SECRET | {"INFERENCEKEY_BASE_URL": PLATFORM}).items()}

    assert credential(a_workload(), secret, ALLOWED) == Credential(TOKEN, "prod", PLATFORM, names_platform=True)


OTHER_SECRET = {"token_secret_ref": TokenSecretRef(name="another")}
REFUSALS: list[tuple[str, dict[str, str] | None, dict[str, Any], Reason, Actor]] = [
    ("no such Secret", None, {}, Reason.SECRET_NOT_FOUND, Actor.PLATFORM),
    ("a Secret that may not be read", SECRET, OTHER_SECRET, Reason.SECRET_NOT_ALLOWED, Actor.PERSON),
    ("also where there is none", None, OTHER_SECRET, Reason.SECRET_NOT_ALLOWED, Actor.PERSON),
    ("an empty Secret", {}, {}, Reason.SECRET_KEY_NOT_FOUND, Actor.PLATFORM),
    ("an empty token", SECRET | {"INFERENCEKEY_SDK_TOKEN": " "}, {}, Reason.SECRET_KEY_NOT_FOUND, Actor.PLATFORM),
    (
        "a data-plane key",
        SECRET | {"INFERENCEKEY_SDK_TOKEN": LIVE_KEY},
        {},
        Reason.WRONG_CREDENTIAL_TYPE,
        Actor.PERSON,
    ),
    ("no project anywhere", {"INFERENCEKEY_SDK_TOKEN": TOKEN}, {}, Reason.PROJECT_NOT_SET, Actor.PERSON),
    ("an empty project", SECRET | {"INFERENCEKEY_PROJECT": " "}, {}, Reason.PROJECT_NOT_SET, Actor.PERSON),
    (
        "another platform",
        SECRET | {"INFERENCEKEY_BASE_URL": "https://evil.example"},
        {},
        Reason.BASE_URL_NOT_ALLOWED,
        Actor.PERSON,
    ),
]


@pytest.mark.parametrize(("why", "secret", "spec", "reason", "actor"), REFUSALS)
def test_what_stands_in_the_way(
    why: str, secret: dict[str, str] | None, spec: dict[str, Any], reason: Reason, actor: Actor
) -> None:
    """A reason of its own, who acts next, and the command that mends it."""
    error = refusal(secret, spec)

    assert (error.reason, error.reason.actor) == (reason, actor), why
    assert "kubectl" in error.message
    command = (
        "kubectl "
        if reason not in (Reason.SECRET_NOT_ALLOWED, Reason.BASE_URL_NOT_ALLOWED)
        else "--allow-base-url https://evil.example. "
        if reason is Reason.BASE_URL_NOT_ALLOWED
        else "start the operator with --"
    )
    assert command in error.message


@pytest.mark.parametrize(
    ("token", "flaw"),
    [
        (TOKEN[:-1], "63 of 64 digits are there"),
        (TOKEN + "0", "65 of 64 digits are there"),
        (TOKEN.upper(), "it does not begin with ik_sdk_"),
        (TOKEN.replace("_a1b2c3d4", "_a1b2c3dg"), "it has characters that are not lower-case hexadecimal digits"),
        (TOKEN.replace("_a1b2c3d4", "_a1b2"), "4 of 8 digits are there"),
        (TOKEN.replace("ik_sdk_", "ik-sdk-"), "it does not begin with ik_sdk_"),
        (f"Bearer {TOKEN}", "it has white space in it"),
        (f'"{TOKEN}"', "it is in quotes"),
        (f"{TOKEN}\n{TOKEN}", "it has white space in it"),
        (TOKEN[:40] + " " + TOKEN[40:], "it has white space in it"),
        ("sk-1234", "it does not begin with ik_sdk_"),
        (SECRET_HALF, "it does not begin with ik_sdk_"),
    ],
)
def test_a_token_of_another_form_is_never_sent(token: str, flaw: str) -> None:
    """What is wrong with it is said, and nothing of it is shown."""
    error = refusal(SECRET | {"INFERENCEKEY_SDK_TOKEN": token})

    assert error.reason is Reason.TOKEN_MALFORMED
    assert f"<64 hex>: {flaw}. Copy" in error.message
    assert SECRET_HALF[:16] not in error.message + str(error) + repr(error)


@pytest.mark.parametrize(
    ("reason", "secret"),
    [(row[3], row[1]) for row in REFUSALS if row[3].actor is not Actor.PERSON and row[1] is not None],
)
def test_the_command_can_be_typed(reason: Reason, secret: dict[str, str]) -> None:
    """No token is on a command line: it goes into a file, and only its key of the Secret is set."""
    message = refusal(secret).message

    assert message.endswith(
        "Put the line INFERENCEKEY_SDK_TOKEN=<your ik_sdk_ token> into a file platform.env, and run: kubectl create "
        "secret generic inferencekey -n team-a --from-env-file=platform.env --dry-run=client -o yaml | kubectl apply "
        "--server-side --force-conflicts -f -"
    )


def test_the_secret_that_is_missing_is_created_by_one_command() -> None:
    """With the namespace, the name and the key that the Workload asks for."""
    message = refusal(None, {"token_secret_ref": TokenSecretRef(name="inferencekey", key="TOKEN")}).message

    assert message.endswith(
        "Put the line TOKEN=<your ik_sdk_ token> and the line INFERENCEKEY_PROJECT=<project slug> into a file "
        "platform.env, and run: kubectl create secret generic inferencekey -n team-a --from-env-file=platform.env"
    )


def test_a_credential_does_not_show_itself() -> None:
    """Neither in a log nor in a traceback."""
    found = credential(a_workload(), SECRET, ALLOWED)

    assert SECRET_HALF not in repr(found)
    assert "prod" in repr(found)


# -- the platform --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "used"),
    [
        ("", PLATFORM),
        (PLATFORM, PLATFORM),
        ("https://API.inferencekey.com/", PLATFORM),
        ("https://api.inferencekey.com:443", PLATFORM),
        ("https://eu.inferencekey.com", "https://eu.inferencekey.com"),
        ("HTTPS://eu.inferencekey.com:443/", "https://eu.inferencekey.com"),
    ],
)
def test_a_platform_that_is_allowed(stated: str, used: str) -> None:
    """The operator's, or one that it was told to allow, however it is spelled."""
    assert credential(a_workload(), SECRET | {"INFERENCEKEY_BASE_URL": stated}, ALLOWED).base_url == used


@pytest.mark.parametrize(
    "stated",
    [
        "https://evil.example",
        "http://api.inferencekey.com",
        "https://api.inferencekey.com.evil.example",
        "https://api.inferencekey.com:8443",
        "https://api.inferencekey.com/elsewhere",
        "https://api.inferencekey.com@evil.example",
        "https://evil.example#https://api.inferencekey.com",
        "api.inferencekey.com",
        "https://api.inferencekey.com:port",
        "https://[api",
        "https://user:password@api.inferencekey.com",
        "https://user@api.inferencekey.com",
        "https://api.inferencekey.com?to=evil.example",
        "https://api.inferencekey.com#evil.example",
        "https://",
        "nonsense",
    ],
)
def test_a_platform_that_is_not_allowed(stated: str) -> None:
    """Never a silent fallback to the operator's own: the token may be another platform's. Both are shown, unless what
    the Secret says is none: it may hold a password.
    """
    error = refusal(SECRET | {"INFERENCEKEY_BASE_URL": stated})

    assert error.reason is Reason.BASE_URL_NOT_ALLOWED
    assert error.message.startswith(f"This operator calls {PLATFORM}, and key INFERENCEKEY_BASE_URL of Secret")
    assert (f"names {stated}," in error.message) is (f"--allow-base-url {stated}." in error.message)
    assert ("@" in error.message, "?" in error.message, "#" in error.message) == (False, False, False)
    assert "password" not in error.message


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("https://Api.Example.com", "https://api.example.com"),
        ("https://api.example.com/", "https://api.example.com"),
        ("http://api.example.com:80/a/b/", "http://api.example.com/a/b"),
        ("http://api.example.com:443", "http://api.example.com:443"),
        (" https://api.example.com\n", "https://api.example.com"),
        ("http://[::1]:8700/", "http://[::1]:8700"),
        ("http://127.0.0.1:8700", "http://127.0.0.1:8700"),
    ],
)
def test_origin(url: str, plain: str) -> None:
    """One spelling, so that places can be compared."""
    assert origin(url) == plain
    assert origin(plain) == plain


# -- identity ------------------------------------------------------------------------------------------------------

HERE = Credential(TOKEN, "prod", PLATFORM)


def test_an_identity_is_where_who_and_what() -> None:
    """Platform, project and the effective slug."""
    assert identity(a_workload(), HERE) == Identity(PLATFORM, "prod", "support-bot")
    assert identity(a_workload({"slug": "bot"}), HERE).slug == "bot"


def test_what_was_used_first_is_pinned() -> None:
    """The same again is fine, and a status that holds only a part of it pins nothing."""
    workload = agreed(a_workload())

    assert pinned_identity(workload) == identity(workload, HERE) == Identity(PLATFORM, "prod", "support-bot")
    assert pinned_identity(a_workload()) is None
    assert pinned_identity(replace(workload, status=replace(workload.status, project_slug=None))) is None


@pytest.mark.parametrize(
    ("spec", "place", "said", "way_back"),
    [
        ({}, Credential(TOKEN, "staging", PLATFORM), "project was prod, is staging", 'INFERENCEKEY_PROJECT":"prod"'),
        (
            {},
            Credential(TOKEN, "prod", "https://eu.inferencekey.com"),
            f"platform was {PLATFORM}, is https://eu",
            f"start it with INFERENCEKEY_BASE_URL={PLATFORM}. If both are right",
        ),
        (
            {},
            Credential(TOKEN, "prod", "https://eu.inferencekey.com", names_platform=True),
            f"platform was {PLATFORM}, is https://eu",
            f'INFERENCEKEY_BASE_URL":"{PLATFORM}"',
        ),
        ({"slug": "bot"}, HERE, "slug was support-bot, is bot", ""),
        ({"project": "staging"}, Credential(TOKEN, "staging", PLATFORM), "project was prod, is staging", ""),
    ],
)
def test_an_identity_that_moved(spec: dict[str, Any], place: Credential, said: str, way_back: str) -> None:
    """Nothing is called, a person decides, and the message names what moved and nothing else."""
    before = agreed(a_workload())
    workload = replace(before, spec=replace(before.spec, **spec))

    with pytest.raises(ConfigurationError, match=said) as caught:
        identity(workload, place)

    assert caught.value.reason is Reason.IDENTITY_CHANGED
    assert caught.value.reason.actor is Actor.PERSON
    assert caught.value.message.count(" was ") == 2
    assert caught.value.message.endswith("delete this one: kubectl delete ikw/support-bot -n team-a"), "the last resort"
    assert way_back in caught.value.message
    assert ("kubectl patch secret" in caught.value.message) is bool(way_back), "what a spec says cannot be taken back"


@pytest.mark.parametrize("pin", ["platform_url", "project_slug", "workload_slug"])
def test_a_pin_that_contradicts_the_endpoint_does_not_count(pin: str) -> None:
    """The two are written together: where only one is right, hands changed the other. Where neither is, it moved."""
    true = EndpointStatus(url=f"{PLATFORM}/endpoint/prod/support-bot")
    forged = {"platform_url": "https://elsewhere.example", "project_slug": "staging", "workload_slug": "bot"}[pin]

    assert identity(agreed(a_workload(), endpoint=true, **{pin: forged}), HERE) == IDENTITY
    with pytest.raises(ConfigurationError):
        identity(agreed(a_workload(), endpoint=true), Credential(TOKEN, "other", PLATFORM))
    with pytest.raises(ConfigurationError):
        identity(agreed(a_workload(), **{pin: forged}), HERE)


# -- secrets in the declaration ------------------------------------------------------------------------------------

SMUGGLED = [
    {"model": TOKEN},
    {"description": f"see {TOKEN}"},
    {"command": f"run --key={LIVE_KEY}"},
    {"config": {"env": [{"name": "KEY", "value": TOKEN}]}},
    {"config": {"a": {"b": [[TOKEN]]}}},
    {"config": {TOKEN: 1}},
    {"execution_policy_config": {"workers": {"private_worker_ids": [TOKEN]}}},
    {"config": {"x": TOKEN.upper()}},
    {"config": {"x": "prefixik_sdk_abc"}},
]


@pytest.mark.parametrize("spec", SMUGGLED)
def test_a_token_anywhere_in_the_declaration_is_refused(spec: dict[str, Any]) -> None:
    """CEL cannot see undeclared keys; this looks at every leaf, and at every key."""
    with pytest.raises(ConfigurationError) as caught:
        refuse_secrets(declared_document(a_workload(spec)))

    assert caught.value.reason is Reason.SECRET_IN_SPEC
    assert SECRET_HALF not in str(caught.value)
    assert "revoke" in caught.value.message


def test_the_place_is_named() -> None:
    """People must find it."""
    with pytest.raises(ConfigurationError, match=r"at config\.env\[1\]\.value\."):
        refuse_secrets({"config": {"env": [{"value": "x"}, {"value": TOKEN}]}})


@pytest.mark.parametrize("text", ["ik_sdk_", "an ik_live_ key", "ik_sdk", "think_sdk", "wrk_1", "sk-1234"])
def test_what_only_speaks_of_tokens_is_allowed(text: str) -> None:
    """A description may explain."""
    refuse_secrets({"description": text, "config": {text: [text, 1, None, {"x": text}]}})


LEAVES = st.recursive(
    st.none() | st.integers() | st.text("abik_", max_size=4),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, min_size=1)
    ),
    max_leaves=6,
)


@given(LEAVES, st.data())
def test_no_leaf_is_too_deep(document: Any, data: st.DataObject) -> None:
    """Wherever a token is put, it is found."""

    def put(value: Any) -> Any:
        if isinstance(value, dict) and value:
            key = data.draw(st.sampled_from(sorted(value)))
            return {**value, key: put(value[key])}
        if isinstance(value, list) and value:
            index = data.draw(st.integers(0, len(value) - 1))
            return [*value[:index], put(value[index]), *value[index + 1 :]]
        return TOKEN

    refuse_secrets({"config": document})
    with pytest.raises(ConfigurationError):
        refuse_secrets({"config": put(document)})


# -- what the platform says of a credential ------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [Reason.TOKEN_REJECTED, Reason.PROJECT_MISMATCH, Reason.SCOPE_INSUFFICIENT])
def test_a_refused_credential_comes_with_the_command_for_another(reason: Reason) -> None:
    """The platform's client knows no namespace; here it is known."""
    error = with_remedy(a_workload(), PlatformFailure(reason, "Refused.", status=401))

    assert error.reason is reason
    assert error.message.startswith("Refused. Put the line INFERENCEKEY_SDK_TOKEN=<your ik_sdk_ token> into a file")


@pytest.mark.parametrize(
    ("reason", "message", "command"),
    [
        (Reason.PLATFORM_REFUSED, "Refused. Correct the spec.", "kubectl edit ikw/support-bot -n team-a"),
        (Reason.SECRET_IN_SPEC, "A token. Take it out.", "kubectl edit ikw/support-bot -n team-a"),
        (
            Reason.PLATFORM_REFUSED,
            "The quota is used up.",
            "Then have it tried again: kubectl annotate ikw/support-bot -n team-a --overwrite "
            "inferencekey.com/reconcile-requested-at=$(date +%s)",
        ),
    ],
)
def test_whatever_waits_for_a_person_comes_with_a_command(reason: Reason, message: str, command: str) -> None:
    """The spec is edited where that is what it takes; else it is tried again as soon as somebody asks."""
    assert with_remedy(a_workload(), OperatorError(reason, message)).message == f"{message} {command}"


@pytest.mark.parametrize(
    "error",
    [
        PlatformFailure(Reason.PLATFORM_UNREACHABLE, "Down. The operator retries automatically."),
        OperatorError(Reason.WRONG_CREDENTIAL_TYPE, "Mend it: kubectl patch secret"),
    ],
)
def test_other_errors_are_left_as_they_are(error: OperatorError) -> None:
    """What heals by itself, or has its command already."""
    assert with_remedy(a_workload(), error) is error


NO_SLUGS = {
    "..": "..",
    "team-a/../team-b": "team-a/../team-b",
    "team-a?x=1": "team-a?x=1",
    "%2e%2e": "%2e%2e",
    "Acme": "Acme",
    "ACME": "ACME",
    "team a": "team a",
    "prj_1a2b3c": "prj_1a2b3c",
    "-team": "-team",
    "team-": "team-",
    "team--a": "team--a",
    "größe": "größe",
    "a\nb": "a b",
    "a\u202eb": "ab",
    "a\x00b": "ab",
    "p" * 254: "p" * 63 + "…",
}
"""Projects that are no slugs, and how a message shows each of them."""


@pytest.mark.parametrize(("project", "shown"), NO_SLUGS.items())
def test_a_project_of_a_secret_that_is_no_slug_is_refused(project: str, shown: str) -> None:
    """The message quotes it, says what a slug is, and ends with the command; two spellings cannot name one project."""
    message = refusal(SECRET | {"INFERENCEKEY_PROJECT": f" {project}\n"}).message

    assert message.startswith(
        f'Key INFERENCEKEY_PROJECT of Secret inferencekey holds "{shown}", which is not a project slug. '
        "Nothing was called. A slug has lower-case ASCII letters and digits with single dashes between them"
    )
    words = shlex.split(message[message.index("kubectl") :])
    assert words[:6] == ["kubectl", "patch", "secret", "inferencekey", "-n", "team-a"]
    assert json.loads(words[-1]) == {"stringData": {"INFERENCEKEY_PROJECT": "<project slug>"}}


@pytest.mark.parametrize(("project", "shown"), NO_SLUGS.items())
def test_a_declared_project_that_is_no_slug_is_refused(project: str, shown: str) -> None:
    """The API server refuses it; what it stored all the same is not called, whatever the Secret says."""
    message = refusal(SECRET, {"project": project}).message

    assert message.startswith(f'The project of this Workload is "{shown}", which is not a project slug. ')
    assert message.endswith("kubectl delete ikw/support-bot -n team-a")


@pytest.mark.parametrize(
    "project",
    [
        TOKEN,
        TOKEN.upper(),
        f"x{TOKEN}",
        LIVE_KEY,
        TOKEN.removeprefix("ik_sdk_"),
        TOKEN.replace("ik_sdk_", "ik-sdk_"),
        f"_{SECRET_HALF}",
        TOKEN[:30] + "\n" + TOKEN[30:],
        "ik_s\u200bdk_a1b2c3d4_" + SECRET_HALF,
        "_" + " ".join(SECRET_HALF),
        "\u200b" * 900 + "_" + SECRET_HALF,
    ],
)
@pytest.mark.parametrize("declared", [False, True])
def test_a_token_in_the_place_of_a_project_is_not_quoted(project: str, declared: bool) -> None:
    """Whole, cut, spelled wrong or in pieces: nobody reads it in a message."""
    secret = SECRET if declared else SECRET | {"INFERENCEKEY_PROJECT": project}
    error = refusal(secret, {"project": project} if declared else None)

    assert error.reason is Reason.PROJECT_NOT_SET
    assert "what looks like a token" in error.message
    assert SECRET_HALF[:8] not in error.message.lower().replace(" ", "")


@pytest.mark.parametrize("declared", [False, True])
def test_a_project_of_any_size_leaves_room_for_the_command(declared: bool) -> None:
    """A condition's message has 1,024 bytes, and the command is at its end."""
    name, project = "s" * 253, "\U0001f600" * 300_000
    ref = {"token_secret_ref": TokenSecretRef(name=name)}
    workload = a_workload(ref | ({"project": project} if declared else {}), namespace="n" * 63, name="w" * 253)

    with pytest.raises(ConfigurationError) as caught:
        credential(workload, SECRET | {"INFERENCEKEY_PROJECT": project}, Allowed(PLATFORM, (name,)))

    assert len(caught.value.message.encode()) <= 1_024


@pytest.mark.parametrize("project", ["p", "team-a", "2", "a-1-b", "p" * 253])
def test_a_slug_is_a_project(project: str) -> None:
    """Whatever the API server accepts in a spec is good in a Secret, too."""
    assert credential(a_workload(), SECRET | {"INFERENCEKEY_PROJECT": project}, ALLOWED).project == project
    assert credential(a_workload({"project": project}), SECRET, ALLOWED).project == project


def test_a_command_that_repeats_what_others_wrote_runs_nothing_else() -> None:
    """What was pinned once may hold a quote, and the message is there to be pasted."""
    evil = "it's'; $(reboot) \"`"
    workload = replace(
        a_workload(),
        status=replace(WorkloadStatus(), platform_url=PLATFORM, project_slug=evil, workload_slug="support-bot"),
    )

    with pytest.raises(ConfigurationError) as caught:
        identity(workload, credential(workload, SECRET, ALLOWED))

    command = caught.value.message.partition("kubectl patch")[2].partition(" To move for good")[0]
    words = shlex.split(command.removesuffix("."))
    assert json.loads(words[-1]) == {"stringData": {"INFERENCEKEY_PROJECT": evil}}

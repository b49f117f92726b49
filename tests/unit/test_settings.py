"""What the operator can be told at its start: flags, variables, which wins, and what a bad value says."""

from __future__ import annotations

import argparse
import re
from typing import Any

import pytest

from inferencekey_operator.__main__ import main
from inferencekey_operator.api.workload import OnDrift
from inferencekey_operator.settings import PREFIX, Settings, add_options, duration, read

FLAGS = [
    "namespace",
    "secret-name",
    "allow-base-url",
    "allow-insecure-base-url",
    "on-drift",
    "list-interval",
    "readiness-interval",
    "resync-period",
    "deletion-grace",
    "client-timeout",
    "uncertain-create-timeout",
    "lease-namespace",
    "lease-duration",
    "shards",
    "bind-address",
    "log-level",
    "log-format",
]


def settings(*flags: str, **variables: str) -> Settings:
    """What these flags and `INFERENCEKEY_…` variables come to."""
    parser = argparse.ArgumentParser(prog="operator")
    add_options(parser)
    environ = {f"INFERENCEKEY_{name}": value for name, value in variables.items()}
    return read(parser, parser.parse_args(list(flags)), environ)


def test_without_a_word() -> None:
    """It works against the public platform, cluster-wide, with the defaults that the documentation states."""
    assert settings() == Settings(
        base_url="https://api.inferencekey.com",
        allow_base_url=(),
        allow_insecure_base_url=(),
        namespace=(),
        secret_name=("inferencekey",),
        on_drift=OnDrift.RECONCILE,
        list_interval=30.0,
        readiness_interval=600.0,
        resync_period=600.0,
        deletion_grace=600.0,
        client_timeout=10.0,
        uncertain_create_timeout=40.0,
        lease_namespace=None,
        lease_duration=20.0,
        bind_address=None,
        log_level="info",
        log_format="text",
    )


@pytest.mark.parametrize(
    ("flag", "text", "attribute", "value"),
    [
        ("namespace", "team-a", "namespace", ("team-a",)),
        ("secret-name", "other", "secret_name", ("other",)),
        ("allow-base-url", "https://eu.example.com/", "allow_base_url", ("https://eu.example.com",)),
        ("allow-insecure-base-url", "http://sim/", "allow_insecure_base_url", ("http://sim",)),
        ("on-drift", "dry_run", "on_drift", OnDrift.DRY_RUN),
        ("on-drift", "Warn", "on_drift", OnDrift.WARN),
        ("list-interval", "10", "list_interval", 10.0),
        ("readiness-interval", "0", "readiness_interval", 0.0),
        ("resync-period", "1h", "resync_period", 3600.0),
        ("deletion-grace", "90s", "deletion_grace", 90.0),
        ("client-timeout", "500ms", "client_timeout", 0.5),
        ("uncertain-create-timeout", "2m", "uncertain_create_timeout", 120.0),
        ("lease-namespace", "infra", "lease_namespace", "infra"),
        ("lease-duration", "1m", "lease_duration", 60.0),
        ("shards", "4", "shards", 4),
        ("bind-address", ":8080", "bind_address", ":8080"),
        ("log-level", "DEBUG", "log_level", "debug"),
        ("log-format", "json", "log_format", "json"),
    ],
)
def test_every_option_has_a_flag_and_a_variable(flag: str, text: str, attribute: str, value: Any) -> None:
    """Both are read in the same way, and change nothing but their own setting."""
    by_flag = settings(f"--{flag}", text)
    by_variable = settings(**{f"OPERATOR_{flag.upper().replace('-', '_')}": text})

    assert getattr(by_flag, attribute) == value
    assert by_variable == by_flag


def test_the_table_above_is_whole() -> None:
    """Each option that the parser knows is one of them."""
    parser = argparse.ArgumentParser()
    add_options(parser)

    known = re.findall(r"^  --([a-z-]+)", parser.format_help(), re.MULTILINE)

    assert known == FLAGS


def test_the_help_names_each_variable() -> None:
    """Nobody has to guess."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    text = parser.format_help()

    assert all(f"[{PREFIX}{flag.upper().replace('-', '_')}]" in re.sub(r"\s+", "", text) for flag in FLAGS)


@pytest.mark.parametrize("text", ["0", "65", "-1", "many", "1.5", ""])
def test_a_number_of_shards_that_cannot_be(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Said with the bounds, before anything is touched."""
    with pytest.raises(SystemExit):
        settings(f"--shards={text}")
    assert "is not a number from 1 to 64" in capsys.readouterr().err


@pytest.mark.parametrize("local", ["localhost:8700", "127.0.0.1:8700", "127.8.0.1", "[::1]:8700", "sim.localhost"])
def test_http_is_for_this_machine(local: str) -> None:
    """Nobody else sees the tokens."""
    assert settings(BASE_URL=f"http://{local}").base_url == f"http://{local}"


@pytest.mark.parametrize("host", ["sim.test.svc:8700", "10.0.0.1", "localhost.example.com", "[fd00::1]"])
def test_http_to_another_host_has_to_be_allowed(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever is on the way could read the tokens; the message has the whole flag."""
    for asked in ({"BASE_URL": f"http://{host}"}, {"OPERATOR_ALLOW_BASE_URL": f"http://{host}"}):
        with pytest.raises(SystemExit):
            settings(**asked)
        assert f"--allow-insecure-base-url http://{host}" in capsys.readouterr().err
        settings(f"--allow-insecure-base-url=http://{host}/", **asked)


def test_a_flag_wins_over_its_variable() -> None:
    """A list as a whole: a flag adds nothing to it."""
    chosen = settings(
        "--list-interval=5s",
        "--namespace=a",
        OPERATOR_LIST_INTERVAL="7s",
        OPERATOR_NAMESPACE="b,c",
        OPERATOR_RESYNC_PERIOD="1m",
    )

    assert (chosen.list_interval, chosen.namespace, chosen.resync_period) == (5.0, ("a",), 60.0)


def test_options_that_repeat() -> None:
    """A flag is given again; a variable has commas."""
    by_flag = settings("--namespace", "a", "--namespace", "b")

    assert by_flag.namespace == ("a", "b")
    assert settings(OPERATOR_NAMESPACE="a, b").namespace == ("a", "b")


def test_an_empty_variable_is_not_set() -> None:
    """As charts leave them."""
    assert settings(OPERATOR_LIST_INTERVAL="", OPERATOR_NAMESPACE="", BASE_URL="") == settings()


def test_the_platform_is_a_variable() -> None:
    """The SDK's own name for it."""
    assert settings(BASE_URL="http://localhost:8700/").base_url == "http://localhost:8700"


@pytest.mark.parametrize(
    ("flags", "settle"),
    [
        ((), 40.0),
        (("--client-timeout", "20s"), 50.0),
        (("--uncertain-create-timeout", "5s"), 5.0),
        (("--uncertain-create-timeout", "0", "--client-timeout", "20s"), 0.0),
    ],
)
def test_a_creation_settles_after_the_clients_timeout(flags: tuple[str, ...], settle: float) -> None:
    """Thirty seconds more than a call may take, unless it is stated."""
    assert settings(*flags).uncertain_create_timeout == settle


@pytest.mark.parametrize(
    ("flags", "seconds"),
    [
        ((), 20.0),
        (("--client-timeout", "20s"), 30.0),
        (("--client-timeout", "1s"), 11.0),
        (("--lease-duration", "3s", "--client-timeout", "1s"), 3.0),
    ],
)
def test_a_lease_outlasts_a_call(flags: tuple[str, ...], seconds: float) -> None:
    """Ten seconds longer than a call may take, unless it is stated."""
    assert settings(*flags).lease_duration == seconds


def test_a_lease_shorter_than_a_call_ends_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    """A leader that cannot renew its Lease could not be sure to have stopped writing by its end."""
    with pytest.raises(SystemExit):
        settings("--lease-duration=11s")
    assert "--lease-duration must be longer than --client-timeout by 2s" in capsys.readouterr().err


BAD = [
    ("list-interval", "0"),
    ("list-interval", "soon"),
    ("list-interval", "-1"),
    ("list-interval", ""),
    ("list-interval", "1h30m"),
    ("list-interval", "nan"),
    ("resync-period", "0s"),
    ("client-timeout", "0"),
    ("deletion-grace", "-5s"),
    ("readiness-interval", "never"),
    ("on-drift", "Panic"),
    ("namespace", ""),
    ("secret-name", " "),
    ("secret-name", "A_B"),
    ("namespace", "-a"),
    ("allow-base-url", "eu.example.com"),
    ("allow-base-url", "ftp://eu.example.com"),
    ("allow-base-url", "https://eu.example.com:port"),
    ("allow-base-url", "https://eu.example.com:99999"),
    ("allow-base-url", "https://eu example.com"),
    ("allow-base-url", "https://user:word@eu.example.com"),
    ("allow-base-url", "https://eu.example.com?a=b"),
    ("allow-base-url", "https://[eu"),
    ("log-level", "loud"),
    ("log-format", "xml"),
    ("bind-address", "abc"),
    ("bind-address", "127.0.0.1:99999"),
]


@pytest.mark.parametrize(("flag", "text"), BAD)
def test_a_bad_flag_ends_the_start(flag: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 2 and a message that names the flag, before anything is touched."""
    with pytest.raises(SystemExit) as caught:
        settings(f"--{flag}={text}")

    assert caught.value.code == 2
    assert f"--{flag}" in capsys.readouterr().err


@pytest.mark.parametrize(("flag", "text"), [row for row in BAD if row[1]])
def test_a_bad_variable_ends_the_start(flag: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the variable's name, for there is no flag to look for."""
    name = f"OPERATOR_{flag.upper().replace('-', '_')}"

    with pytest.raises(SystemExit) as caught:
        settings(**{name: text})

    assert caught.value.code == 2
    assert f"INFERENCEKEY_{name}" in capsys.readouterr().err


@pytest.mark.parametrize("text", [",", "a,,b", " , ", "a,"])
@pytest.mark.parametrize("name", ["OPERATOR_NAMESPACE", "OPERATOR_SECRET_NAME"])
def test_an_empty_name_in_a_list_is_a_mistake(name: str, text: str) -> None:
    """It could mean all namespaces, or no Secret: nobody should have to find out."""
    with pytest.raises(SystemExit):
        settings(**{name: text})


@pytest.mark.parametrize("text", ["platform", "https://a b", "https://platform:x", "file:///x", "https://u:p@platform"])
def test_a_bad_platform_ends_the_start(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The variable is named, and a password in it is not repeated."""
    with pytest.raises(SystemExit) as caught:
        settings(BASE_URL=text)

    message = capsys.readouterr().err
    assert caught.value.code == 2
    assert "INFERENCEKEY_BASE_URL" in message
    assert "u:p@" not in message


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30.0),
        ("30s", 30.0),
        (" 30 s ", 30.0),
        ("1.5m", 90.0),
        ("10min", 600.0),
        ("1h", 3600.0),
        ("500ms", 0.5),
        ("0", 0.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    """Seconds unless a unit says otherwise."""
    assert duration(text) == seconds


@pytest.mark.parametrize("arguments", [[], ["run", "--list-interval", "soon"], ["fly"], ["run", "--unknown"]])
def test_the_command_wrongly_called(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and words."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: inferencekey-operator")


def test_the_command_prints_the_crd(capsys: pytest.CaptureFixture[str]) -> None:
    """To be piped into kubectl, and nothing else with it."""
    assert main(["crd"]) == 0

    text = capsys.readouterr().out
    assert "kind: CustomResourceDefinition" in text
    assert "name: workloads.inferencekey.com" in text

"""The SDK's errors against the simulator: credentials, permissions, refusals and trouble on the way."""

from __future__ import annotations

import pytest
from inferencekey import ManagementClient
from inferencekey.errors import (
    ApiError,
    ConfigurationError,
    InferenceKeyError,
    PermissionDenied,
    ValidationError,
)

from conformance.declarations import PROJECT, asked, spec
from inferencekey_simulator.admin import Admin

FORMS = ["string", "object", "text"]
UNKNOWN = f"ik_sdk_00000000_{'0' * 64}"
DATA_KEY = f"ik_live_00000000_{'0' * 64}"


def refused(url: str, token: str, project: str = PROJECT) -> str:
    """Return the message of the permission error that ensure() raises."""
    client = ManagementClient(base_url=url, sdk_token=token, project=project)
    with pytest.raises(PermissionDenied) as raised:
        client.ensure(spec())
    return str(raised.value)


@pytest.mark.parametrize("form", FORMS)
def test_an_unknown_token_is_refused(url: str, admin: Admin, form: str) -> None:
    """401 is the SDK's permission error that speaks of authentication."""
    admin.settings(error_form=form)
    assert refused(url, UNKNOWN).startswith("authentication failed")
    assert admin.requests()[-1]["status"] == 401


@pytest.mark.parametrize("form", FORMS)
def test_a_data_key_is_the_wrong_credential_type(url: str, admin: Admin, form: str) -> None:
    """An ik_live_ key on the control plane is refused by the platform, with its code."""
    admin.settings(error_form=form)
    assert "wrong_credential_type" in refused(url, DATA_KEY)


@pytest.mark.parametrize("form", FORMS)
def test_a_token_of_another_project_is_refused(url: str, token: str, admin: Admin, form: str) -> None:
    """A token opens its own project only."""
    admin.settings(error_form=form)
    assert "project_scope_mismatch" in refused(url, token, "another")


@pytest.mark.parametrize("form", FORMS)
def test_a_token_that_may_only_read_cannot_create(url: str, admin: Admin, form: str) -> None:
    """Reading is allowed, writing is not."""
    admin.settings(error_form=form)
    assert "scope_insufficient" in refused(url, admin.mint(PROJECT, scopes=["workload:read"]))
    assert [each["status"] for each in admin.requests()] == [200, 403]


def test_a_revoked_token_is_refused_at_once(url: str, sdk: ManagementClient, admin: Admin, token: str) -> None:
    """The very next call after the revocation fails."""
    sdk.ensure(spec())
    assert admin.revoke(token) == 1
    assert refused(url, token).startswith("authentication failed")


@pytest.mark.parametrize("form", FORMS)
def test_a_refusal_says_why(sdk: ManagementClient, admin: Admin, form: str) -> None:
    """400 is the SDK's validation error, with the platform's sentence in it."""
    admin.settings(error_form=form)
    with pytest.raises(ValidationError, match="max_hourly_cost_usd must be greater than zero"):
        sdk.ensure(spec(execution_policy="autoscaling", execution_policy_config={"max_hourly_cost_usd": 0}))


def test_only_the_string_form_tells_the_sdk_the_code(url: str, token: str, admin: Admin) -> None:
    """The SDK names the code as such only where the error is a plain string."""
    admin.settings(error_form="string")
    assert "[project_scope_mismatch]" in refused(url, token, "another")
    admin.settings(error_form="object")
    assert "[forbidden]" in refused(url, token, "another")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_trouble_of_the_platform_is_not_retried(sdk: ManagementClient, admin: Admin, status: int) -> None:
    """Rate limits and server errors reach the caller after one attempt."""
    admin.fault("respond", status=status, headers={"Retry-After": "1"}, body={"error": "busy"})
    with pytest.raises(ApiError, match=f"status {status}"):
        sdk.ensure(spec())
    assert admin.counters()["list"] == 1


@pytest.mark.parametrize("action", ["cut_before", "truncate"])
def test_a_broken_connection_is_an_api_error(sdk: ManagementClient, admin: Admin, action: str) -> None:
    """A list that is cut off or arrives in half is an error, never an empty list."""
    sdk.ensure(spec())
    admin.fault(action, operation="list")
    with pytest.raises(ApiError, match="network error"):
        sdk.ensure(spec())
    assert len(admin.workloads(PROJECT)) == 1


def test_the_sdk_leaves_validation_to_the_platform(sdk: ManagementClient, admin: Admin) -> None:
    """A slug that comes out empty is sent, and it is the platform that refuses it."""
    with pytest.raises(ValidationError, match="slug must not be empty"):
        sdk.ensure(spec(slug="---"))
    assert admin.counters()["create"] == 1


def test_the_sdk_knows_the_task_types(sdk: ManagementClient, admin: Admin) -> None:
    """An unknown task type fails before any request."""
    with pytest.raises(ValidationError, match="unknown variant"):
        sdk.ensure(spec(task_type="text2smell"))
    assert admin.last() == 0


def test_a_secret_in_the_declaration_is_sent(sdk: ManagementClient, admin: Admin) -> None:
    """The SDK does not look for tokens in a declaration: the platform gets to see them."""
    sdk.ensure(spec(description=DATA_KEY))
    assert admin.requests(operation="create")[0]["body"]["description"] == DATA_KEY


def test_deleting_what_another_deleted_first_is_an_error(sdk: ManagementClient, admin: Admin) -> None:
    """Between the SDK's list and its delete the workload may go: that 404 is not swallowed."""
    sdk.ensure(spec())
    admin.fault("respond", operation="delete", status=404, body={"error": "not_found"})
    with pytest.raises(ApiError, match="not found"):
        sdk.delete("support-bot")


def test_one_unreadable_row_spoils_the_list(sdk: ManagementClient, admin: Admin) -> None:
    """A task type the SDK does not know, in a workload of somebody else, makes every ensure() fail."""
    admin.add(PROJECT, "foreign", task_type="text2smell")
    with pytest.raises(ApiError, match="json error"):
        sdk.ensure(spec())
    assert admin.counters()["create"] == 0


def test_no_project_is_a_configuration_error(url: str, token: str, admin: Admin) -> None:
    """Without a project there is no request."""
    with pytest.raises(ConfigurationError):
        ManagementClient(base_url=url, sdk_token=token).ensure(spec())
    assert admin.last() == 0


def test_the_record_never_holds_the_secret(sdk: ManagementClient, admin: Admin, token: str) -> None:
    """The record shows the public identifier of a token, and its secret nowhere."""
    asked(admin, lambda: sdk.ensure(spec()))
    record = str(admin.requests())
    assert token[:15] in record
    assert token[16:] not in record


def test_errors_never_show_the_secret(url: str, admin: Admin) -> None:
    """Neither the SDK's error nor the simulator's answer repeats a token."""
    token = admin.mint(PROJECT)
    for project in (PROJECT, "another"):
        admin.revoke(token)
        with pytest.raises(InferenceKeyError) as raised:
            ManagementClient(base_url=url, sdk_token=token, project=project).ensure(spec())
        assert token[16:] not in str(raised.value)

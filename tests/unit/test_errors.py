"""The words of conditions, Events, logs and metrics, and who acts next on each."""

from __future__ import annotations

import pytest

from inferencekey_operator.errors import Actor, ConfigurationError, OperatorError, PlatformFailure, Reason

# fmt: off
WORDS = [
    "Ready", "Progressing", "PlanPending", "PlanStale", "AdoptionPending", "DriftDetected", "DriftTolerated",
    "WorkloadMissing", "MassMissing", "Contested", "TaskTypeMismatch", "SlugConflict", "IdentityChanged",
    "SecretNotFound", "SecretKeyNotFound", "SecretNotAllowed", "SecretInSpec", "WrongCredentialType",
    "TokenMalformed", "TokenRejected", "ProjectMismatch", "ProjectNotSet", "ScopeInsufficient",
    "BaseURLNotAllowed", "InvalidPolicy", "ConfigMapConflict", "ConfigMapRefused", "PlatformRefused",
    "PlatformUnreachable", "PlatformError", "RateLimited", "Suspended", "DuplicateWorkload", "OperatorConflict",
    "Deleting", "Orphaned",
]
# fmt: on

HEAL_BY_THEMSELVES = {
    "Progressing": "the platform is at work",
    "SecretNotFound": "it may still come: External Secrets, a later sync wave",
    "SecretKeyNotFound": "it may still come",
    "PlatformUnreachable": "outages end",
    "PlatformError": "it is tried again",
    "RateLimited": "the limit passes",
    "ConfigMapRefused": "quotas and policies change",
    "DuplicateWorkload": "the operator deletes the duplicate",
    "OperatorConflict": "it ends once the other operator writes nothing",
    "Deleting": "the deletion goes on",
}
OFFER_A_DECISION = {
    "PlanPending": "a plan may be approved at any time",
    "PlanStale": "another one may",
    "AdoptionPending": "a plan as well",
    "MassMissing": "the rows may return, or plans be approved, or a look be requested",
    "Suspended": "somebody wanted it so",
}
ARE_FINE = {"Ready", "DriftTolerated", "Orphaned"}


def test_the_table_of_reasons() -> None:
    """No word that is not documented, and none less: they are API."""
    assert [str(reason) for reason in Reason] == WORDS


@pytest.mark.parametrize("reason", Reason)
def test_who_acts_next(reason: Reason) -> None:
    """Stalled ends a Helm upgrade and fails a sync for good, so it is only for what no waiting can heal."""
    expected = Actor.PERSON
    if reason in HEAL_BY_THEMSELVES:
        expected = Actor.PLATFORM
    elif reason in OFFER_A_DECISION:
        expected = Actor.APPROVER
    elif reason in ARE_FINE:
        expected = Actor.NOBODY

    assert reason.actor is expected, (HEAL_BY_THEMSELVES | OFFER_A_DECISION).get(reason)


def test_a_reason_is_one_camel_case_word() -> None:
    """As Kubernetes wants it for conditions and Events."""
    assert all(reason[0].isupper() and reason.isalpha() for reason in Reason)


def test_an_error_carries_what_a_condition_shows() -> None:
    """Reason and message, and where the platform stated one, its wish for a pause."""
    error = OperatorError(Reason.RATE_LIMITED, "Too often.", retry_after=7.0)

    assert (error.reason, error.message, error.retry_after) == (Reason.RATE_LIMITED, "Too often.", 7.0)
    assert str(error) == "RateLimited: Too often."


def test_one_tree() -> None:
    """Whoever catches OperatorError has caught all that may stop a Workload."""
    failure = PlatformFailure(Reason.PLATFORM_ERROR, "Failed.", status=500, uncertain=True)

    assert isinstance(failure, OperatorError)
    assert issubclass(ConfigurationError, OperatorError)
    assert (failure.status, failure.uncertain, failure.retry_after) == (500, True, None)
    assert not PlatformFailure(Reason.PLATFORM_ERROR, "Failed.").uncertain

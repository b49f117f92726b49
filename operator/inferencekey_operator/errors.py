"""Every reason the operator gives, who acts next on it, and the one tree of errors that carries it.

A reason is one CamelCase word. The same word is the condition's reason, the Event's reason, the log line and the
metric's label, so that a person can follow one thing through all four. This module knows nothing of HTTP, of
Kubernetes or of kopf: exceptions of those libraries are translated at their rim.

    OperatorError                   reason, message, retry_after
    ├── ConfigurationError          a person must change something in the cluster; no call was made
    └── PlatformFailure             the platform answered with an error, or did not answer; status, uncertain
"""

from __future__ import annotations

from enum import Enum, StrEnum


class Actor(Enum):
    """Who acts next, and so which of kstatus' conditions is present."""

    NOBODY = "nobody"
    """Nothing is outstanding."""
    PLATFORM = "platform"
    """Work goes on or is retried: `Reconciling`."""
    PERSON = "person"
    """Nothing changes until somebody acts: `Stalled`."""
    APPROVER = "approver"
    """A decision is offered and may be taken at any time: neither `Reconciling` nor `Stalled`."""


class Reason(StrEnum):
    """The words of conditions, Events, log lines and metrics."""

    READY = "Ready"
    PROGRESSING = "Progressing"
    PLAN_PENDING = "PlanPending"
    PLAN_STALE = "PlanStale"
    ADOPTION_PENDING = "AdoptionPending"
    DRIFT_DETECTED = "DriftDetected"
    DRIFT_TOLERATED = "DriftTolerated"
    WORKLOAD_MISSING = "WorkloadMissing"
    MASS_MISSING = "MassMissing"
    CONTESTED = "Contested"
    TASK_TYPE_MISMATCH = "TaskTypeMismatch"
    SLUG_CONFLICT = "SlugConflict"
    IDENTITY_CHANGED = "IdentityChanged"
    SECRET_NOT_FOUND = "SecretNotFound"
    SECRET_KEY_NOT_FOUND = "SecretKeyNotFound"
    SECRET_NOT_ALLOWED = "SecretNotAllowed"
    SECRET_IN_SPEC = "SecretInSpec"
    WRONG_CREDENTIAL_TYPE = "WrongCredentialType"
    TOKEN_MALFORMED = "TokenMalformed"
    TOKEN_REJECTED = "TokenRejected"
    PROJECT_MISMATCH = "ProjectMismatch"
    PROJECT_NOT_SET = "ProjectNotSet"
    SCOPE_INSUFFICIENT = "ScopeInsufficient"
    BASE_URL_NOT_ALLOWED = "BaseURLNotAllowed"
    INVALID_POLICY = "InvalidPolicy"
    CONFIG_MAP_CONFLICT = "ConfigMapConflict"
    CONFIG_MAP_REFUSED = "ConfigMapRefused"
    PLATFORM_REFUSED = "PlatformRefused"
    PLATFORM_UNREACHABLE = "PlatformUnreachable"
    PLATFORM_ERROR = "PlatformError"
    RATE_LIMITED = "RateLimited"
    SUSPENDED = "Suspended"
    DUPLICATE_WORKLOAD = "DuplicateWorkload"
    OPERATOR_CONFLICT = "OperatorConflict"
    DELETING = "Deleting"
    ORPHANED = "Orphaned"

    @property
    def actor(self) -> Actor:
        """Who acts next when this is the reason of `Ready`."""
        return _ACTORS.get(self, Actor.PERSON)


_ACTORS = {
    **dict.fromkeys((Reason.READY, Reason.DRIFT_TOLERATED, Reason.ORPHANED), Actor.NOBODY),
    **dict.fromkeys(
        (
            Reason.PROGRESSING,
            Reason.SECRET_NOT_FOUND,
            Reason.SECRET_KEY_NOT_FOUND,
            Reason.PLATFORM_UNREACHABLE,
            Reason.PLATFORM_ERROR,
            Reason.RATE_LIMITED,
            Reason.CONFIG_MAP_REFUSED,
            Reason.DUPLICATE_WORKLOAD,
            Reason.OPERATOR_CONFLICT,
            Reason.DELETING,
        ),
        Actor.PLATFORM,
    ),
    **dict.fromkeys(
        (
            Reason.PLAN_PENDING,
            Reason.PLAN_STALE,
            Reason.ADOPTION_PENDING,
            Reason.MASS_MISSING,
            Reason.SUSPENDED,
        ),
        Actor.APPROVER,
    ),
}
"""Whatever is not named here waits for a person."""


class OperatorError(Exception):
    """What stopped a Workload, in words that a condition can show.

    `message` is for people: what is, and what to do, with the command to type. It never holds a token's secret.
    `retry_after` is the platform's own wish in seconds, where it stated one.
    """

    def __init__(self, reason: Reason, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class ConfigurationError(OperatorError):
    """Something declared in the cluster stands in the way; the platform was not called."""


class PlatformFailure(OperatorError):
    """A call to the platform that did not succeed.

    `status` is the HTTP status, None where no answer came. `uncertain` says that the platform may have carried out
    the request all the same: a write that is uncertain is never repeated before a fresh list.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        status: int | None = None,
        uncertain: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason, message, retry_after=retry_after)
        self.status = status
        self.uncertain = uncertain

    @property
    def not_found(self) -> bool:
        """Whether the platform itself says that there is no such thing: a 404 of a load balancer says nothing."""
        return self.status == 404 and self.reason is Reason.PLATFORM_REFUSED

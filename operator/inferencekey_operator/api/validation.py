"""What the API server refuses at `kubectl apply`, as CEL rules with messages that say what to write instead.

Frozen with the first release: a rule may be loosened, never added or tightened, for an object that an older
release accepted must stay writable (its finalizer and its status too, and rules at the root are checked at
every write). Only functions that Kubernetes 1.29 knows. A rule that could fail on a string which holds a
token gives the reason `FieldValueForbidden`, or lets the string pass: the server prints the value with any
other refusal.
"""

from __future__ import annotations

from typing import Final

Rule = dict[str, str]

CREDENTIAL: Final = "ik_(live|sdk)_[0-9A-Za-z]"
"""A regular expression that finds the beginning of a credential, whole or cut, anywhere in a string."""

CANONICAL_SLUG: Final = "^[a-z0-9]+(-[a-z0-9]+)*$"

_OBJECT_NAME: Final = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_HOLDS_TOKEN: Final = f"self.matches('{CREDENTIAL}')"
_IS_SLUG: Final = f"{_HOLDS_TOKEN} || self.matches('{CANONICAL_SLUG}')"
_CREDENTIAL_ITSELF: Final = "self.matches('ik_(live|sdk)_[0-9a-f]{8}')"
"""Narrower, for a place where a word such as ik_sdk_token is a sensible name."""


def _rule(expression: str, message: str, *, at: str = "", reason: str = "") -> Rule:
    """One entry of x-kubernetes-validations; `at` is the field below that the refusal is shown at."""
    rule = {"rule": expression, "message": message}
    if at:
        rule["fieldPath"] = at
    if reason:
        rule["reason"] = reason
    return rule


_REVOKE_IT: Final = (
    "a token must never be in a spec: remove it and revoke it. The operator takes its ik_sdk_ token from the "
    "Secret that spec.tokenSecretRef names; an application takes its ik_live_ key from a Secret of its own"
)

NO_TOKEN = _rule(f"!{_HOLDS_TOKEN}", _REVOKE_IT, reason="FieldValueForbidden")
NO_TOKEN_AS_KEY = _rule(f"!{_CREDENTIAL_ITSELF}", _REVOKE_IT, reason="FieldValueForbidden")
NOT_BLANK = _rule("self.trim() != ''", "must not be blank: write a value, or leave the field out if it is optional")
SLUG = _rule(
    _IS_SLUG,
    "a slug is lower-case ASCII letters and digits with single dashes between them: write it as in "
    "support-bot or gemma-4-26b-r9700",
)
PROJECT = _rule(
    _IS_SLUG,
    "a project is named by its slug: lower-case ASCII letters and digits with single dashes between them. "
    "Write it as in team-a; a project's name or id is not its slug",
)
OBJECT_NAME = _rule(
    f"{_HOLDS_TOKEN} || self.matches('{_OBJECT_NAME}')",
    "must be the name of an object in this namespace: lower-case letters, digits, '-' and '.', as in inferencekey",
)
SECRET_KEY = _rule(
    f"{_CREDENTIAL_ITSELF} || self.matches('^[-._a-zA-Z0-9]+$')",
    "must be a key of the Secret: letters, digits, '-', '_' and '.', as in INFERENCEKEY_SDK_TOKEN",
)

ONE_SCHEDULE = _rule(
    "!(has(self.cron) && has(self.window))", "cron and window exclude each other: keep the one that you mean"
)

_CONFIG: Final = "self.executionPolicyConfig"
_WORKERS: Final = f"{_CONFIG}.workers"
_POOL: Final = f"{_WORKERS}.cloud_pool"
_NO_CAP_NEEDED: Final = (
    "!has(self.executionPolicy) || self.executionPolicy != 'autoscaling' || "
    f"(has({_CONFIG}) && has({_WORKERS}) && has({_WORKERS}.source) && {_WORKERS}.source == 'private')"
)
"""True unless the spec asks for autoscaling on workers that the platform bills: it bills all that are not `private`."""
_NO_POOL_NEEDED: Final = f"{_NO_CAP_NEEDED} || !has({_CONFIG}) || !has({_WORKERS})"

SPEC_RULES = (
    _rule(
        "!has(oldSelf.project) || (has(self.project) && self.project == oldSelf.project)",
        "project is part of the Workload's identity and cannot be changed or removed: put the old value "
        "back, or create another Workload",
        at=".project",
    ),
    _rule(
        "!has(self.vllmVersion) || self.backend in ['vllm', 'vllm-omni']",
        "vllmVersion is for the backends vllm and vllm-omni: remove it, or write the version of another "
        "backend into config, as in config.sglang_version",
        at=".vllmVersion",
    ),
    _rule(
        f"!has({_CONFIG}) || has(self.executionPolicy)",
        "executionPolicyConfig needs its policy beside it: write executionPolicy: fixed, scheduled or autoscaling",
        at=".executionPolicy",
    ),
    _rule(
        f"{_NO_CAP_NEEDED} || "
        f"(has({_CONFIG}) && has({_CONFIG}.max_hourly_cost_usd) && {_CONFIG}.max_hourly_cost_usd > 0.0)",
        "autoscaling needs a cap on its cost: write executionPolicyConfig.max_hourly_cost_usd, in US dollars per "
        "hour and more than 0, as in 5.0. Only workers with source: private, in exactly this spelling, need none",
        at=".executionPolicyConfig.max_hourly_cost_usd",
    ),
    _rule(
        f"{_NO_POOL_NEEDED} || !has({_POOL}) || !has({_POOL}.max_hourly_cost_usd) || {_POOL}.max_hourly_cost_usd > 0.0",
        "the cloud pool's max_hourly_cost_usd must be more than 0: write a cap in US dollars per hour, as "
        "in 5.0, or leave it out for the one of executionPolicyConfig",
        at=".executionPolicyConfig.workers.cloud_pool.max_hourly_cost_usd",
    ),
    _rule(
        f"{_NO_POOL_NEEDED} || (!has({_WORKERS}.source) && !has({_POOL})) || "
        f"(has({_POOL}) && has({_POOL}.gpu_pool) && size({_POOL}.gpu_pool) > 0)",
        "autoscaling in the cloud needs at least one kind of GPU to choose from: write "
        "executionPolicyConfig.workers.cloud_pool.gpu_pool, as in [NVIDIA A100-SXM4-80GB]. For machines of your own, "
        "write source: private, in exactly this spelling",
        at=".executionPolicyConfig.workers.cloud_pool.gpu_pool",
    ),
)

ROOT_RULES = (
    _rule(
        "(has(self.spec.slug) ? self.spec.slug : self.metadata.name) == "
        "(has(oldSelf.spec.slug) ? oldSelf.spec.slug : oldSelf.metadata.name)",
        "the slug (spec.slug, else metadata.name) is the Workload's identity and cannot be changed, added "
        "or removed: put the old one back, or create another Workload",
        at=".spec.slug",
    ),
    _rule(
        f"has(self.spec.slug) || self.metadata.name.matches('{CANONICAL_SLUG}')",
        "metadata.name is no slug (lower-case letters and digits with single dashes between them, no dots): "
        "write the slug in spec.slug, or choose another metadata.name",
        at=".spec.slug",
    ),
    _rule(
        "self.metadata.name.size() <= 244 || (has(self.spec.endpoint) && has(self.spec.endpoint.configMapName))",
        "metadata.name is longer than 244 characters, which leaves no room for the ConfigMap's name "
        "<metadata.name>-endpoint: write spec.endpoint.configMapName, or choose a shorter metadata.name",
        at=".spec.endpoint",
    ),
)

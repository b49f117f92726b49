"""How a workload is reached where it is pinned, though its Secret may have moved on or be gone.

Deletions and the removal of a duplicate depend on as little as possible: the identity in the status, and any token that
still works there. Decides which token is tried; not what is done with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from inferencekey_operator.api.workload import Workload
from inferencekey_operator.errors import Actor, ConfigurationError, OperatorError, PlatformFailure, Reason
from inferencekey_operator.inferencekey.project import Project
from inferencekey_operator.plan.credentials import Credential, credential, identity, pinned_identity
from inferencekey_operator.plan.plan import Identity
from inferencekey_operator.reconcile.context import Context
from inferencekey_operator.reconcile.safeguards import newest_needed


async def reach(context: Context, workload: Workload) -> tuple[Identity, Project]:
    """A new list of the pinned project, with the Secret's token or the last one that was good there.

    A list that is answered and cannot be read does not hold this up: what is done by id needs none.
    """
    refused: OperatorError | None = None
    for secret in _secrets(context, workload):
        try:
            return await _reach_with(context, workload, secret)
        except OperatorError as error:
            if error.reason.actor is Actor.PLATFORM and isinstance(error, PlatformFailure):
                raise
            refused = refused or error
    raise refused or OperatorError(Reason.SECRET_NOT_FOUND, "There is no token")


def _secrets(context: Context, workload: Workload) -> list[Mapping[str, str] | None]:
    """What stands in the Secret and, where another one was good for the project, that one."""
    ref, secrets = workload.spec.token_secret_ref, context.secrets
    project = workload.status.project_slug or workload.spec.project
    standing = secrets.get(workload.namespace, ref.name)
    kept = secrets.last_good(workload.namespace, ref.name, ref.key, project) if project else None
    return [standing] if kept is None or kept == standing else [standing, kept]


async def _reach_with(
    context: Context, workload: Workload, secret: Mapping[str, str] | None
) -> tuple[Identity, Project]:
    who, found = _place(context, workload, secret)
    project = context.projects.use(workload.key, who.platform_url, who.project, found.token, beside=True)
    try:
        await project.look(max(newest_needed(context.store.memory(workload.key)), project.uncertain_since))
    except PlatformFailure:
        memory, status = context.store.memory(workload.key), workload.status
        known = (status.workload_id, status.duplicate_workload_id, memory.made, memory.duplicate)
        if not (project.answers_unreadably and any(known)):
            raise
    return who, project


def _place(context: Context, workload: Workload, secret: Mapping[str, str] | None) -> tuple[Identity, Credential]:
    """As for any look; and where the Secret moved on, what is pinned with the token of now."""
    with suppress(ConfigurationError):
        found = credential(workload, secret, context.allowed)
        return identity(workload, found), found
    pinned = _pinned_project(workload)
    found = credential(pinned, secret, context.allowed)
    who = pinned_identity(workload) or Identity(found.base_url, found.project, workload.effective_slug)
    if who.platform_url != found.base_url:
        who = identity(pinned, found)  # raises: a token must not go to a platform that it was not meant for
    return who, found


def _pinned_project(workload: Workload) -> Workload:
    """The Workload with the project that was used first: the Secret may name another one by now."""
    project = workload.status.project_slug
    return replace(workload, spec=replace(workload.spec, project=project)) if project else workload

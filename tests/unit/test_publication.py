"""A refusal of the endpoint's ConfigMap in words: what the API server counts in its answers is no news."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from inferencekey_operator.api.workload import Workload
from inferencekey_operator.cache.informers import ConfigMaps
from inferencekey_operator.errors import OperatorError, Reason
from inferencekey_operator.kube.client import Cluster
from inferencekey_operator.kube.errors import ClusterError
from inferencekey_operator.kube.reading import Body
from inferencekey_operator.plan.conditions import failure, status
from inferencekey_operator.plan.plan import Identity
from inferencekey_operator.reconcile.config_map import Publication
from unit.builders import NOW, PLATFORM, a_live, a_workload
from unit.virtual_time import virtual

WHO = Identity(PLATFORM, "prod", "support-bot")
QUOTA = 'configmaps "support-bot-endpoint" is forbidden: exceeded quota: small, used: configmaps={}'


class Refusing:
    """In the cluster's place: refuses each ConfigMap with the next of these answers."""

    def __init__(self, *answers: ClusterError) -> None:
        self._answers = list(answers)

    async def create_config_map(self, body: Body) -> Body:
        """A refusal."""
        raise self._answers.pop(0)


async def _refused(publication: Publication, workload: Workload) -> tuple[Workload, OperatorError]:
    with pytest.raises(OperatorError) as caught:
        await publication.publish(workload, WHO, a_live())
    return replace(workload, status=status(workload, failure(caught.value), NOW)), caught.value


def _publication(*answers: ClusterError) -> Publication:
    cluster = cast(Cluster, Refusing(*answers))
    return Publication(cluster, [ConfigMaps(cluster, "/api/v1/configmaps", _ignored)])


def _ignored(owner: str) -> None:
    """Nobody looks at what changes."""


@virtual
async def test_a_refusal_that_counts_is_told_once() -> None:
    """The numbers of a quota change with each try: the message, and so the status, stays; another refusal is told."""
    publication = _publication(
        ClusterError(403, QUOTA.format(10)),
        ClusterError(403, QUOTA.format(12)),
        ClusterError(422, "denied by policy"),
    )
    workload, first = await _refused(publication, a_workload())
    again, second = await _refused(publication, workload)
    _, third = await _refused(publication, again)

    assert (first.reason, first.message) == (Reason.CONFIG_MAP_REFUSED, second.message)
    assert QUOTA.format(10) in first.message
    assert "kubectl describe resourcequota -n " in first.message
    assert again.status == workload.status
    assert "denied by policy" in third.message


@pytest.mark.parametrize("code", [0, 401, 410, 429, 500, 503])
@virtual
async def test_what_passes_is_no_refusal(code: int) -> None:
    """Trouble on the way is tried again without a word."""
    with pytest.raises(ClusterError) as caught:
        await _publication(ClusterError(code, "")).publish(a_workload(), WHO, a_live())
    assert caught.value.status == code


class Quick:
    """In the cluster's place: the watch shows each write before it is answered."""

    def __init__(self) -> None:
        self.changed: list[str] = []
        self.informer = ConfigMaps(cast(Cluster, self), "/api/v1/configmaps", self.changed.append)
        self.standing: Body = {}

    async def create_config_map(self, body: Body) -> Body:
        """It is there."""
        metadata = {**body["metadata"], "uid": "a uid", "resourceVersion": "1"}
        return await self.shows({**body, "metadata": metadata})

    async def patch_config_map(self, namespace: str, name: str, patch: Body) -> Body:
        """It has other data."""
        return await self.edit({key: text for key, text in patch["data"].items() if text is not None})

    async def edit(self, data: dict[str, str]) -> Body:
        """Somebody gives it other data."""
        version = str(int(self.standing["metadata"]["resourceVersion"]) + 1)
        return await self.shows(
            {**self.standing, "data": data, "metadata": {**self.standing["metadata"], "resourceVersion": version}}
        )

    async def shows(self, body: Body) -> Body:
        """The watch is faster than any answer."""
        self.standing = body
        await self.informer.changed(body)
        return body


@virtual
async def test_a_write_of_ours_is_nobody_elses_change() -> None:
    """However soon the watch shows it: only what others change is acted on, and counted where it does not end."""
    cluster = Quick()
    publication = Publication(cast(Cluster, cluster), [cluster.informer])
    await publication.publish(a_workload(), WHO, a_live())
    await publication.publish(a_workload(), WHO, replace(a_live(), model_name="llama-4"))
    assert cluster.changed == []

    await cluster.edit({**cluster.standing["data"], "OPENAI_BASE_URL": "https://elsewhere.example"})
    assert cluster.changed == [a_workload().uid]

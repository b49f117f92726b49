"""One user of the operator: a namespace in the cluster, a project on the platform, and what happens in both.

The namespace and the project have one name, so that tests do not meet. Reads tell what is; they decide nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.api import EVENTS, WORKLOADS, Api, Json
from harness.waiting import LONG, equals, eventually
from inferencekey_simulator.admin import Admin
from integration.manifests import Kubectl, manifest

GROUP = "inferencekey.com"
ON_DRIFT = f"{GROUP}/on-drift"
APPROVE_PLAN = f"{GROUP}/approve-plan"
LOOK_NOW = f"{GROUP}/reconcile-requested-at"
SECRET = "inferencekey"
TOKEN_KEY = "INFERENCEKEY_SDK_TOKEN"
PROJECT_KEY = "INFERENCEKEY_PROJECT"
BASE_URL_KEY = "INFERENCEKEY_BASE_URL"


@dataclass(frozen=True)
class Told:
    """One Event about an object, with its repeats."""

    type: str
    reason: str
    note: str
    count: int


class Team:
    """A namespace with its project and a token that may write to it."""

    def __init__(self, name: str, kubectl: Kubectl, api: Api, platform: Admin) -> None:
        self.name, self.kubectl, self.api, self.platform = name, kubectl, api, platform
        self.token = platform.mint(name)
        self._workloads = f"{WORKLOADS}/namespaces/{name}/workloads"
        self._core = f"/api/v1/namespaces/{name}"

    # -- the cluster: what the team does -----------------------------------------------------------------------

    def secret(self, **changes: str | None) -> None:
        """Create the Secret, or set it, with the token; `changes` replace keys, or take them out with None."""
        keys: dict[str, str | None] = {TOKEN_KEY: self.token, PROJECT_KEY: self.name, BASE_URL_KEY: self.platform.url}
        texts = {key: text for key, text in (keys | changes).items() if text is not None}
        if self.api.find(f"{self._core}/secrets/{SECRET}") is None:
            body = {"metadata": {"name": SECRET}, "stringData": texts}
            self.api.create(f"{self._core}/secrets", body)
        else:
            gone = dict.fromkeys(set(keys | changes) - set(texts))
            self.api.patch(f"{self._core}/secrets/{SECRET}", {"data": gone, "stringData": texts})

    def drop_secret(self) -> None:
        """Delete the Secret."""
        self.api.delete(f"{self._core}/secrets/{SECRET}")

    def declare(self, name: str, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        """Create a Workload."""
        body = manifest(name, **spec)
        body["metadata"]["annotations"] = annotations or {}
        self.api.create(self._workloads, body)

    def edit(self, name: str, **spec: Any) -> None:
        """Change fields of a Workload's spec."""
        self.api.patch(f"{self._workloads}/{name}", {"spec": spec})

    def annotate(self, name: str, annotations: dict[str, str | None]) -> None:
        """Set annotations of a Workload."""
        self.api.patch(f"{self._workloads}/{name}", {"metadata": {"annotations": annotations}})

    def delete(self, name: str) -> None:
        """Ask for a Workload's deletion."""
        self.api.delete(f"{self._workloads}/{name}")

    # -- the cluster: what the team sees -----------------------------------------------------------------------

    def find(self, name: str) -> Json | None:
        """A Workload; None if there is none."""
        return self.api.workload(self.name, name)

    def workload(self, name: str) -> Json:
        """A Workload that is there."""
        found = self.find(name)
        assert found is not None, f"no Workload {name}"
        return found

    def status(self, name: str) -> Json:
        """A Workload's status."""
        status: Json = self.workload(name)["status"]
        return status

    def until_made_anew(self, name: str, former: str) -> None:
        """Until it stands for another workload of the platform than it did; meanwhile it stands for none."""
        eventually(lambda: self.status(name).get("workloadId"), lambda found: found not in (None, former))

    def conditions(self, name: str) -> dict[str, Json]:
        """The conditions of what is declared now, by type; none where that was not looked at yet."""
        workload = self.workload(name)
        if workload["status"]["observedGeneration"] != workload["metadata"]["generation"]:
            return {}
        return {condition["type"]: condition for condition in workload["status"]["conditions"]}

    def verdict(self, name: str) -> str:
        """`True Ready`: the state and the reason of Ready for what is declared now; empty where there is none yet."""
        ready = self.conditions(name).get("Ready")
        return f"{ready['status']} {ready['reason']}" if ready else ""

    def until(self, name: str, verdict: str, within: float = LONG) -> Json:
        """The Workload, once its verdict is this one."""
        eventually(lambda: self._seen(name), lambda seen: seen[0] == verdict, within=within)
        return self.workload(name)

    def until_ready(self, name: str, within: float = LONG) -> Json:
        """The Workload, once it serves what is declared now."""
        return self.until(name, "True Ready", within)

    def until_gone(self, name: str, within: float = LONG) -> None:
        """Back when there is no such Workload any more."""
        eventually(lambda: self.find(name), lambda found: found is None, within=within)

    def config_map(self, name: str) -> Json | None:
        """A ConfigMap; None if there is none."""
        return self.api.find(f"{self._core}/configmaps/{name}")

    def events(self, name: str) -> list[Told]:
        """What was told about the object of this name, oldest first."""
        return self.all_events().get(name, [])

    def all_events(self) -> dict[str, list[Told]]:
        """What was told in the namespace, by the name of what it is about, oldest first."""
        found = self.api.items(f"{EVENTS}/namespaces/{self.name}/events")
        told: dict[str, list[Told]] = {}
        for event in sorted(found, key=lambda event: str(event["eventTime"])):
            count = event.get("series", {}).get("count", 1)
            about = told.setdefault(event["regarding"]["name"], [])
            about.append(Told(event["type"], event["reason"], event["note"], count))
        return told

    def until_told(self, name: str, count: int = 2) -> None:
        """Back when so many Events about it are stored, which come after the status that they speak of.

        Two are those of a Workload that was made and became ready. What asserts that nothing more is written begins
        here.
        """
        eventually(lambda: len(self.events(name)), equals(count))

    # -- the platform ------------------------------------------------------------------------------------------

    def live(self, slug: str) -> Json:
        """The fields of a workload that is on the platform."""
        found = self.platform.workload(self.name, slug)
        assert found is not None, f"no workload {slug} on the platform"
        fields: Json = found["fields"]
        return fields

    def slugs(self) -> list[str]:
        """What the project has on the platform."""
        return sorted(row["slug"] for row in self.platform.workloads(self.name))

    def calls(self, *operations: str, since: int = 0) -> list[Json]:
        """What was asked of the platform about this project."""
        asked = self.platform.requests(since, project=self.name)
        return [call for call in asked if not operations or call["operation"] in operations]

    def platform_writes(self, since: int = 0) -> list[str]:
        """`create support-bot` and the like: what changed the platform, or was to."""
        writes = self.calls("create", "update", "delete", since=since)
        return [f"{call['operation']} {call['slug']}" for call in writes]

    def pass_intervals(self, count: int = 3) -> None:
        """Back when the operator has looked at the project this many times more."""
        since = self.platform.last()
        eventually(lambda: len(self.calls("list", since=since)), lambda lists: lists >= count, within=10.0 * count)

    def _seen(self, name: str) -> tuple[str, Json | None]:
        return self.verdict(name), self.find(name)

"""One Application as a team has it: a repository in Git, a namespace that it is for, and what Argo CD says of it."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from argocd.installation import APPROVER, ArgoCD
from argocd.processes import NAMESPACE
from harness.api import Api
from harness.waiting import eventually

Json = dict[str, Any]

FINALIZER = "resources-finalizer.argocd.argoproj.io"
_APPLICATIONS = f"/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/applications"
_REFRESH = "argocd.argoproj.io/refresh"


class Repository:
    """A folder under Git; each change is a commit."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self._git("init", "--quiet", "--initial-branch=main")

    @property
    def url(self) -> str:
        """For Argo CD, which reads it like any other."""
        return f"file://{self._folder}"

    def commit(self, **documents: Json | None) -> None:
        """Write files, or take them out with None."""
        for name, document in documents.items():
            path = self._folder / f"{name}.yaml"
            if document is None:
                path.unlink()
            else:
                path.write_text(yaml.safe_dump(document))
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message=change")

    def _git(self, *arguments: str) -> None:
        author = {
            f"GIT_{who}_{what}": "test@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        environment = {"PATH": os.environ["PATH"], "HOME": str(self._folder), **author}
        subprocess.run(["git", "-C", str(self._folder), *arguments], env=environment, check=True)


class Application:
    """Synced by itself, with pruning and self-healing: whatever fights it, it fights back."""

    def __init__(self, name: str, repository: Repository, namespace: str, api: Api, argo: ArgoCD) -> None:
        self.name, self.repository, self.namespace = name, repository, namespace
        self._api, self._argo = api, argo
        self._path = f"{_APPLICATIONS}/{name}"

    def create(self) -> None:
        """Give it to Argo CD."""
        spec = {
            "project": "default",
            "source": {"repoURL": self.repository.url, "path": ".", "targetRevision": "main"},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": self.namespace},
            "syncPolicy": {"automated": {"prune": True, "selfHeal": True}},
        }
        body = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "spec": spec}
        self._api.create(_APPLICATIONS, {**body, "metadata": {"name": self.name, "finalizers": [FINALIZER]}})

    def delete(self) -> None:
        """With all that it holds."""
        self._api.delete(self._path)

    def forget(self) -> None:
        """Without what it holds; again, or never created, does nothing."""
        if self.find() is not None:
            self._api.patch(self._path, {"metadata": {"finalizers": None}})
            self.delete()

    def find(self) -> Json | None:
        """What Argo CD wrote of it; None once it is gone."""
        return self._api.find(self._path)

    def refresh(self) -> None:
        """Compare with Git and the cluster once more; back when that is done."""
        self._api.patch(self._path, {"metadata": {"annotations": {_REFRESH: "hard"}}})
        eventually(lambda: _REFRESH not in self._whole()["metadata"].get("annotations", {}), within=60)

    def states(self) -> tuple[str, str, str]:
        """Synced, Healthy, and the phase of the last sync."""
        status = self._status()
        found = (status.get("sync", {}), status.get("health", {}))
        return (*(each.get("status", "") for each in found), status.get("operationState", {}).get("phase", ""))

    def until(self, *states: str, within: float = 90.0) -> None:
        """Back when its states begin with these."""
        eventually(self.states, lambda seen: seen[: len(states)] == states, within=within)

    def syncs(self) -> int:
        """How many syncs were carried out."""
        return len(self._status().get("history", []))

    def until_quiet(self, seconds: float = 3.0) -> datetime:
        """Back when nothing has refreshed it for so long; when it was compared last."""
        return eventually(self.compared, lambda when: (datetime.now(UTC) - when).total_seconds() > seconds, within=60)

    def compared(self) -> datetime:
        """When it was compared last."""
        return datetime.fromisoformat(self._status()["reconciledAt"])

    def managed(self) -> set[str]:
        """What it holds: kind and name."""
        return {f"{each['kind']}/{each['name']}" for each in self._status().get("resources", [])}

    def health(self, kind: str, name: str) -> Json:
        """What the tree that people see says of one resource."""
        with self._argo.as_user(APPROVER) as client:
            tree = client.get(f"/applications/{self.name}/resource-tree").raise_for_status().json()
        nodes = [each for each in tree.get("nodes", []) if (each["kind"], each["name"]) == (kind, name)]
        found: Json = nodes[0].get("health", {}) if nodes else {}
        return found

    def actions(self, name: str, user: str = APPROVER) -> dict[str, Json]:
        """The actions that a user is offered for a Workload."""
        with self._argo.as_user(user) as client:
            path = f"/applications/{self.name}/resource/actions"
            told = client.get(path, params=self._workload(name)).raise_for_status().json()
        return {each["name"]: each for each in told.get("actions", [])}

    def act(self, action: str, name: str, user: str = APPROVER) -> int:
        """Press a button; the HTTP status of the answer."""
        with self._argo.as_user(user) as client:
            path = f"/applications/{self.name}/resource/actions/v2"
            return client.post(path, json={**self._workload(name), "action": action}).status_code

    def _workload(self, name: str) -> dict[str, str]:
        gvk = {"group": "inferencekey.com", "version": "v1alpha1", "kind": "Workload"}
        return {"namespace": self.namespace, "resourceName": name, "appNamespace": NAMESPACE, **gvk}

    def _status(self) -> Json:
        status: Json = self._whole().get("status", {})
        return status

    def _whole(self) -> Json:
        found = self.find()
        assert found is not None, f"no Application {self.name}"
        return found

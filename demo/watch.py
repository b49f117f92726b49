"""The Workloads of one namespace as the API server tells them, kept current by a watch.

Decides what of a Workload is looked at. It draws no conclusions: those are the story's.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from controlplane.access import Cluster
from controlplane.children import bound_to_us

ON_DRIFT = "inferencekey.com/on-drift"
_RETRY_SECONDS = 0.5
_WATCH_SECONDS = 86_400


class Field(NamedTuple):
    """One field whose declared and live values differ."""

    path: str
    declared: str
    live: str


@dataclass(frozen=True, slots=True)
class Workload:
    """One Workload as it stands; what is not known yet is empty."""

    name: str
    slug: str
    annotated: str
    """The drift policy that its annotation asks for."""
    backend: str
    model: str
    ready: str
    reason: str
    message: str
    stalled: bool
    drift: str
    drift_fields: tuple[Field, ...]
    policy: str
    """The drift policy that the operator reports to be in force."""
    plan: str
    endpoint: str
    id: str
    finalizers: tuple[str, ...]

    @property
    def brief(self) -> str:
        """Its state in a few words, for people."""
        state = f"Ready {self.ready or '-'}, {self.reason}" if self.reason else "no status yet"
        return state + (f", drift: {self.drift}" if self.drift else "")


def read(body: dict[str, Any]) -> Workload:
    """A Workload out of its JSON."""
    meta, spec, status = body["metadata"], body["spec"], body.get("status") or {}
    conditions = {each["type"]: each for each in status.get("conditions", [])}
    ready, drift = conditions.get("Ready", {}), status.get("drift") or {}
    fields = (Field(each["field"], each.get("declared", ""), each.get("live", "")) for each in drift.get("fields", []))
    return Workload(
        name=meta["name"],
        slug=spec.get("slug") or meta["name"],
        annotated=meta.get("annotations", {}).get(ON_DRIFT, ""),
        backend=spec["backend"],
        model=spec["model"],
        ready=ready.get("status", ""),
        reason=ready.get("reason", ""),
        message=ready.get("message", ""),
        stalled="Stalled" in conditions,
        drift=drift.get("summary") or "",
        drift_fields=tuple(fields),
        policy=drift.get("policy") or "",
        plan=drift.get("planId") or "",
        endpoint=(status.get("endpoint") or {}).get("url") or "",
        id=status.get("workloadId") or "",
        finalizers=tuple(meta.get("finalizers", [])),
    )


class WorkloadWatch:
    """A thread that follows `kubectl get --raw …?watch`; `changed` hears of each Workload that came, moved or went."""

    def __init__(self, cluster: Cluster, namespace: str, changed: Callable[[str, Workload | None], None]) -> None:
        path = f"/apis/inferencekey.com/v1alpha1/namespaces/{namespace}/workloads"
        self._command = _kubectl_raw(cluster, f"{path}?watch=true&timeoutSeconds={_WATCH_SECONDS}")
        self._errors = cluster.directory / "watch.log"
        self._changed = changed
        self._known: dict[str, Workload] = {}
        self._process: subprocess.Popen[str] | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def all(self) -> list[Workload]:
        """All of them, by name."""
        return sorted(self._known.copy().values(), key=lambda each: each.name)

    def get(self, name: str) -> Workload | None:
        """One of them, None where there is none of that name."""
        return self._known.get(name)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        if self._process is not None:
            self._process.kill()
        self._thread.join()

    def _run(self) -> None:
        """The kernel ends kubectl with this thread, and so with us."""
        while not self._closing.is_set():
            with (
                self._errors.open("a") as errors,
                subprocess.Popen(
                    bound_to_us(self._command),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    start_new_session=True,  # Ctrl-C is for us
                ) as self._process,
            ):
                self._known.clear()
                for line in self._process.stdout or ():
                    if line.endswith("\n"):  # as the last one of a process that is killed may not
                        self._take(json.loads(line))
            self._closing.wait(_RETRY_SECONDS)

    def _take(self, event: dict[str, Any]) -> None:
        if event["type"] not in ("ADDED", "MODIFIED", "DELETED"):
            return
        workload = read(event["object"])
        if event["type"] == "DELETED":
            self._known.pop(workload.name, None)
            self._changed(workload.name, None)
        else:
            self._known[workload.name] = workload
            self._changed(workload.name, workload)


def _kubectl_raw(cluster: Cluster, path: str) -> list[str]:
    kubeconfig: Path = cluster.kubeconfig
    return [str(cluster.kubectl_path), f"--kubeconfig={kubeconfig}", "get", "--raw", path]

"""Writes a Workload for each workload that a project has on the platform already, declared as it is now.

    .venv/bin/python examples/bringing-in/manifests.py < platform.env > workloads.yaml

Reads what the operator's Secret is made of, and asks the platform for one list. Changes nothing anywhere.
"""

import json
import os
import sys
from urllib.parse import quote
from urllib.request import Request, urlopen

import yaml

SAME = {
    "description": "description",
    "taskType": "task_type",
    "executionPolicy": "execution_policy",
    "executionPolicyConfig": "execution_policy_config",
    "workerId": "worker_id",
    "gpuResourceId": "gpu_resource_id",
}
"""What is spelled another way in the spec and on the platform, and is the same."""


def workloads(settings: dict[str, str]) -> list[dict]:
    """All that the project has."""
    base = settings.get("INFERENCEKEY_BASE_URL") or os.environ.get("INFERENCEKEY_BASE_URL")
    path = f"/api/projects/{quote(settings['INFERENCEKEY_PROJECT'], safe='')}/workloads"
    token = settings["INFERENCEKEY_SDK_TOKEN"]
    request = Request(f"{base or 'https://api.inferencekey.com'}{path}", headers={"Authorization": f"Bearer {token}"})
    with urlopen(request, timeout=30) as response:
        answer = json.load(response)
    return (answer.get("workloads") if isinstance(answer, dict) else answer) or []


def manifest(row: dict) -> dict:
    """The Workload that declares a row as it is; what is null there is left out, and so left to the platform."""
    slug, config = row.get("workload_slug") or row["slug"], dict(row.get("config") or {})
    spec = {"model": row["model_name"], "backend": row["backend"]}
    if row.get("name") not in (None, "", slug):
        spec["name"] = row["name"]
    spec |= {ours: row[theirs] for ours, theirs in SAME.items() if row.get(theirs)}
    spec |= {"command": config.pop("command", None), "vllmVersion": config.pop("vllm_version", None), "config": config}
    return {
        "apiVersion": "inferencekey.com/v1alpha1",
        "kind": "Workload",
        "metadata": {"name": slug},
        "spec": {field: value for field, value in spec.items() if value},
    }


if __name__ == "__main__":
    settings = dict(line.strip().split("=", 1) for line in sys.stdin if "=" in line)
    yaml.safe_dump_all(map(manifest, workloads(settings)), sys.stdout, sort_keys=False, allow_unicode=True)

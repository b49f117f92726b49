"""kubeconform with the schemas of `kubernetes-validate`: whether manifests are what a version of Kubernetes takes.

Decides how those schemas are laid out for it; the network is never asked.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

_LOCATION = "{{.NormalizedKubernetesVersion}}/{{.ResourceKind}}{{.KindSuffix}}.json"
_DEFINITIONS = "_definitions.json"


def lay_out(version: str, kinds: Iterable[str], folder: Path) -> None:
    """The strict schemas of kinds in a version (`1.29`) as kubeconform can read them: with references between files."""
    source = resources.files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    target = folder / f"v{version}.0"
    target.mkdir(parents=True)
    wanted = tuple(f"{kind.lower()}-" for kind in kinds)
    for file in source.iterdir():
        if not file.name.startswith((_DEFINITIONS, *wanted)):
            continue
        text = file.read_text(encoding="utf-8").replace(f'"/api/{_DEFINITIONS}#', f'"{_DEFINITIONS}#')
        schema = json.loads(text)
        schema.pop("$id", None)  # else references lead to an address that is none
        (target / file.name).write_text(json.dumps(schema), encoding="utf-8")


def complaints(kubeconform: Path, schemas: Path, version: str, manifests: str, *skipped: str) -> list[str]:
    """What is wrong with manifests for a version of Kubernetes; kinds that are `skipped` have no schema there."""
    command = [str(kubeconform), "-strict", "-output=json", "-summary", f"-kubernetes-version={version}.0"]
    where = [f"-schema-location={schemas}/{_LOCATION}", *([f"-skip={','.join(skipped)}"] if skipped else [])]
    result = subprocess.run(
        [*command, *where, "-"], input=manifests, capture_output=True, text=True, timeout=120, check=False
    )
    report = json.loads(result.stdout)
    assert sum(report["summary"].values()) > 0, "it looked at nothing"
    return [f"{each['kind']} {each['name']}: {each['msg']}" for each in report["resources"] or ()]

"""`python -m argocd.binaries`: Argo CD and the Redis beside it, built once from pinned Go modules.

They are kept beside the control plane's.

The version stands in `modules/go.mod` and nowhere else.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from controlplane import kept
from controlplane.pins import Kit, Recipe
from controlplane.progress import Progress

ARGOCD = "argocd"
REDIS = "argocd-redis"
MODULES = Path(__file__).parent / "modules"

_MODULE = "github.com/argoproj/argo-cd/v3"


def version() -> str:
    """The pinned Argo CD, such as `v3.2.11`."""
    found = re.search(rf"^(?:require)?\s+{re.escape(_MODULE)} (v\S+)", (MODULES / "go.mod").read_text(), re.MULTILINE)
    assert found is not None, f"{MODULES / 'go.mod'} pins no {_MODULE}"
    return found[1]


def kit() -> Kit:
    """One binary is all of Argo CD's components; which one it is depends on how it is called."""
    stamp = f"-s -w -X {_MODULE}/common.version={version().removeprefix('v')}"
    return Kit(
        title=f"Argo CD {version()}",
        name=f"argocd-{version()}",
        cost="about 10 minutes on 2 cores, 2 GB in Go's own caches, 190 MB kept",
        recipes=(
            Recipe(MODULES, ("./redis",), (REDIS,), "-s -w", "grpcnotrace"),
            Recipe(MODULES, (f"{_MODULE}/cmd",), (ARGOCD,), stamp, "grpcnotrace"),
        ),
    )


def find(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of the binaries, built if there is none yet. Raises build.BuildFailedError."""
    return kept.find(kit(), environment, Progress(sys.stderr))


def sources() -> Path:
    """The module itself, whose manifests are installed."""
    command = ["go", "mod", "download", "-json", f"{_MODULE}@{version()}"]
    told = subprocess.run(command, cwd=MODULES, capture_output=True, text=True, check=True)
    return Path(json.loads(told.stdout)["Dir"])


if __name__ == "__main__":
    print(find())

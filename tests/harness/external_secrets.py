"""The definition of External Secrets' own kind, as its project publishes it, out of its Go module.

It is fetched with `go` alone, in the version that stands here, and is what the checksum says; none of its code runs.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from shutil import which

MODULE = "github.com/external-secrets/external-secrets@v1.3.2"
CHECKSUM = "h1:u2J8RjlHIeF0oZCqtl92adI/uZWUwOesJIDkfql6LqQ="
_FILE = "config/crds/bases/external-secrets.io_externalsecrets.yaml"
_SECONDS = 120


def definition() -> Path | None:
    """The CustomResourceDefinition of ExternalSecret; None where there is no `go`, or it reaches no module."""
    if which("go") is None:
        return None
    command = ["go", "mod", "download", "-json", MODULE]
    downloaded = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if downloaded.returncode != 0:
        return None
    found = json.loads(downloaded.stdout)
    assert found["Sum"] == CHECKSUM, f"{MODULE} is another one: {found['Sum']}"
    return Path(found["Dir"]) / _FILE

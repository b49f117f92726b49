"""`python -m helmchart generate`: what follows from the models and from values.yaml; `manifests`: what helm renders."""

from __future__ import annotations

import sys

from controlplane import tools
from controlplane.build import BuildFailedError
from helmchart import manifests, values_page
from helmchart.render import CHART, ROOT
from inferencekey_operator.crd import schema

CRDS = (
    ROOT / "crds" / "workloads.inferencekey.com.yaml",
    CHART / "files" / "workloads.inferencekey.com.yaml",
)
"""The same text twice: a chart cannot reach beyond its folder."""


def generate() -> None:
    """Write the CRD, here and in the chart, and the page of values."""
    for path in CRDS:
        path.write_text(schema.render(), encoding="utf-8")
    values_page.PAGE.write_text(values_page.page(), encoding="utf-8")


def main(command: str) -> int:
    """Do it; returns the exit code."""
    if command == "generate":
        generate()
        return 0
    try:
        manifests.INSTALL.write_text(manifests.install_yaml(tools.find("helm")), encoding="utf-8")
    except (tools.NoToolError, BuildFailedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

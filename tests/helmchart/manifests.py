"""manifests/install.yaml: the chart with its defaults, for those who install it without Helm.

Decides what of Helm's own is of no use there: the labels that say Helm manages it.
"""

from __future__ import annotations

from pathlib import Path

from helmchart.render import NAMESPACE, ROOT, rendered_once

INSTALL = ROOT / "manifests" / "install.yaml"

_HEAD = f"""\
# The InferenceKey operator with the defaults of its Helm chart. Rendered by `make manifests`; a test holds the two
# together.
#
#   kubectl apply --server-side -f manifests/install.yaml
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    pod-security.kubernetes.io/enforce: restricted
"""
_HELMS = ("app.kubernetes.io/managed-by: Helm", "helm.sh/chart: ", "helm.sh/resource-policy: ", "# Source: ")


def install_yaml(helm: Path) -> str:
    """The manifest as it should stand."""
    lines = rendered_once(helm).splitlines()
    kept = (line for line in lines if not line.strip().startswith(_HELMS))
    return _HEAD + "\n".join(kept) + "\n"

"""What Argo CD is told of a Workload: scripts in the layout of its own repository, and as keys of its ConfigMap.

The scripts are the one source; `charts/argocd/argocd-cm.yaml` is made from them (`make generate`).
"""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2] / "charts" / "argocd"
WORKLOAD = ROOT / "resource_customizations" / "inferencekey.com" / "Workload"
HEALTH = WORKLOAD / "health.lua"
DISCOVERY = WORKLOAD / "actions" / "discovery.lua"
CONFIG_MAP = ROOT / "argocd-cm.yaml"

_KIND = "inferencekey.com_Workload"
_HEAD = """\
# What Argo CD has to know of Workloads, as keys of its own ConfigMap. Written by `make generate` from the scripts
# beside it. To add them to those that are there:
#
#   kubectl patch configmap argocd-cm -n argocd --patch-file argocd-cm.yaml
"""
_IGNORED_UPDATES = {"jsonPointers": ["/status"]}


def action_names() -> list[str]:
    """The actions that there are, in the order in which people need them."""
    order = ("approve-plan", "reconcile", "suspend", "resume")
    found = sorted(path.parent.name for path in DISCOVERY.parent.glob("*/action.lua"))
    assert found == sorted(order), found
    return list(order)


def action(name: str) -> Path:
    """The script of an action."""
    return DISCOVERY.parent / name / "action.lua"


def config_map() -> str:
    """The patch of Argo CD's ConfigMap."""
    definitions = [{"name": name, "action.lua": action(name).read_text()} for name in action_names()]
    actions = {"discovery.lua": DISCOVERY.read_text(), "definitions": definitions}
    data = {
        f"resource.customizations.health.{_KIND}": HEALTH.read_text(),
        f"resource.customizations.actions.{_KIND}": _dump(actions),
        f"resource.customizations.ignoreResourceUpdates.{_KIND}": _dump(_IGNORED_UPDATES),
    }
    return _HEAD + _dump({"data": data})


class _Blocks(yaml.SafeDumper):
    """Scripts as people read them: texts of several lines as blocks."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Blocks.add_representer(str, _text)


def _dump(document: object) -> str:
    return str(yaml.dump(document, Dumper=_Blocks, sort_keys=False, width=120))

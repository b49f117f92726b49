"""The official Kubernetes client's asynchronous half, without the other.

Python runs a package before any module in it, and `kubernetes` imports its synchronous half when it is run, with
requests, oauthlib, urllib3 and websocket: what nobody here calls, and is a tenth of this process's memory. So the two
packages above `kubernetes.aio.client` are placed without being run: what is in them is found, and imported where it is
asked for. Where they have been imported already, they stay as they are.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec


def _place(name: str) -> None:
    """A package as an import would place it, not run."""
    spec = find_spec(name)
    if spec is None or name in sys.modules:
        return
    package = sys.modules[name] = module_from_spec(spec)
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, package)


_place("kubernetes")
_place("kubernetes.aio")

from kubernetes.aio import client, config  # noqa: E402 - now that they are placed
from kubernetes.aio.client import rest  # noqa: E402
from kubernetes.aio.config import exec_provider, incluster_config, kube_config  # noqa: E402

__all__ = ["client", "config", "exec_provider", "incluster_config", "kube_config", "rest"]

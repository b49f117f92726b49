"""What tests of all folders use: the pinned tools, and how properties are tried.

Where a tool is not to be had, its tests say so and are skipped. No property fails for a machine that is busy.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from controlplane import tools

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


@pytest.fixture(scope="session")
def helm_path() -> Path:
    """helm."""
    return _tool("helm")


@pytest.fixture(scope="session")
def kubeconform_path() -> Path:
    """kubeconform."""
    return _tool("kubeconform")


@pytest.fixture(scope="session")
def kube_score_path() -> Path:
    """kube-score."""
    return _tool("kube-score")


def _tool(name: str) -> Path:
    try:
        return tools.find(name)
    except tools.NoToolError as missing:
        pytest.skip(str(missing))

"""The pinned tools that tests of all folders use. Where one is not to be had, its tests say so and are skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane import tools


@pytest.fixture(scope="session")
def helm_path() -> Path:
    """helm."""
    return _tool("helm")


@pytest.fixture(scope="session")
def kubeconform_path() -> Path:
    """kubeconform."""
    return _tool("kubeconform")


def _tool(name: str) -> Path:
    try:
        return tools.find(name)
    except tools.NoToolError as missing:
        pytest.skip(str(missing))

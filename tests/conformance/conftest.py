"""A simulator for each test, and the official SDK pointed at it.

The SDK is the judge: it is used as its users use it, and nothing of it is replaced.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from inferencekey import ManagementClient

from conformance.declarations import PROJECT
from inferencekey_simulator.admin import Admin
from inferencekey_simulator.app import background


@pytest.fixture
def url() -> Iterator[str]:
    """The URL of a fresh simulator."""
    with background() as url:
        yield url


@pytest.fixture
def admin(url: str) -> Admin:
    """The simulator's admin client."""
    return Admin(url)


@pytest.fixture
def token(admin: Admin) -> str:
    """A control token of the project."""
    return admin.mint(PROJECT)


@pytest.fixture
def sdk(url: str, token: str) -> ManagementClient:
    """The SDK's client for the control plane."""
    return ManagementClient(base_url=url, sdk_token=token, project=PROJECT)

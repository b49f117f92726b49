"""What an operator has imported once it is ready to run; asked of a process of its own: this one has much more."""

from __future__ import annotations

import subprocess
import sys

import pytest

UNUSED = {
    "requests",
    "oauthlib",
    "requests_oauthlib",
    "urllib3",
    "websocket",
    "kubernetes.config",
    "kubernetes.dynamic",
}
"""What the official client's synchronous half brings along, and two of its own modules."""


def _run(program: str) -> list[str]:
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60.0, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_the_clients_synchronous_half_is_not_imported() -> None:
    """It is a tenth of the memory, and nobody calls it; kopf too, which knows its objects, does not bring it in."""
    imported = set(_run("import inferencekey_operator.app.process, sys; print(*sys.modules)"))
    assert {"kopf", "kubernetes.aio.client.rest"} <= imported
    assert not imported & UNUSED


@pytest.mark.parametrize(
    "program",
    [
        "import inferencekey_operator.kube.official; import kubernetes.aio as k; print(k.client.V1Pod.__name__)",
        "import inferencekey_operator.kube.official; from kubernetes.client import V1Pod; print(V1Pod.__name__)",
        "import kubernetes; import inferencekey_operator.kube.official; print(kubernetes.client.V1Pod.__name__)",
        "import kubernetes.aio; from inferencekey_operator.kube import official; print(official.client.V1Pod.__name__)",
    ],
)
def test_whatever_is_in_it_is_found_before_and_after(program: str) -> None:
    """By the name that it always has."""
    assert _run(program) == ["V1Pod"]

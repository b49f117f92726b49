import pytest
from harness import operators
NAME="bot"
@pytest.fixture(scope="module")
def operator_options():
    return (*operators.USUAL, "--interval=1s", "--client-timeout=2s", "--create-settle=5s", "--deletion-grace=3s", "--log-level=debug")
def test_x(crowd, module_operator, audit):
    teams=[crowd.team() for _ in range(8)]
    for t in teams: t.declare(NAME)
    for t in teams: t.until_ready(NAME)
    n=len(module_operator.log()); m=audit.mark()
    for t in teams: t.platform.revoke(t.token); t.delete(NAME)
    for t in teams: t.until_gone(NAME)
    print("\n".join(l for l in module_operator.log()[n:].splitlines() if "kopf" not in l))
    for w in audit.writes(m): print(w)
    assert 0

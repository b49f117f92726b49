"""Single parts, hostile input: a bounded number of examples; `make fuzz` goes on."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from hostile.pure import TARGETS

EXAMPLES = 40


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_input_is_an_answer_or_an_error_of_our_own(name: str) -> None:
    """Nothing else is raised, and what comes out has bounds, hides secrets, and is what the API server takes."""
    target = TARGETS[name]

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(target.given)
    def check(given: object) -> None:
        target.check(given)

    check()

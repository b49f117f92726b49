"""How kopf is set: it writes nothing of its own, and is not deaf for long after an outage of the API server."""

from __future__ import annotations

from inferencekey_operator.controller.handlers import settings

DEAF = 5.0
"""Seconds that an operator may not hear of an edit after the API server is back."""


def test_no_pause_of_kopf_outlasts_an_outage_by_much() -> None:
    """Its own waits grow to 21 seconds; it still gives up after about a minute, and is begun anew with a list."""
    backoffs = settings().networking.error_backoffs
    assert not isinstance(backoffs, float)
    waits = [*backoffs]
    assert max(waits) <= DEAF
    assert 45 <= sum(waits) <= 75


def test_kopf_posts_nothing() -> None:
    """No Events of its own."""
    assert settings().posting.enabled is False

"""The whole operator, hostile Workloads beside good ones: a bounded number of scenes; `make fuzz` goes on."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, given, settings

from hostile.beside import SCENES, Scene, play

EXAMPLES = 6


@settings(max_examples=EXAMPLES, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))
@given(SCENES)
def test_a_hostile_one_holds_up_nobody(scene: Scene) -> None:
    """The good ones are ready as ever, it has a verdict, what is done has bounds, and nothing is made twice."""
    play(scene)

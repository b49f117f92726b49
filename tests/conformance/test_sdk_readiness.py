"""The SDK's wait_until_ready() against the simulator's readiness stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from inferencekey import ManagementClient, ReadinessEvent
from inferencekey.errors import ApiError

from conformance.declarations import PROJECT, spec
from inferencekey_simulator.admin import Admin

SLUG = "support-bot"


def wait(sdk: ManagementClient, on_progress: Callable[[ReadinessEvent], None]) -> None:
    """Wait for the workload with a bound that no test should reach."""
    sdk.wait_until_ready(SLUG, timeout=30, on_progress=on_progress)


def stream_bytes(admin: Admin) -> int:
    """Return the size of the first readiness stream once the simulator is done with it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        entry = admin.requests(operation="readiness")[0]
        if entry["seconds"] is not None:
            return int(entry["bytes_out"])
        time.sleep(0.01)
    raise AssertionError("the stream did not end")


def test_phases_arrive_in_order(sdk: ManagementClient) -> None:
    """A new workload goes through the phases, bootstrapping step by step, and the wait ends with ready."""
    sdk.ensure(spec())
    events: list[ReadinessEvent] = []
    wait(sdk, events.append)
    assert [(event.phase, event.step) for event in events] == [
        ("scheduling", None),
        ("provisioning", None),
        ("bootstrapping", "pull_image"),
        ("bootstrapping", "load_weights"),
        ("bootstrapping", "start_server"),
        ("ready", None),
    ]
    assert [event.elapsed_ms for event in events] == sorted(event.elapsed_ms for event in events)
    assert events[-1].elapsed_ms > 1000


def test_the_snapshot_comes_first(sdk: ManagementClient, admin: Admin) -> None:
    """A workload that is ready already says so at once, and the stream ends."""
    admin.settings(readiness={"scheduling": 0, "provisioning": 0, "bootstrapping": 0})
    sdk.ensure(spec())
    events: list[ReadinessEvent] = []
    wait(sdk, events.append)
    assert [event.phase for event in events] == ["ready"]


def test_an_error_ends_the_wait(sdk: ManagementClient, admin: Admin) -> None:
    """The error phase raises with its message."""
    admin.settings(readiness={"error": "no GPU of that kind", "provisioning": 0, "bootstrapping": 0})
    sdk.ensure(spec())
    with pytest.raises(ApiError, match="no GPU of that kind"):
        wait(sdk, lambda event: None)


def test_a_phase_set_by_hand_reaches_an_open_stream(sdk: ManagementClient, admin: Admin) -> None:
    """Each event lets the next phase be set by hand, and it arrives on the same stream."""
    admin.settings(readiness={"hold_at": "scheduling"})
    sdk.ensure(spec())
    following = {"scheduling": "provisioning", "provisioning": "ready"}
    events: list[ReadinessEvent] = []

    def move_on(event: ReadinessEvent) -> None:
        events.append(event)
        if event.phase in following:
            admin.phase(PROJECT, SLUG, following[event.phase], message=f"after {event.phase}")

    wait(sdk, move_on)
    assert [event.message for event in events[1:]] == ["after scheduling", "after provisioning"]
    assert admin.counters()["readiness"] == 1


def test_a_dropped_stream_is_opened_again(sdk: ManagementClient, admin: Admin) -> None:
    """A stream that ends without a terminal event is no end: the SDK comes back and gets a snapshot."""
    admin.settings(readiness={"hold_at": "provisioning", "scheduling": 0})
    sdk.ensure(spec())
    admin.fault("drop", operation="readiness", after_events=1)
    phases: list[str] = []

    def move_on(event: ReadinessEvent) -> None:
        phases.append(event.phase)
        if len(phases) == 2:
            admin.phase(PROJECT, SLUG, "ready")

    wait(sdk, move_on)
    assert phases == ["provisioning", "provisioning", "ready"]
    assert admin.counters()["readiness"] == 2


@pytest.mark.parametrize("cut", [False, True])
def test_a_stream_dropped_while_open_is_opened_again(sdk: ManagementClient, admin: Admin, cut: bool) -> None:
    """It makes no difference whether the stream ends cleanly or the connection is cut."""
    admin.settings(readiness={"hold_at": "scheduling"})
    sdk.ensure(spec())
    phases: list[str] = []

    def drop(event: ReadinessEvent) -> None:
        phases.append(event.phase)
        if len(phases) == 1:
            assert admin.drop_streams(PROJECT, SLUG, cut) == 1
        if len(phases) == 2:
            admin.phase(PROJECT, SLUG, "ready")

    wait(sdk, drop)
    assert phases == ["scheduling", "scheduling", "ready"]


def test_keep_alive_comments_are_passed_over(sdk: ManagementClient, admin: Admin) -> None:
    """Comment lines are no events."""
    admin.settings(readiness={"hold_at": "scheduling", "keep_alive": 0.05})
    sdk.ensure(spec())
    phases: list[str] = []
    timer = threading.Timer(0.5, admin.phase, (PROJECT, SLUG, "ready"))
    timer.start()
    wait(sdk, lambda event: phases.append(event.phase))
    timer.join()
    assert phases == ["scheduling", "ready"]
    # Half a second holds ten comments; five of them are more than the two events could weigh together.
    assert stream_bytes(admin) > 2 * 100 + 5 * len(": keep-alive\n\n")


def test_a_missing_workload_has_no_readiness(sdk: ManagementClient) -> None:
    """The stream of what is not there is an error, not an endless wait."""
    with pytest.raises(ApiError, match="not found"):
        wait(sdk, lambda event: None)


def test_the_timeout_is_looked_at_between_events(sdk: ManagementClient, admin: Admin) -> None:
    """The SDK notices its timeout when the next event arrives."""
    admin.settings(readiness={"hold_at": "scheduling"})
    sdk.ensure(spec())
    timer = threading.Timer(0.6, admin.phase, (PROJECT, SLUG, "provisioning"))
    timer.start()
    with pytest.raises(TimeoutError, match="not ready after 0s"):
        sdk.wait_until_ready(SLUG, timeout=0.2, silent=True)
    timer.join()

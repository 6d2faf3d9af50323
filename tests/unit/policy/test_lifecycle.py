"""The lifecycle's table: it ends where it should, and its ends stay ends."""

from autopilot.agents.policy.states import HOLDING, HoldingState, Trigger


def test_a_plan_ends_denied_started_revoked_withdrawn_or_lapsed() -> None:
    ends = {
        HoldingState.DENIED,
        HoldingState.STARTED,
        HoldingState.REVOKED,
        HoldingState.WITHDRAWN,
        HoldingState.LAPSED,
    }
    assert set(HOLDING.ends()) == ends
    assert not any(HOLDING.accepts(end, trigger) for end in ends for trigger in Trigger)


def test_nothing_is_authorised_out_of_an_end_or_started_without_authorisation() -> None:
    starting = [state for state in HoldingState if HOLDING.accepts(state, Trigger.START)]
    assert starting == [HoldingState.AUTHORIZED]


def test_every_state_is_reached() -> None:
    reached = {HOLDING.initial, *HOLDING.table.values()}
    assert reached == set(HoldingState)

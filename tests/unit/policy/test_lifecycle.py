"""The lifecycle's table: it ends where it should, and its ends stay ends."""

from autopilot.agents.policy.states import HOLDING, HoldingState, Trigger


def test_a_plan_ends_denied_revoked_withdrawn_or_lapsed() -> None:
    ends = {HoldingState.DENIED, HoldingState.REVOKED, HoldingState.WITHDRAWN, HoldingState.LAPSED}
    assert set(HOLDING.ends()) == ends
    assert not any(HOLDING.accepts(end, trigger) for end in ends for trigger in Trigger)


def test_nothing_is_authorised_out_of_an_end_or_started_without_authorisation() -> None:
    starting = [state for state in HoldingState if HOLDING.accepts(state, Trigger.START)]
    assert starting == [HoldingState.AUTHORIZED]


def test_a_started_plan_is_held_and_released_or_turned_back_but_never_revoked_as_if_it_had_not_begun() -> None:
    assert not HOLDING.accepts(HoldingState.STARTED, Trigger.REVOKE)
    assert HOLDING.after(HoldingState.STARTED, Trigger.TURN_BACK) is HoldingState.REVOKED
    leaving = {trigger: state for (before, trigger), state in HOLDING.table.items() if before is HoldingState.HELD}
    assert leaving == {
        Trigger.COUNT: HoldingState.HELD,
        Trigger.RELEASE: HoldingState.STARTED,
        Trigger.TURN_BACK: HoldingState.REVOKED,
        Trigger.LAPSE: HoldingState.LAPSED,
    }


def test_every_state_is_reached() -> None:
    reached = {HOLDING.initial, *HOLDING.table.values()}
    assert reached == set(HoldingState)

"""Laws of what outcomes do to a remedy's autonomy: never raised but by a person, and the same after any restart."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st
from outcomes import judged, rolled_back
from policy_bundles import PERMIT, bundle
from policy_world import RESTART, digest_of_remedy, in_force, plan
from scenario import Scenario, recorded

from autopilot.agents.policy import PolicyAgent
from autopilot.agents.policy.autonomy import LEVELS
from autopilot.schemas.configuration import Autonomy
from autopilot.schemas.envelope import Draft
from autopilot.schemas.events.governance import RemedyAutonomyLowered
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified

VERDICTS = (OutcomeVerified, OutcomeRejected, OutcomeInconclusive)
Course = list[tuple[int, str, int]]
COURSES = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(("remedy", "stage", "rollback")), st.integers(0, 5)), max_size=25
)
"""Verdict, phase and execution of each outcome; a rejected one is followed by a rollback."""


def scenario_at(level: Autonomy) -> Scenario:
    """Six plans of a remedy of that level."""
    remedy = RESTART.model_copy(update={"autonomy": level})
    scenario = in_force(bundle(PERMIT), remedy=remedy)
    return scenario.events(*(plan(f"plan-{n}", remedy_digest=digest_of_remedy(remedy)) for n in range(6)))


def told(course: Course) -> list[Any]:
    """The events of a course."""
    events: list[Any] = []
    for place, (verdict, phase, number) in enumerate(course):
        events.append(judged(number, VERDICTS[verdict], phase, outcome_id=f"out-{place}"))
        if VERDICTS[verdict] is OutcomeRejected and phase != "rollback":
            events.append(rolled_back(number))
    return events


def fold(state: Any, events: Sequence[Any], first: int, kill_at: int) -> tuple[bytes, list[Any]]:
    """The state and what was said after `events` by an agent that is killed once and begins again from a snapshot."""
    agent, said = PolicyAgent(), []
    for place, payload in enumerate(events):
        if place == kill_at:
            dumped, agent = agent.dump_state(state), PolicyAgent()
            state = agent.load_state(dumped)
        event = recorded(payload, first + place, now_us=1, domain="shop", service="checkout", topic=agent.reads)
        if type(payload) in agent.handles:
            state, outputs = agent.handle(state, event)
            said += [output.payload for output in outputs if isinstance(output, Draft)]
    return agent.dump_state(state), said


@settings(deadline=None, max_examples=60)
@examples(COURSES, st.sampled_from(LEVELS[1:]), st.integers(0, 50))
def test_a_kill_at_any_point_changes_neither_the_state_nor_what_is_said(
    course: Course, level: Autonomy, kill_at: int
) -> None:
    agent, events = PolicyAgent(), told(course)
    start = scenario_at(level)
    snapshot = agent.dump_state(start.state)
    whole = fold(agent.load_state(snapshot), events, start.offset, kill_at=-1)
    assert fold(agent.load_state(snapshot), events, start.offset, kill_at) == whole


@settings(deadline=None, max_examples=60)
@examples(COURSES, st.sampled_from(LEVELS[1:]))
def test_without_a_person_an_autonomy_only_ever_goes_down_one_level_at_a_time(course: Course, level: Autonomy) -> None:
    scenario = scenario_at(level).when(*told(course))
    now = LEVELS.index(level)
    for lowered in (d.payload for d in scenario.drafts() if isinstance(d.payload, RemedyAutonomyLowered)):
        assert (lowered.before, lowered.autonomy) == (LEVELS[now], LEVELS[now - 1])
        now -= 1
    grant = scenario.state.autonomies.grants.get("restart@checkout")
    assert (grant.autonomy if grant else level) == LEVELS[now]
    assert now >= 1

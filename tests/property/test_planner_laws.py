"""Laws of the planner, whatever happens in whatever order."""

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from planner import goals, shop
from scenario import Scenario, Told
from scenario import given as scenario_of

from autopilot.agents.planner import Limits, Planner
from autopilot.agents.planner.confidence import Tally, posterior
from autopilot.agents.planner.incident import ACTING, INCIDENT, Phase
from autopilot.agents.planner.state import PlannerState
from autopilot.schemas.configuration import TargetRef
from autopilot.schemas.events.executor import ExecutionFailed, ExecutionRolledBack
from autopilot.schemas.events.planner import (
    IncidentClosed,
    IncidentOpened,
    NoPlanFound,
    PlanProposed,
    TargetsLocked,
    TargetsReleased,
)
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified

NAMES = ("web", "cart", "stock", "search")
SHARED = [TargetRef(driver="supervisord", target="cart")]
FLEET = (*shop.SERVICES[:3], shop.service("search", [], targets=SHARED))


def ended(plan: PlanProposed, *, needs_person: bool) -> ExecutionFailed:
    names = {"execution_id": "exe", "plan_id": plan.plan_id, "incident_id": plan.incident_id}
    return ExecutionFailed(**names, reason="r", needs_person=needs_person)


def undone(plan: PlanProposed) -> ExecutionRolledBack:
    return ExecutionRolledBack(execution_id="exe", plan_id=plan.plan_id, incident_id=plan.incident_id, reason="r")


ABOUT_SERVICES: dict[str, Callable[[str], Told]] = {
    "raise": shop.raised,
    "raise later": lambda name: shop.raised(name, at=400, signal_id=f"late-{name}"),
    "lose": shop.lost,
    "update": shop.updated,
    "clear": shop.cleared,
    "clear later": lambda name: shop.cleared(name, "late"),
    "restore": lambda name: shop.cleared(name, "lost"),
    "observe": lambda name: shop.observed(name, release="v3"),
}
ABOUT_PLANS: dict[str, Callable[[PlanProposed], list[Any]]] = {
    "authorise": lambda plan: [shop.authorized(plan)],
    "deny": lambda plan: [shop.denied(plan)],
    "execute": shop.execution,
    "fail": lambda plan: [ended(plan, needs_person=False)],
    "leave to a person": lambda plan: [ended(plan, needs_person=True)],
    "undo": lambda plan: [undone(plan)],
    "verify": lambda plan: [OutcomeVerified(outcome=shop.outcome(plan))],
    "reject": lambda plan: [OutcomeRejected(outcome=shop.outcome(plan))],
    "reject the rollback": lambda plan: [OutcomeRejected(outcome=shop.outcome(plan, "rollback"))],
    "conclude nothing": lambda plan: [OutcomeInconclusive(outcome=shop.outcome(plan))],
}
moves = st.one_of(
    st.tuples(st.sampled_from(sorted(ABOUT_SERVICES)), st.sampled_from(NAMES)),
    st.tuples(st.sampled_from(sorted(ABOUT_PLANS)), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.sampled_from([1, 60, 3_000])),
)
histories = st.lists(moves, max_size=25)


class History:
    """A scenario that plays moves; plans are meant by how recently they were proposed."""

    def __init__(self, delay_ms: int) -> None:
        planner = Planner(Limits(correlation_delay_ms=delay_ms))
        self.scenario: Scenario = scenario_of(planner, shop.documents(FLEET))
        self.scenario.events(*[shop.observed(one.name) for one in FLEET])
        self.said: list[Any] = []
        self.plans: list[PlanProposed] = []

    def play(self, move: tuple[str, Any]) -> None:
        name, about = move
        told: list[Any] = []
        if name in ABOUT_SERVICES:
            told = [ABOUT_SERVICES[name](about)]
        elif name == "wait":
            told = [Tick(at_us=self.scenario.now_us + about * 1_000_000)]
        elif about < len(self.plans):
            told = ABOUT_PLANS[name](self.plans[-1 - about])
        for draft in self.scenario.when(*told).drafts():
            self.said.append(draft.payload)
            if isinstance(draft.payload, PlanProposed):
                self.plans.append(draft.payload)


def check(state: PlannerState) -> None:
    held: dict[str, str] = {}
    for incident in state.incidents.values():
        assert incident.phase is not Phase.CLOSED
        assert (incident.plan is not None) == (incident.phase in ACTING)
        for target in incident.plan.targets if incident.plan else ():
            assert target not in held, f"`{target}` is held twice"
            held[target] = incident.incident_id
        assert len(incident.tried) <= 4
    assert held == state.holders
    waiting = {one.incident_id: one.waits_for for one in state.incidents.values() if one.phase is Phase.WAITING}
    assert {waiter: blocker for blocker, waiters in state.waiting.items() for waiter in waiters} == waiting
    assert all(state.incidents[blocker].phase in ACTING for blocker in state.waiting)
    assert set(state.of_signal.values()) <= set(state.incidents)
    assert {i for ids in state.of_service.values() for i in ids} == set(state.incidents)


@settings(max_examples=120, deadline=None)
@given(histories, st.sampled_from([0, 2_000]))
def test_no_history_breaks_the_books(history: list[tuple[str, Any]], delay_ms: int) -> None:
    played = History(delay_ms)
    for move in history:
        played.play(move)
        check(played.scenario.state)


@settings(max_examples=120, deadline=None)
@given(histories)
def test_every_incident_is_answered_and_ends_at_most_once(history: list[tuple[str, Any]]) -> None:
    played = History(0)
    for move in history:
        played.play(move)
    opened = [p.incident_id for p in played.said if isinstance(p, IncidentOpened)]
    closed = [p.incident_id for p in played.said if isinstance(p, IncidentClosed)]
    assert len(set(opened)) == len(opened)
    assert len(set(closed)) == len(closed)
    assert set(opened) - set(closed) == set(played.scenario.state.incidents)
    answered = {p.incident_id for p in played.said if isinstance(p, PlanProposed | NoPlanFound)}
    assert set(opened) - answered <= set(closed) | {w for ws in played.scenario.state.waiting.values() for w in ws}


@settings(max_examples=120, deadline=None)
@given(histories)
def test_the_log_alone_tells_who_holds_what(history: list[tuple[str, Any]]) -> None:
    played = History(0)
    for move in history:
        played.play(move)
    held: dict[str, str] = {}
    for payload in played.said:
        if isinstance(payload, TargetsLocked):
            assert held.keys().isdisjoint(payload.targets)
            held |= dict.fromkeys(payload.targets, payload.incident_id)
        elif isinstance(payload, TargetsReleased):
            assert [held.pop(target) for target in payload.targets] == [payload.incident_id] * len(payload.targets)
    assert held == played.scenario.state.holders


@settings(max_examples=60, deadline=None)
@given(st.permutations(goals.ROLLING.operators), st.permutations(goals.ROLLING.variables))
def test_the_same_plan_comes_of_operators_in_any_order(operators: list[Any], variables: list[Any]) -> None:
    plans = []
    for catalogue in (
        goals.ROLLING,
        goals.ROLLING.model_copy(update={"operators": operators, "variables": variables}),
    ):
        scenario = shop.given(Planner(), goals.documents(catalogue), *goals.STATES)
        scenario.when(shop.raised("cart"))
        plan = scenario.only(PlanProposed)
        plans.append(plan.model_copy(update={"remedy_digest": ""}))
    assert plans[0] == plans[1]


@settings(max_examples=60, deadline=None)
@given(histories)
def test_when_all_is_calm_again_nothing_stays_open(history: list[tuple[str, Any]]) -> None:
    played = History(0)
    for move in history:
        played.play(move)
    for name in ("clear", "clear later", "restore"):
        for service in NAMES:
            played.play((name, service))
    for _ in range(6):
        played.play(("wait", 3_000))
    assert played.scenario.state.incidents == {}
    assert played.scenario.state.holders == {}


@settings(max_examples=60, deadline=None)
@given(histories)
def test_the_same_signals_told_twice_change_nothing(history: list[tuple[str, Any]]) -> None:
    once, twice = History(0), History(0)
    for move in history:
        once.play(move)
        twice.play(move)
        if move[0] in ("raise", "raise later", "lose", "clear", "clear later", "restore"):
            twice.play(move)
    assert [type(p) for p in once.said] == [type(p) for p in twice.said]


@given(st.integers(1, 50_000), st.integers(1, 50_000), st.integers(0, 500), st.integers(0, 500))
def test_a_bound_lies_below_its_mean_and_follows_the_outcomes(
    successes: int, failures: int, verified: int, rejected: int
) -> None:
    now = posterior(successes, failures, Tally(verified, rejected))
    assert 0 <= now.bound_bp <= now.mean_bp <= 10_000
    assert posterior(successes, failures, Tally(verified + 1, rejected)).mean_bp >= now.mean_bp
    assert posterior(successes, failures, Tally(verified, rejected + 1)).mean_bp <= now.mean_bp


@given(st.sampled_from(Phase))
def test_every_phase_but_the_last_leads_somewhere(phase: Phase) -> None:
    leads = any(before is phase for before, _ in INCIDENT.table)
    assert leads == (phase is not Phase.CLOSED)

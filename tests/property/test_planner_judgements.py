"""What the planner keeps between two events changes nothing: a planner that keeps nothing says the same."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from planner import shop
from scenario import START_US, Scenario
from scenario import given as scenario_of

from autopilot.agents.planner import Limits, Planner
from autopilot.agents.planner.variables import VARIABLES
from autopilot.policies.cel_engine import names_in
from autopilot.schemas.configuration import Remedy, RemedyCatalogue, RemedyFlapping, document
from autopilot.schemas.events.executor import ExecutionFailed
from autopilot.schemas.events.observer import Severity
from autopilot.schemas.events.people import Document
from autopilot.schemas.events.planner import PlanProposed, RiskClass
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.verifier import OutcomeRejected, OutcomeVerified

ASKED = {
    "burn": "burn_rate_milli > 5000",
    "sure": "signal_confidence_bp < 9400",
    "seen": "quality_bp > 5000",
    "old": "signal_age_ms < 90000",
    "alone": "affected_services == 1",
    "first": "failed_attempts == 0",
    "fresh": "target_age_ms < 60000",
    "settled": "release_age_ms < 0 || release_age_ms > 60000",
    "low": "desired < max_instances",
    "page": "severity == 'page' && slo != ''",
}
SERVICES = (shop.service("web", ["cart"]), shop.service("cart", []))


def remedy(name: str, precondition: str, **changes: Any) -> Remedy:
    fields: dict[str, Any] = {
        "name": name,
        "summary": name,
        "precondition": precondition,
        "risk_class": RiskClass.LOW,
        "cooldown_ms": 90_000,
        "steps": [shop.step(name, "restart", {})],
    }
    return Remedy(**{**fields, **changes})


MOVING = tuple(remedy(name, asked) for name, asked in ASKED.items())
STEADY = (*shop.REMEDIES, remedy("low", ASKED["low"], cooldown_ms=0), remedy("page", ASKED["page"]))

services = st.sampled_from(["cart", "cart", "cart", "web"])
severities = st.sampled_from([Severity.PAGE, Severity.TICKET])
moves = st.one_of(
    st.tuples(st.just("again"), st.tuples(services, severities)),
    st.tuples(st.sampled_from(["update", "clear"]), st.tuples(services, severities)),
    st.tuples(st.just("observe"), st.tuples(services, st.sampled_from(["3", "5"]))),
    st.tuples(st.sampled_from(["deny", "fail", "verify", "reject"]), st.integers(0, 1)),
    st.tuples(st.just("wait"), st.sampled_from([1, 40, 100])),
)


class Course:
    """A planner's scenario that plays moves. One that is `forgetful` has another planner for every event."""

    def __init__(self, remedies: tuple[Remedy, ...], *, forgetful: bool) -> None:
        self.forgetful = forgetful
        self.scenario: Scenario = scenario_of(_planner(), documents(remedies))
        self.scenario.events(*[shop.observed(one.name) for one in SERVICES])
        self.said: list[Any] = []
        self.plans: list[PlanProposed] = []

    def play(self, move: tuple[str, Any]) -> None:
        name, about = move
        if self.forgetful:
            self.scenario.agent = _planner()
        for draft in self.scenario.when(*self._told(name, about)).drafts():
            self.said.append(draft)
            if isinstance(draft.payload, PlanProposed):
                self.plans.append(draft.payload)

    def _told(self, name: str, about: Any) -> list[Any]:
        if name == "wait":
            return [Tick(at_us=self.scenario.now_us + about * 1_000_000)]
        if isinstance(about, int):
            return self._of_plan(name, self.plans[-1 - about]) if about < len(self.plans) else []
        service, how = about
        if name == "again":
            at = (self.scenario.now_us - START_US) / 1_000_000
            return [shop.cleared(service), shop.raised(service, at=at, severity=how)]
        if name == "observe":
            return [shop.observed(service, desired=how)]
        return [shop.updated(service, how) if name == "update" else shop.cleared(service)]

    def _of_plan(self, name: str, plan: PlanProposed) -> list[Any]:
        names = {"execution_id": "exe", "plan_id": plan.plan_id, "incident_id": plan.incident_id}
        failed = ExecutionFailed(**names, reason="r", needs_person=False)
        return {
            "deny": [shop.denied(plan)],
            "fail": [*shop.execution(plan)[:2], failed],
            "verify": [*shop.execution(plan), OutcomeVerified(outcome=shop.outcome(plan))],
            "reject": [*shop.execution(plan), OutcomeRejected(outcome=shop.outcome(plan))],
        }[name]


def documents(remedies: tuple[Remedy, ...]) -> list[Document]:
    """As `shop.documents`, with a catalogue in which next to nothing counts as flapping."""
    others = [one for one in shop.documents(SERVICES) if one.kind != "RemedyCatalogue"]
    catalogue = RemedyCatalogue(name="remedies", remedies=list(remedies), flapping=RemedyFlapping(raises=50))
    return [*others, document(catalogue.model_dump(mode="json"))]


def _planner() -> Planner:
    return Planner(Limits(attempts=20, plans=50))


@settings(max_examples=100, deadline=None)
@given(st.lists(moves, min_size=5, max_size=30), st.sampled_from([MOVING, STEADY]))
def test_what_is_kept_changes_nothing_that_is_said(history: list[tuple[str, Any]], remedies: Any) -> None:
    keeping, forgetful = Course(remedies, forgetful=False), Course(remedies, forgetful=True)
    for move in history:
        keeping.play(move)
        forgetful.play(move)
    assert keeping.said == forgetful.said


def test_every_variable_that_moves_is_asked_about_here() -> None:
    asked = {name for expression in ASKED.values() for name in names_in(expression)}
    assert {variable.name for variable in VARIABLES if variable.moves} <= asked

"""How far a remedy may go: recommend until a person lets it act, on evidence, and never by itself."""

from typing import Any

import pytest
from outcomes import judged
from policy_bundles import PERMIT, bundle
from policy_world import RESTART, digest_of_remedy, in_force, plan
from scenario import Said, Scenario

from autopilot.agents.policy.autonomy import VERIFIED_NEEDED
from autopilot.schemas.configuration import Autonomy
from autopilot.schemas.events.governance import GovernanceRefused, RemedyAutonomyChanged
from autopilot.schemas.events.policy import PlanAuthorized, PlanDenied
from autopilot.schemas.events.verifier import OutcomeRejected, OutcomeVerified

FRESH = RESTART.model_copy(update={"autonomy": Autonomy.RECOMMEND})
DIGEST = digest_of_remedy(FRESH)
FREE = bundle(PERMIT)


def fresh() -> Scenario:
    """A remedy that nobody has let act, under a bundle that would permit everything."""
    return in_force(FREE, remedy=FRESH)


def change(level: str, by: str = "eve", *, signed_by: str | None = "", **more: Any) -> Said:
    """A person changes the remedy's autonomy on the checkout."""
    content: dict[str, Any] = {
        "remedy": "restart",
        "remedy_digest": DIGEST,
        "service": "checkout",
        "autonomy": level,
        "evidence": [],
        "changed_by": by,
        "reason": "r",
    }
    return Said(RemedyAutonomyChanged(**{**content, **more}), signed_by=by if signed_by == "" else signed_by)


def proved(verified: int, rejected: int = 0) -> Scenario:
    """A remedy that may act when approved, with outcomes."""
    scenario = fresh().events(change("approve"))
    for number in range(verified + rejected):
        kind = OutcomeVerified if number < verified else OutcomeRejected
        scenario.events(plan(f"plan-{number}", remedy_digest=DIGEST), judged(number, kind))
    return scenario


def evidence(count: int) -> list[str]:
    return [f"out-{number}-remedy" for number in range(count)]


def refusal(scenario: Scenario, said: Said) -> str:
    return scenario.when(said).then(GovernanceRefused).only(GovernanceRefused).reason


def test_a_new_remedy_is_only_recommended_whatever_the_bundle_permits() -> None:
    denied = fresh().when(plan(remedy_digest=DIGEST)).then(PlanDenied).only(PlanDenied)
    assert denied.reason == "builtin:remedy-autonomy: restart may not act on checkout yet (autonomy recommend)"


def test_a_remedy_that_the_catalogue_does_not_have_is_denied() -> None:
    denied = in_force(FREE).when(plan(remedy="unheard-of")).only(PlanDenied)
    assert "(autonomy observe)" in denied.reason


def test_a_person_lets_it_act_with_approval_and_the_fact_says_so() -> None:
    scenario = fresh().events(change("approve")).when(plan(remedy_digest=DIGEST)).then(PlanAuthorized)
    facts = {fact.name: fact.value for fact in scenario.only(PlanAuthorized).decision.facts}
    assert facts["remedy_autonomy"] == "approve"


def test_outcomes_alone_promote_nothing() -> None:
    assert proved(10).state.autonomies.grants["restart@checkout"].autonomy == "approve"


def test_it_acts_without_asking_on_enough_verified_outcomes() -> None:
    scenario = proved(VERIFIED_NEEDED)
    scenario.when(change("act", evidence=evidence(VERIFIED_NEEDED))).then_nothing()
    assert scenario.state.autonomies.grants["restart@checkout"].autonomy == "act"


@pytest.mark.parametrize(
    ("verified", "rejected", "cited"),
    [(2, 0, [*evidence(2), "made-up"]), (2, 3, evidence(5)), (3, 0, [])],
)
def test_evidence_that_was_not_seen_verified_does_not_count(verified: int, rejected: int, cited: list[str]) -> None:
    assert "at least 3 are needed" in refusal(proved(verified, rejected), change("act", evidence=cited))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (change("approve", signed_by=None), "no signature"),
        (change("approve", signed_by="bob"), "signed by `bob`, not by `eve`"),
        (change("approve", by="cem"), "needed is author or administrator"),
        (change("approve", by="planner"), "is no person"),
        (change("approve", by="policy"), "is no person"),
        (change("boundless"), "`boundless` is none of"),
        (change("approve", remedy_digest="sha256:0"), "no remedy `restart` of the digest"),
    ],
)
def test_what_does_not_count_is_refused_with_a_reason(said: Said, reason: str) -> None:
    scenario = fresh()
    assert reason in refusal(scenario, said)
    scenario.when(plan(remedy_digest=DIGEST)).then(PlanDenied)


def test_an_operator_takes_autonomy_back_at_once() -> None:
    scenario = fresh().events(change("approve")).when(change("observe", by="cem")).then_nothing()
    assert scenario.when(plan(remedy_digest=DIGEST)).only(PlanDenied)


def test_a_remedy_that_was_redefined_starts_again() -> None:
    scenario = fresh().events(change("approve"))
    scenario.when(plan(remedy_digest="sha256:other")).then(PlanDenied)

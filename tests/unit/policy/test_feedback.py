"""What outcomes do to a remedy's autonomy: failures lower it, successes propose a promotion, a person decides."""

from typing import Any

import pytest
from outcomes import judged, rolled_back
from policy_bundles import PERMIT, bundle
from policy_world import RESTART, digest_of_remedy, halt, in_force, plan, signal
from scenario import Said, Scenario

from autopilot.agents.policy.autonomy import FAILED_NEEDED, KEPT_OUTCOMES, VERIFIED_NEEDED
from autopilot.schemas.configuration import Autonomy
from autopilot.schemas.events.executor import ExecutionFailed, ExecutionRolledBack
from autopilot.schemas.events.governance import (
    RemedyAutonomyChanged,
    RemedyAutonomyLowered,
    RemedyPromotionProposed,
)
from autopilot.schemas.events.observer import SignalKind
from autopilot.schemas.events.policy import PlanAuthorized
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified

DIGEST = digest_of_remedy()


def at(level: Autonomy) -> tuple[Scenario, str]:
    """A scenario whose catalogue lets the remedy go so far, and the remedy's digest."""
    remedy = RESTART.model_copy(update={"autonomy": level})
    return in_force(bundle(PERMIT), remedy=remedy), digest_of_remedy(remedy)


def proposed(*numbers: int, digest: str = DIGEST) -> list[Any]:
    """Plans of these numbers."""
    return [plan(f"plan-{number}", remedy_digest=digest) for number in numbers]


def undone(number: int) -> ExecutionRolledBack:
    """It was undone because a step had failed."""
    return rolled_back(number, "timeout")


def failed(number: int, failure: str = "permanent", *, execution_id: str | None = None) -> ExecutionFailed:
    """The execution of plan `number` failed."""
    return ExecutionFailed(
        execution_id=f"exe-{number}" if execution_id is None else execution_id,
        plan_id=f"plan-{number}",
        incident_id="inc",
        reason="r",
        needs_person=False,
        failure=failure,
    )


def changed(level: str, by: str = "eve", digest: str = DIGEST, evidence: list[str] | None = None) -> Said:
    """A person decides."""
    said = RemedyAutonomyChanged(
        remedy="restart",
        remedy_digest=digest,
        service="checkout",
        autonomy=level,
        evidence=evidence or [],
        changed_by=by,
        reason="r",
    )
    return Said(said, signed_by=by)


def autonomy_of(scenario: Scenario, number: int, digest: str = DIGEST) -> str:
    """The fact that the decision on one more plan saw."""
    scenario.when(*proposed(number, digest=digest))
    (decision,) = [d.payload.decision for d in scenario.drafts() if hasattr(d.payload, "decision")]
    return str(next(fact.value for fact in decision.facts if fact.name == "remedy_autonomy"))


# -- lowered -----------------------------------------------------------------------------------------------------------


def test_two_rejected_outcomes_in_a_row_lower_it_one_level_and_the_next_decision_sees_that() -> None:
    scenario, digest = at(Autonomy.ACT)
    scenario.events(*proposed(1, 2, digest=digest)).when(judged(1, OutcomeRejected)).then_nothing()
    said = scenario.when(judged(2, OutcomeRejected)).then(RemedyAutonomyLowered).only(RemedyAutonomyLowered)
    assert (said.before, said.autonomy, said.service) == ("act", "act_and_tell", "checkout")
    assert said.evidence == ["out-1-remedy", "out-2-remedy"]
    assert "autopilot autonomy set restart checkout act " in said.reason
    assert autonomy_of(scenario, 3, digest) == "act_and_tell"


@pytest.mark.parametrize("bad", [failed, undone, lambda n: judged(n, OutcomeRejected, "stage")])
def test_a_failed_or_undone_execution_and_a_stage_that_did_not_pass_are_failures(bad: Any) -> None:
    scenario = in_force(bundle(PERMIT)).events(*proposed(1, 2), bad(1))
    assert scenario.when(bad(2)).only(RemedyAutonomyLowered).autonomy == "act_and_tell"


def test_a_rejection_and_the_rollback_that_it_brings_are_one_failure() -> None:
    scenario = in_force(bundle(PERMIT)).events(*proposed(1))
    scenario.when(judged(1, OutcomeRejected), rolled_back(1), judged(1, OutcomeRejected, "rollback")).then_nothing()
    scenario.when(undone(1)).then_nothing()


def test_the_rollback_after_the_failure_that_lowered_it_does_not_count_again() -> None:
    scenario = in_force(bundle(PERMIT)).events(*proposed(1, 2, 3), failed(1))
    scenario.when(judged(2, OutcomeRejected), rolled_back(2), failed(3)).then(RemedyAutonomyLowered)


def test_a_success_between_two_failures_breaks_the_row() -> None:
    scenario = in_force(bundle(PERMIT)).events(*proposed(1, 2, 3))
    scenario.when(judged(1, OutcomeRejected), judged(2, OutcomeVerified), judged(3, OutcomeRejected)).then_nothing()


def test_an_inconclusive_outcome_counts_neither_way() -> None:
    scenario = in_force(bundle(PERMIT)).events(*proposed(1, 2, 3))
    scenario.when(judged(1, OutcomeRejected), judged(2, OutcomeInconclusive), judged(3, OutcomeRejected))
    scenario.then(RemedyAutonomyLowered)


@pytest.mark.parametrize("ended", [lambda number: failed(number, ""), rolled_back])
def test_what_time_or_an_open_breaker_has_ended_is_no_failure_of_the_remedy(ended: Any) -> None:
    in_force(bundle(PERMIT)).events(*proposed(1, 2)).when(ended(1), ended(2)).then_nothing()


@pytest.mark.parametrize("failure", ["refused", "stale"])
def test_a_step_that_was_not_begun_says_nothing_about_the_remedy(failure: str) -> None:
    in_force(bundle(PERMIT)).events(*proposed(1, 2)).when(failed(1, failure), failed(2, failure)).then_nothing()


def test_an_execution_that_never_began_is_no_failure_of_the_remedy() -> None:
    scenario = in_force(bundle(PERMIT)).events(*proposed(1, 2))
    scenario.when(failed(1, execution_id=""), failed(2, execution_id="")).then_nothing()


def test_what_a_halt_or_lost_telemetry_has_stopped_is_no_failure_of_the_remedy() -> None:
    halted = in_force(bundle(PERMIT)).events(*proposed(1, 2), halt()).when(undone(1), undone(2))
    halted.then_nothing()
    lost = signal("lost", SignalKind.TELEMETRY_LOST)
    in_force(bundle(PERMIT)).events(*proposed(1, 2), lost).when(undone(1), undone(2)).then_nothing()


def test_it_goes_down_step_by_step_to_what_is_only_recommended_and_no_further() -> None:
    scenario = in_force(bundle(PERMIT)).events(*proposed(*range(10)))
    scenario.when(*(judged(number, OutcomeRejected) for number in range(10)))
    levels = [draft.payload.autonomy for draft in scenario.drafts() if isinstance(draft.payload, RemedyAutonomyLowered)]
    assert levels == ["act_and_tell", "approve", "recommend"]
    assert len(scenario.drafts()) == len(levels)


def test_a_remedy_that_was_redefined_meanwhile_is_left_alone() -> None:
    scenario = in_force(bundle(PERMIT)).events(*proposed(1, 2, digest="sha256:other"))
    scenario.when(judged(1, OutcomeRejected), judged(2, OutcomeRejected)).then_nothing()


def test_a_person_decides_otherwise_afterwards_and_the_row_begins_anew() -> None:
    scenario, digest = at(Autonomy.APPROVE)
    scenario.events(*proposed(1, 2, 3, digest=digest), judged(1, OutcomeRejected))
    assert scenario.when(judged(2, OutcomeRejected)).only(RemedyAutonomyLowered).autonomy == "recommend"
    scenario.when(changed("approve", digest=digest)).then_nothing()
    scenario.when(judged(3, OutcomeRejected)).then_nothing()
    assert autonomy_of(scenario, 4, digest) == "approve"


# -- promotion ---------------------------------------------------------------------------------------------------------


def helped(level: Autonomy, count: int) -> tuple[Scenario, str]:
    """A remedy at that level, verified so often; `outputs` is what came of it."""
    scenario, digest = at(level)
    scenario.events(*proposed(*range(count), digest=digest))
    return scenario.when(*(judged(number, OutcomeVerified) for number in range(count))), digest


def test_enough_verified_outcomes_propose_the_next_level_once_with_the_evidence_and_the_command() -> None:
    scenario, _ = helped(Autonomy.APPROVE, VERIFIED_NEEDED + 3)
    said = scenario.then(RemedyPromotionProposed).only(RemedyPromotionProposed)
    assert (said.autonomy, said.proposed) == ("approve", "act_and_tell")
    assert said.evidence == [f"out-{number}-remedy" for number in range(VERIFIED_NEEDED)]
    assert said.command.startswith("autopilot autonomy set restart checkout act_and_tell ")
    assert said.command in said.reason


def test_a_proposal_changes_nothing_until_a_person_decides_on_that_evidence() -> None:
    scenario, digest = helped(Autonomy.APPROVE, VERIFIED_NEEDED)
    evidence = scenario.only(RemedyPromotionProposed).evidence
    assert autonomy_of(scenario, 10, digest) == "approve"
    scenario.when(changed("act_and_tell", digest=digest, evidence=evidence)).then_nothing()
    assert autonomy_of(scenario, 11, digest) == "act_and_tell"


def test_after_a_person_has_decided_the_next_level_needs_a_row_of_its_own() -> None:
    scenario, digest = helped(Autonomy.APPROVE, VERIFIED_NEEDED)
    scenario.events(
        changed("act_and_tell", digest=digest, evidence=scenario.only(RemedyPromotionProposed).evidence),
        *proposed(*range(20, 20 + VERIFIED_NEEDED), digest=digest),
    )
    scenario.when(*(judged(number, OutcomeVerified) for number in range(20, 20 + VERIFIED_NEEDED)))
    assert scenario.only(RemedyPromotionProposed).proposed == "act"


@pytest.mark.parametrize("level", [Autonomy.ACT, Autonomy.OBSERVE])
def test_nothing_is_proposed_beyond_the_highest_level_nor_for_what_is_only_observed(level: Autonomy) -> None:
    helped(level, 2 * VERIFIED_NEEDED)[0].then_nothing()


def test_a_failure_in_between_begins_the_row_anew() -> None:
    scenario, digest = at(Autonomy.APPROVE)
    scenario.events(*proposed(*range(6), digest=digest))
    scenario.when(
        judged(0, OutcomeVerified),
        judged(1, OutcomeVerified),
        judged(2, OutcomeRejected),
        judged(3, OutcomeVerified),
        judged(4, OutcomeVerified),
    ).then_nothing()
    said = scenario.when(judged(5, OutcomeVerified)).only(RemedyPromotionProposed)
    assert said.evidence == ["out-3-remedy", "out-4-remedy", "out-5-remedy"]


def test_what_is_remembered_is_bounded() -> None:
    scenario = in_force(bundle(PERMIT))
    for number in range(KEPT_OUTCOMES + 20):
        scenario.events(*proposed(number), judged(number, OutcomeVerified))
    (streak,) = scenario.state.autonomies.streaks.values()
    assert len(streak.verified) == VERIFIED_NEEDED
    assert len(streak.failed) < FAILED_NEEDED
    assert scenario.when(*proposed(999)).only(PlanAuthorized)

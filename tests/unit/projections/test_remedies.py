"""The view of remedies: what came of them as the planner counts it, calibration, and the autonomy that holds."""

from functools import cache

import pytest
from long_log import course
from outcomes import CONTEXT, judged
from policy_world import digest_of_remedy, documents, plan
from scenario import START_US, Said, recorded

from autopilot.agents.planner.confidence import Tally, posterior
from autopilot.projections.admission import Admission
from autopilot.projections.remedies import REMEDIES, RemedyRow, by_remedy, calibration_of, remedies
from autopilot.projections.rows import MemoryRows
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Event, Recorded
from autopilot.schemas.events import EVENT_TYPES
from autopilot.schemas.events.executor import ExecutionFailed, ExecutionRolledBack, ExecutionStarted
from autopilot.schemas.events.governance import (
    GovernanceRefused,
    RemedyAutonomyChanged,
    RemedyAutonomyLowered,
    RemedyPromotionProposed,
)
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.events.planner import ConfidenceBasis, PlanProposed
from autopilot.schemas.events.policy import AuthorizationRevoked
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified
from autopilot.schemas.registry import BundledRegistry

DIGEST = digest_of_remedy()
IDS = {"incident_id": "inc", "execution_id": "exe"}
NAMED = {"remedy": "restart", "remedy_digest": DIGEST, "service": "checkout"}


@cache
def real_events() -> tuple[Recorded[Payload], ...]:
    """A real log of the five agents."""
    admission = Admission(Codec(BundledRegistry()), EVENT_TYPES.values(), {})
    return tuple(event for record in course() if (event := admission.admit(record)) is not None)


def told(*payloads: Payload | Said, producer: str = "policy") -> list[Recorded[Payload]]:
    """The events of a partition in which the small fleet's configuration came first."""
    activated = ConfigurationActivated(revision="r", documents=documents(), author="ada", comment="")
    found = []
    for offset, payload in enumerate([activated, *payloads]):
        at = {"domain": "shop", "service": "checkout", "topic": str(Topic.LOG)}
        event = recorded(payload, offset, now_us=START_US, **at)
        envelope = event.envelope.model_copy(update={"producer": producer})
        found.append(Recorded(event.position, Event(envelope, event.payload), None, event.recorded_at_ms))
    return found


def proposed(number: int, *, confidence_bp: int = 7_000, mean_bp: int = 8_000) -> PlanProposed:
    """A plan to restart the checkout."""
    prior = {"prior_successes_milli": 1_000, "prior_failures_milli": 1_000}
    basis = ConfidenceBasis(context=CONTEXT, **prior, verified=0, rejected=0, mean_bp=mean_bp)
    return plan(f"plan-{number}", remedy_digest=DIGEST, confidence_bp=confidence_bp, basis=basis)


def started(number: int) -> ExecutionStarted:
    """Its execution begins."""
    return ExecutionStarted(plan_id=f"plan-{number}", decision_id="dec", steps=1, **IDS)


def only(*payloads: Payload | Said, producer: str = "policy") -> RemedyRow:
    """The one row."""
    (row,) = remedies(told(*payloads, producer=producer))
    return row


def changed(level: str, by: str = "eve") -> RemedyAutonomyChanged:
    """A person decides."""
    return RemedyAutonomyChanged(**NAMED, autonomy=level, evidence=[], changed_by=by, reason="r")


def lowered(before: str, level: str) -> RemedyAutonomyLowered:
    """The policy lowers it."""
    return RemedyAutonomyLowered(**NAMED, before=before, autonomy=level, evidence=[], reason="r")


PROMOTION = RemedyPromotionProposed(**NAMED, autonomy="approve", proposed="act", evidence=[], command="c", reason="r")


# -- what came of it ---------------------------------------------------------------------------------------------------


def test_a_remedy_that_was_never_used_shows_what_the_catalogue_declares() -> None:
    row = only()
    assert (row.remedy, row.context, row.tried, row.autonomy, row.autonomy_by) == ("restart", "", 0, "act", "catalogue")
    assert (row.mean_bp, row.bound_bp) == (5_000, posterior(1_000, 1_000, Tally()).bound_bp)


def test_what_is_turned_back_at_a_held_step_was_tried_and_rolled_back() -> None:
    names = {"decision_id": "dec", "plan_id": "plan-1", "incident_id": "inc", "reason": "refused"}
    undone = ExecutionRolledBack(plan_id="plan-1", reason="r", **IDS)
    row = only(proposed(1), started(1), AuthorizationRevoked(**names, step_id="s2"), undone)
    assert (row.tried, row.rolled_back) == (1, 1)
    assert only(proposed(1), AuthorizationRevoked(**names), undone).rolled_back == 0


def test_each_course_is_counted_for_what_came_of_it() -> None:
    undone = ExecutionRolledBack(plan_id="plan-2", reason="r", **IDS)
    broken = ExecutionFailed(plan_id="plan-3", reason="r", needs_person=True, **IDS)
    row = only(
        *(proposed(n) for n in range(5)),
        *(started(n) for n in range(1, 5)),
        judged(1),
        judged(2, OutcomeRejected),
        undone,
        judged(2, OutcomeVerified, "rollback"),
        broken,
        judged(4, OutcomeInconclusive),
    )
    assert (row.context, row.service, row.domain) == (CONTEXT, "checkout", "shop")
    assert (row.proposed, row.tried) == (5, 4)
    assert (row.verified, row.rejected, row.inconclusive, row.rolled_back, row.failed) == (1, 1, 1, 1, 1)
    now = posterior(1_000, 1_000, Tally(1, 1))
    assert (row.mean_bp, row.bound_bp) == (now.mean_bp, now.bound_bp)


def test_the_posterior_is_the_one_that_the_planner_itself_states_in_its_next_plan() -> None:
    rows, checked = MemoryRows(), 0
    for event in real_events():
        payload = event.payload
        if isinstance(payload, PlanProposed):
            key = f"{event.position.partition:04}/{payload.remedy}/{payload.basis.context}"
            row = rows.get(key)
            if row is not None:
                assert (row["mean_bp"], row["bound_bp"]) == (payload.basis.mean_bp, payload.confidence_bp)
                checked += payload.basis.verified
        if type(payload) in REMEDIES.handles:
            REMEDIES.apply(rows, event)
    assert checked


def test_on_a_real_log_what_was_tried_was_verified() -> None:
    rows = remedies(real_events())
    used = [row for row in rows if row.tried]
    assert sum(row.verified for row in used) == sum(row.tried for row in used) > 0
    assert calibration_of(rows).judged == sum(row.verified for row in used)
    assert {row.context for row in rows if row.remedy in {one.remedy for one in used}} == {r.context for r in used}


# -- calibration -------------------------------------------------------------------------------------------------------


def test_the_brier_score_is_the_mean_squared_difference_of_stated_and_seen() -> None:
    plans = [proposed(1, confidence_bp=8_000, mean_bp=9_000), proposed(2, confidence_bp=6_500, mean_bp=7_000)]
    row = only(*plans, judged(1), judged(2, OutcomeRejected))
    assert row.calibration.brier == pytest.approx((0.2**2 + 0.65**2) / 2)
    assert row.calibration.brier_of_mean == pytest.approx((0.1**2 + 0.7**2) / 2)
    assert row.calibration.bins == {"8000": [1, 1, 8_000], "6000": [1, 0, 6_500]}


def test_certainty_falls_into_the_last_bin_and_what_is_inconclusive_into_none() -> None:
    row = only(proposed(1, confidence_bp=10_000), judged(1), proposed(2), judged(2, OutcomeInconclusive))
    assert row.calibration.bins == {"9000": [1, 1, 10_000]}


def test_rows_add_up_to_one_calibration() -> None:
    row = only(proposed(1), judged(1))
    both = calibration_of([row, row])
    assert (both.judged, both.bins, both.brier) == (2, {"7000": [2, 2, 14_000]}, row.calibration.brier)
    assert calibration_of([]).brier is None


# -- autonomy ----------------------------------------------------------------------------------------------------------


def test_the_last_word_of_a_person_or_of_the_policy_holds() -> None:
    row = only(proposed(1), lowered("act", "act_and_tell"))
    assert (row.autonomy, row.autonomy_by, row.autonomy_declared) == ("act_and_tell", "policy", "act")
    again = only(proposed(1), lowered("act", "act_and_tell"), changed("act"))
    assert (again.autonomy, again.autonomy_by) == ("act", "eve")


def test_a_change_that_the_policy_refuses_is_taken_back() -> None:
    refused = GovernanceRefused(
        event_id="event-3", refused_type="RemedyAutonomyChanged", subject="s", given_by="eve", reason="r"
    )
    row = only(proposed(1), lowered("act", "approve"), changed("act"), refused)
    assert (row.autonomy, row.autonomy_by) == ("approve", "policy")


def test_what_another_producer_says_of_autonomy_is_not_shown() -> None:
    row = only(proposed(1), lowered("act", "observe"), PROMOTION, producer="somebody")
    assert (row.autonomy, row.promotion) == ("act", "")


def test_a_promotion_shows_until_somebody_decides() -> None:
    assert only(proposed(1), PROMOTION).promotion == "act"
    assert only(proposed(1), PROMOTION, changed("act_and_tell")).promotion == ""


def test_a_remedy_that_left_the_catalogue_keeps_its_record_and_may_nothing() -> None:
    gone = next(doc for doc in documents() if doc.kind == "RemedyCatalogue")
    emptied = gone.model_copy(update={"content": gone.content.replace('"name":"restart"', '"name":"other"')})
    again = ConfigurationActivated(revision="r2", documents=[emptied], author="ada", comment="")
    rows = by_remedy(remedies(told(proposed(1), judged(1), again)))
    assert [(row.remedy, row.verified, row.autonomy) for row in rows] == [("other", 0, "act"), ("restart", 1, "")]

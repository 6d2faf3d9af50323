"""What comes back: a remedy that did not last is not repeated, and what flaps is left to a person."""

from planner.shop import (
    ADA,
    RESTART,
    SERVICES,
    Course,
    all_observed,
    cleared,
    documents,
    execution,
    given,
    outcome,
    raised,
)
from scenario import Said

from autopilot.agents.planner import Planner
from autopilot.agents.planner.fleet import view_of
from autopilot.schemas.configuration import Autonomy, Configuration, Remedy, RemedyCatalogue, RemedyFlapping, document
from autopilot.schemas.events.governance import RemedyAutonomyChanged, RemedyAutonomyLowered
from autopilot.schemas.events.people import Document
from autopilot.schemas.events.planner import NoPlanFound, PlanProposed
from autopilot.schemas.events.verifier import OutcomeRejected, OutcomeVerified

QUICK = RESTART.model_copy(update={"cooldown_ms": 0, "recurrence_ms": 60_000})
OTHER = QUICK.model_copy(update={"name": "other", "prior_failures_milli": 9_000})


def catalogue(*remedies: Remedy, raises: int = 5, window_ms: int = 600_000) -> list[Document]:
    rule = RemedyFlapping(raises=raises, window_ms=window_ms)
    written = RemedyCatalogue(name="remedies", remedies=list(remedies), flapping=rule)
    others = [one for one in documents(SERVICES) if one.kind != "RemedyCatalogue"]
    return [*others, document(written.model_dump(mode="json"))]


def mended(*remedies: Remedy) -> Course:
    """An incident of `cart` that a remedy has ended."""
    course = given(Planner(), catalogue(*remedies), *all_observed())
    course.after(seconds=1)
    course.when(raised("cart"))
    plan = course.only(PlanProposed)
    course.events(*execution(plan), Said(OutcomeVerified(outcome=outcome(plan))), cleared("cart"))
    return course


def why_not(course: Course, remedy: str) -> str:
    found = course.drafts()[-1].payload
    assert isinstance(found, PlanProposed | NoPlanFound)
    considered = found.alternatives if isinstance(found, PlanProposed) else found.considered
    return next(one.why_not for one in considered if one.remedy == remedy)


def test_a_remedy_that_did_not_last_is_not_repeated_and_another_is() -> None:
    course = mended(QUICK, OTHER)
    course.after(seconds=20)
    course.when(raised("cart", signal_id="again"))
    assert course.only(PlanProposed).remedy == "other"
    assert why_not(course, "restart") == "it did not last: what it ended on `cart/errors` came back after 20 s"


def test_without_another_remedy_a_person_is_told() -> None:
    course = mended(QUICK)
    course.when(raised("cart", signal_id="again"))
    assert course.only(NoPlanFound).reason == "no remedy applies"
    course.after(seconds=120).then_nothing()


def test_what_comes_back_much_later_or_is_something_else_is_remedied_again() -> None:
    course = mended(QUICK)
    course.after(seconds=60)
    course.when(raised("cart", signal_id="again"))
    assert course.only(PlanProposed).remedy == "restart"
    course = mended(QUICK)
    course.when(raised("cart", signal_id="again", sli="latency", slo="cart-latency"))
    assert course.only(PlanProposed).remedy == "restart"


def test_a_remedy_need_last_as_long_as_its_cooldown_by_default() -> None:
    assert QUICK.model_copy(update={"recurrence_ms": None, "cooldown_ms": 7}).recurrence_us == 7_000


def flapping(times: int) -> Course:
    course = given(Planner(), catalogue(RESTART, raises=3), *all_observed())
    for number in range(times):
        course.after(seconds=10)
        if number:
            course.events(cleared("cart"))
        course.when(raised("cart"))
    return course


def test_what_flaps_gets_no_further_plan_and_a_person_is_told() -> None:
    assert flapping(2).only(PlanProposed).remedy == "restart"
    expected = "`cart` flaps: what is wrong has come and gone 3 times by now"
    assert flapping(3).only(NoPlanFound).reason == expected


def test_what_flapped_is_remedied_once_it_stays() -> None:
    course = flapping(3)
    course.after(seconds=579).then_nothing()
    assert course.after(seconds=1) is course
    assert course.only(PlanProposed).remedy == "restart"


def test_the_same_signal_told_twice_does_not_flap() -> None:
    course = given(Planner(), catalogue(RESTART, raises=2), *all_observed())
    course.events(raised("cart"), raised("cart"))
    course.events(cleared("cart")).when(raised("cart"))
    assert course.only(NoPlanFound).reason.startswith("`cart` flaps")
    once = given(Planner(), catalogue(RESTART, raises=2), *all_observed())
    once.when(raised("cart"), raised("cart"))
    assert once.only(PlanProposed).remedy == "restart"


def test_a_stage_that_is_rejected_counts_against_the_remedy_and_moves_nothing() -> None:
    course = given(Planner(), documents(), *all_observed())
    course.when(raised("cart"))
    plan = course.only(PlanProposed)
    stage = OutcomeRejected(outcome=outcome(plan, "stage"))
    course.events(*execution(plan)[:2]).when(stage).then_nothing()
    assert [tally.rejected for tally in course.state.tallies.values()] == [1]


# -- how far a remedy may go ------------------------------------------------------------------------------------------


def digest(remedy: Remedy) -> str:
    configuration = Configuration().with_activated(catalogue(remedy))
    return view_of(configuration).remedies[0].digest


def changed(remedy: Remedy, autonomy: str, by: str = ADA.principal) -> Said:
    fields = {"remedy": remedy.name, "remedy_digest": digest(remedy), "service": "cart", "autonomy": autonomy}
    return Said(RemedyAutonomyChanged(**fields, evidence=[], changed_by=by, reason="r"), service="cart", signed_by=by)


def test_a_remedy_that_is_only_observed_is_not_proposed_and_says_so() -> None:
    watched = RESTART.model_copy(update={"autonomy": Autonomy.OBSERVE})
    course = given(Planner(), catalogue(watched), *all_observed())
    course.when(raised("cart"))
    assert why_not(course, "restart") == "it is only observed on `cart`: its autonomy is `observe`"
    course.when(changed(watched, "approve"))
    assert course.only(PlanProposed).remedy == "restart"


def test_a_person_may_stop_a_remedy_on_a_service_until_its_definition_changes() -> None:
    course = given(Planner(), catalogue(RESTART), *all_observed(), changed(RESTART, "observe"))
    course.when(raised("cart"))
    assert "only observed" in why_not(course, "restart")
    course = given(Planner(), catalogue(RESTART), *all_observed(), changed(QUICK, "observe"))
    course.when(raised("cart"))
    assert course.only(PlanProposed).remedy == "restart"


def test_nobody_without_the_right_stops_a_remedy() -> None:
    course = given(Planner(), catalogue(RESTART), *all_observed(), changed(RESTART, "observe", "policy"))
    course.when(raised("cart"))
    assert course.only(PlanProposed).remedy == "restart"


def test_what_the_policy_lowers_counts_only_with_its_signature() -> None:
    fields = {"remedy": "restart", "remedy_digest": digest(RESTART), "service": "cart", "autonomy": "observe"}
    lowered = RemedyAutonomyLowered(**fields, before="act", evidence=[], reason="r")
    course = given(Planner(), catalogue(RESTART), *all_observed(), Said(lowered, service="cart", signed_by="ada"))
    course.when(raised("cart"))
    assert course.only(PlanProposed).remedy == "restart"
    course = given(Planner(), catalogue(RESTART), *all_observed(), Said(lowered, service="cart", signed_by="policy"))
    course.when(raised("cart"))
    assert "only observed" in why_not(course, "restart")

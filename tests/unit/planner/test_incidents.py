"""Signals become incidents, join them, and end them."""

from planner.shop import all_observed, authorized, cleared, documents, given, lost, observed, raised, updated
from scenario import Scenario

from autopilot.agents.planner import Limits, Planner
from autopilot.schemas.events.observer import Severity
from autopilot.schemas.events.planner import (
    IncidentClosed,
    IncidentOpened,
    NoPlanFound,
    PlanProposed,
    PlanWithdrawn,
    SignalLinked,
)


def shop() -> Scenario:
    return given(Planner(), documents(), *all_observed())


def test_a_page_opens_an_incident_and_gets_a_plan_at_once() -> None:
    scenario = shop().when(raised("cart")).then(IncidentOpened, PlanProposed)
    opened, proposed = scenario.drafts()
    assert opened.correlation_id == proposed.correlation_id == scenario.only(IncidentOpened).incident_id
    assert (proposed.domain, proposed.service) == ("shop", "cart")
    assert scenario.only(IncidentOpened).signal_ids == ["sig-cart"]


def test_a_signal_raised_twice_is_one() -> None:
    shop().events(raised("cart")).when(raised("cart")).then_nothing()


def test_what_only_informs_opens_nothing_until_it_grows() -> None:
    scenario = shop().when(raised("cart", severity=Severity.INFO)).then_nothing()
    scenario.when(updated("cart", Severity.INFO)).then_nothing()
    scenario.when(updated("cart", Severity.TICKET)).then(IncidentOpened, PlanProposed)
    assert scenario.only(IncidentOpened).severity == "ticket"


def test_what_only_informs_is_forgotten_when_it_clears() -> None:
    scenario = shop().events(raised("cart", severity=Severity.INFO)).when(cleared("cart")).then_nothing()
    scenario.when(updated("cart", Severity.PAGE)).then_nothing()


def test_a_second_signal_of_the_service_joins_whenever_it_comes() -> None:
    scenario = shop().events(raised("cart")).when(raised("cart", at=5_000, signal_id="sig-other"))
    assert scenario.then(SignalLinked).only(SignalLinked).reason == "same service `cart`"


def test_a_dependents_signal_joins_and_the_dependency_stays_the_suspect() -> None:
    scenario = shop().events(raised("stock")).when(raised("web", at=20)).then(SignalLinked)
    assert scenario.only(SignalLinked).reason == "`web` depends on `stock`"


def test_a_dependencys_later_signal_moves_the_undecided_plan_to_it() -> None:
    scenario = shop().when(raised("web"))
    first = scenario.only(PlanProposed)
    scenario.when(raised("stock", at=20)).then(SignalLinked, PlanWithdrawn, PlanProposed)
    assert scenario.only(PlanWithdrawn).plan_id == first.plan_id
    assert scenario.only(PlanWithdrawn).reason == "the suspect is now `stock`, no longer `web`"
    second = scenario.only(PlanProposed)
    assert (second.steps[0].action.target, second.attempt) == ("stock", 2)
    assert second.plan_id != first.plan_id


def test_an_authorised_plan_stays_when_a_dependency_burns() -> None:
    scenario = shop().when(raised("web"))
    scenario.events(authorized(scenario.only(PlanProposed))).when(raised("stock", at=20)).then(SignalLinked)


def test_related_services_far_apart_in_time_are_two_incidents() -> None:
    scenario = shop().events(raised("web")).when(raised("cart", at=301))
    assert scenario.only(IncidentOpened).title == "cart: errors burn"


def test_unrelated_services_and_other_domains_are_incidents_of_their_own() -> None:
    scenario = shop().events(raised("cart"))
    scenario.when(raised("search")).then(IncidentOpened, PlanProposed)
    scenario.when(raised("far", domain="elsewhere")).then(IncidentOpened, PlanProposed)


def test_a_suspect_waits_while_another_incident_treats_its_dependency() -> None:
    scenario = shop().events(raised("stock")).when(raised("cart", at=400)).then(IncidentOpened)
    scenario.when(cleared("stock")).then(SignalLinked, PlanWithdrawn, IncidentClosed, PlanProposed)
    assert scenario.only(PlanProposed).steps[0].action.target == "cart"


def test_signals_that_clear_before_a_decision_end_the_incident_and_its_plan() -> None:
    scenario = shop().events(raised("cart")).when(cleared("cart")).then(SignalLinked, PlanWithdrawn, IncidentClosed)
    assert scenario.only(IncidentClosed).resolution == "recovered"
    scenario.when(raised("cart", signal_id="again")).then(IncidentOpened, PlanProposed)


def test_an_incident_lasts_as_long_as_one_of_its_signals() -> None:
    scenario = shop().events(raised("stock"), raised("web")).when(cleared("stock"))
    scenario.then(SignalLinked, PlanWithdrawn, PlanProposed)
    assert scenario.only(PlanProposed).steps[0].action.target == "web"
    scenario.when(cleared("web")).then(SignalLinked, PlanWithdrawn, IncidentClosed)


def test_a_stronger_signal_is_told() -> None:
    scenario = shop().events(raised("cart")).when(updated("cart")).then(SignalLinked)
    assert (scenario.only(SignalLinked).change, scenario.only(SignalLinked).reason) == ("updated", "errors burn faster")


def test_signals_that_nobody_raised_change_nothing() -> None:
    shop().when(updated("cart"), cleared("cart")).then_nothing()


def test_lost_telemetry_never_gets_a_plan_and_ends_when_it_is_back() -> None:
    scenario = shop().when(lost("cart")).then(IncidentOpened, NoPlanFound)
    found = scenario.only(NoPlanFound)
    assert found.reason == "telemetry_lost"
    assert found.look_at[0] == "the exporter of `cart`: does it run, and what does it log"
    assert "the last telemetry of `cart`: autopilot.telemetry[0]@7" in found.look_at
    scenario.when(observed("cart", running="0")).then_nothing()
    scenario.after(seconds=3_600).then_nothing()
    scenario.when(cleared("cart", "lost")).then(SignalLinked, IncidentClosed)
    assert scenario.only(IncidentClosed).resolution == "telemetry_restored"


def test_lost_telemetry_of_a_domain_at_one_time_is_one_incident() -> None:
    scenario = shop().events(lost("cart")).when(lost("search", at=10)).then(SignalLinked)
    assert scenario.only(SignalLinked).reason == "telemetry of `cart` was lost at about the same time"
    scenario.when(cleared("cart", "lost")).then(SignalLinked)
    scenario.when(cleared("search", "lost")).then(SignalLinked, IncidentClosed)


def test_a_service_whose_telemetry_is_lost_gets_a_plan_when_it_is_back() -> None:
    scenario = shop().events(lost("cart")).when(raised("cart")).then(IncidentOpened, NoPlanFound)
    assert "telemetry of `cart` is lost" in scenario.only(NoPlanFound).reason
    scenario.when(cleared("cart", "lost")).then(SignalLinked, IncidentClosed, PlanProposed)
    assert scenario.only(IncidentClosed).resolution == "telemetry_restored"


def test_with_a_correlation_delay_the_dependencys_signal_is_waited_for() -> None:
    scenario = given(Planner(Limits(correlation_delay_ms=2_000)), documents(), *all_observed())
    scenario.after(seconds=1).when(raised("web")).then(IncidentOpened)
    scenario.when(raised("stock")).then(SignalLinked)
    scenario.after(seconds=1).then_nothing()
    assert scenario.after(seconds=1).then(PlanProposed).only(PlanProposed).steps[0].action.target == "stock"

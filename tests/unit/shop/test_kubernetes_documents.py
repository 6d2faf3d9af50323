"""The Kubernetes demonstration's documents: accepted as they are, and what the planner makes of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from planner import shop
from planner.goals import observed
from scenario import Said
from typer.testing import CliRunner

from autopilot.agents.planner import Planner
from autopilot.infra.cli.remedies import app
from autopilot.infra.configuration_files import check_together, read_folder
from autopilot.policies.bundle_file import parse_bundle
from autopilot.policies.checks import check, run_tests
from autopilot.schemas.configuration import Configuration, Principal, Role, Signers, document
from autopilot.schemas.events.executor import ExecutionRolledBack
from autopilot.schemas.events.planner import IncidentClosed, NoPlanFound, PlanProposed
from autopilot.schemas.events.verifier import OutcomeRejected

FOLDER = Path(__file__).parents[3] / "examples" / "kubernetes" / "documents"
LOADED, FINDINGS = read_folder(FOLDER)
POLICY = Signers(
    name="signers", signers=[Principal(name="policy", public_key=shop.POLICY.public_key, roles=[Role.POLICY])]
)
SLOW_KIOSK = shop.raised("kiosk", domain="kiosk", slo="kiosk-latency", sli="latency")
STUCK_KIOSK = shop.raised("kiosk", domain="kiosk", slo="kiosk-rollouts", sli="availability")
FAILING_CHECKOUT = shop.raised("checkout", slo="checkout-errors", sli="errors")
V1 = {"release": "localhost/kiosk:v1", "desired": "2", "running": "2", "max": "4", "rollout": "complete"}
STUCK = V1 | {"release": "localhost/kiosk:v2", "previous_release": "localhost/kiosk:v1", "rollout": "stuck"}


def said_of(target: str, **state: str) -> Said:
    """As `observed`, of the service that the namespace's deployments are."""
    namespace, _, name = target.partition("/")
    return replace(observed("kubernetes", target, **state), domain=namespace, service=name.removesuffix("-canary"))


def course(*events: Said) -> shop.Course:
    documents = [item.document() for item in LOADED]
    return shop.given(Planner(), [*documents, document(POLICY.model_dump(mode="json"))], *events)


def kiosk(stable: dict[str, str], canary: dict[str, str]) -> shop.Course:
    return course(said_of("kiosk/kiosk", **stable), said_of("kiosk/kiosk-canary", **canary | {"desired": "1"}))


def steps_of(plan: PlanProposed) -> list[tuple[str, str, dict[str, str], bool]]:
    return [(s.action.target, s.action.verb, s.action.parameters, s.gate is not None) for s in plan.steps]


def why_not(said: NoPlanFound) -> dict[str, str]:
    return {one.remedy: one.why_not for one in said.considered}


# -- as they are -----------------------------------------------------------------------------------------------------


def test_they_are_accepted() -> None:
    assert FINDINGS == []
    assert check_together(LOADED, Configuration(), 4) == []


def test_autopilot_remedies_check_finds_nothing() -> None:
    checked = CliRunner().invoke(app, ["check", str(FOLDER)])
    assert (checked.exit_code, checked.output.count("all sound")) == (0, 2)


def test_the_bundle_passes_its_check_and_its_tests_and_covers_every_rule() -> None:
    path = FOLDER / "policies" / "kubernetes.yaml"
    file = parse_bundle(path.read_text(encoding="utf-8"), str(path))
    assert check(file) == []
    report = run_tests(file.compiled)
    assert [result for result in report.results if result.failures] == []
    assert [each for each in report.coverage if not each.complete] == []


# -- the kiosk -------------------------------------------------------------------------------------------------------


def test_a_slow_kiosk_gets_one_more_pod_before_it_gets_twice_as_many() -> None:
    plan = kiosk(V1, V1).when(SLOW_KIOSK).only(PlanProposed)
    assert steps_of(plan) == [
        ("kiosk/kiosk", "scale", {"count": "3"}, True),
        ("kiosk/kiosk", "scale", {"count": "4"}, False),
    ]
    assert [step.compensation.verb for step in plan.steps if step.compensation] == ["revert", "revert"]
    assert plan.risk_class == "high"


def test_when_more_pods_do_not_help_a_person_is_told_of_the_database_and_the_remedy_is_trusted_less() -> None:
    told = kiosk(V1, V1)
    plan = told.when(SLOW_KIOSK).only(PlanProposed)
    names = {"execution_id": "exe", "plan_id": plan.plan_id, "incident_id": plan.incident_id}
    told.when(*shop.execution(plan), Said(OutcomeRejected(outcome=shop.outcome(plan)), domain="kiosk"))
    said = told.when(Said(ExecutionRolledBack(**names, reason="it did not help"), domain="kiosk")).only(NoPlanFound)
    assert why_not(said)["more-pods"].startswith("tried in this incident: rolled back")
    assert "dependency `price-database` of `kiosk`, which raised nothing itself" in said.look_at
    told.when(shop.cleared("kiosk")).only(IncidentClosed)
    told.after(seconds=600)
    again = told.when(replace(SLOW_KIOSK, payload=SLOW_KIOSK.payload.model_copy(update={"signal_id": "sig-2"})))
    later = again.only(PlanProposed)
    assert (later.remedy, later.basis.rejected) == ("more-pods", 1)
    assert later.confidence_bp < plan.confidence_bp


def test_a_rollout_that_is_stuck_is_taken_back_on_the_canary_first() -> None:
    plan = kiosk(STUCK, STUCK).when(STUCK_KIOSK).only(PlanProposed)
    assert steps_of(plan) == [
        ("kiosk/kiosk-canary", "rollback", {}, True),
        ("kiosk/kiosk", "rollback", {}, False),
    ]
    assert [step.expected["rollout"] for step in plan.steps] == ["stuck", "stuck"]
    assert (plan.risk_class, plan.verification.slo_names) == ("low", ["kiosk-rollouts"])


@pytest.mark.parametrize("progressing", ["stable", "canary"])
def test_a_rollout_of_which_a_part_still_goes_on_is_left_alone(progressing: str) -> None:
    states: dict[str, Any] = {"stable": STUCK, "canary": STUCK}
    states[progressing] = STUCK | {"rollout": "progressing"}
    said = kiosk(**states).when(STUCK_KIOSK).only(NoPlanFound)
    assert "does not hold" in why_not(said)["undo-rollout"]


def test_it_is_taken_back_as_soon_as_all_of_it_is_stuck() -> None:
    told = kiosk(STUCK, STUCK | {"rollout": "progressing"})
    told.when(STUCK_KIOSK)
    assert told.when(said_of("kiosk/kiosk-canary", **STUCK)).only(PlanProposed).remedy == "undo-rollout"


# -- each has its own ------------------------------------------------------------------------------------------------


def test_what_is_for_the_checkout_is_not_done_to_the_kiosk() -> None:
    said = kiosk(V1, STUCK).when(STUCK_KIOSK).only(NoPlanFound)
    assert {"roll-back-image"} <= why_not(said).keys()
    assert "does not hold" in why_not(said)["roll-back-image"]


def test_a_bad_image_of_the_checkout_is_put_back_on_the_canary_first() -> None:
    good = {"release": "localhost/checkout:v1", "desired": "3", "running": "3", "max": "7"}
    bad = good | {"release": "localhost/checkout:v2", "previous_release": "localhost/checkout:v1"}
    deployments = ("shop/checkout", "shop/checkout-canary")
    told = course(*(said_of(one, **good) for one in deployments), *(said_of(one, **bad) for one in deployments))
    plan = told.when(FAILING_CHECKOUT).only(PlanProposed)
    put_back = {"image": "localhost/checkout:v1"}
    assert steps_of(plan) == [
        ("shop/checkout-canary", "set_image", put_back, True),
        ("shop/checkout", "set_image", put_back, False),
    ]

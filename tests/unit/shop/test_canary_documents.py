"""The canary demonstration's documents: accepted as they are, and what the planner makes of them."""

from dataclasses import replace
from pathlib import Path

from planner.goals import observed
from planner.shop import given, raised
from scenario import Said

from autopilot.agents.planner import Planner
from autopilot.infra.configuration_files import check_together, read_folder
from autopilot.schemas.configuration import Configuration
from autopilot.schemas.events.planner import NoPlanFound, PlanProposed, StageGate

LOADED, FINDINGS = read_folder(Path(__file__).parents[3] / "examples" / "canary")
CANARY = {"servers": "checkout-canary-1"}


def said_of(driver: str, target: str, **state: str) -> Said:
    """As `observed`, of checkout."""
    return replace(observed(driver, target, **state), service="checkout")


def planned(new: str = "v2", **states: str) -> PlanProposed | NoPlanFound:
    """What is said when checkout is slow, releases `v1` and `new` are there and the canary has that state."""
    share = states.pop("share", "0")
    scenario = given(
        Planner(),
        [item.document() for item in LOADED],
        said_of("supervisord", "checkout-stable", release="v1", desired="2", running="2"),
        said_of("supervisord", "checkout-canary", **{"release": new, "desired": "0", "running": "0", **states}),
        said_of("haproxy", "be_checkout", **{"percent__checkout-canary-1": share}),
    )
    scenario.when(raised("checkout", slo="checkout-latency", sli="latency"))
    (said,) = [draft.payload for draft in scenario.drafts() if isinstance(draft.payload, PlanProposed | NoPlanFound)]
    return said


def plan_of(**states: str) -> PlanProposed:
    plan = planned(**states)
    assert isinstance(plan, PlanProposed)
    return plan


def test_they_are_accepted() -> None:
    assert FINDINGS == []
    assert check_together(LOADED, Configuration(), 4) == []


def test_a_release_that_waits_is_tried_on_a_growing_share_before_it_is_put_into_use() -> None:
    assert [(step.action.verb, step.action.target, step.action.parameters) for step in plan_of().steps] == [
        ("scale", "checkout-canary", {"count": "1"}),
        ("split", "be_checkout", CANARY | {"percent": "5"}),
        ("split", "be_checkout", CANARY | {"percent": "25"}),
        ("split", "be_checkout", CANARY | {"percent": "100"}),
        ("switch_release", "checkout-stable", {"release": "v2"}),
        ("split", "be_checkout", CANARY | {"percent": "0"}),
    ]


def test_each_share_has_a_gate_and_every_step_is_put_back() -> None:
    steps = plan_of().steps
    gates = [step.gate for step in steps]
    assert [gate is not None for gate in gates] == [False, True, True, True, False, False]
    compared = [[group.name for group in gate.groups] for gate in gates if isinstance(gate, StageGate)]
    assert compared == [["canary", "control"], ["canary", "control"], []]
    undone = [(step.compensation.verb, step.compensation.parameters) for step in steps if step.compensation]
    assert undone == [("revert", {"step": step.step_id}) for step in steps]


def test_the_plan_is_void_when_another_release_waits() -> None:
    first = plan_of().steps[0]
    assert first.expected["release"] == "v2"


def test_a_canary_that_runs_is_not_started_again() -> None:
    assert plan_of(desired="1", running="1").steps[0].action.verb == "split"


def test_without_another_release_nothing_is_done() -> None:
    said = planned(new="v1")
    assert isinstance(said, NoPlanFound)
    assert "does not hold" in said.considered[0].why_not


def test_a_rollout_that_another_one_began_is_left_alone() -> None:
    assert isinstance(planned(share="5"), NoPlanFound)

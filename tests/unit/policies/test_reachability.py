"""Rules that can never matter are found, with the reason; rules that can are left alone."""

from pathlib import Path

import pytest
from policy_bundles import SHIPPED, approval, bundle, rule, shipped

from autopilot.policies.bundle import Param, Rule
from autopilot.policies.reachability import unreachable

PARAMS = {"least": Param(value=3000, description="d")}


def messages(*rules: Rule) -> list[str]:
    return [found.message for found in unreachable(bundle(*rules, params=PARAMS))]


@pytest.mark.parametrize(
    "when",
    [
        "plan_confidence_bp > 10000",
        "plan_confidence_bp < params.least && plan_confidence_bp > 4000",
        'plan_risk_class == "extreme"',
        'service_autonomy in ["act", "approve"] && service_autonomy == "observe"',
        "halted && !halted",
        "plan_cost > 3 && telemetry_lost && plan_cost <= 3",
        "service_tier + calendar_weekday > 10",
        'plan_actions.contains("x") && !plan_actions.contains("x")',
        "plan_confidence_bp < 0 ? halted : false",
    ],
)
def test_a_condition_that_no_facts_fulfil_is_found(when: str) -> None:
    assert messages(rule("r", "deny", when)) == [
        "`r` can never hold: no facts within their bounds fulfil its condition"
    ]


@pytest.mark.parametrize(
    "when",
    [
        "plan_confidence_bp > 9999",
        "plan_cost > 9007199254740990",
        'plan_remedy != "restart" && plan_remedy != ""',
        "service_tier + calendar_weekday > 9",
        "history_failures + history_rejections >= 2",
        'plan_actions.contains("x") && !plan_actions.contains("y")',
        "halted || !breaker_open",
    ],
)
def test_a_condition_that_some_facts_fulfil_is_left_alone(when: str) -> None:
    assert messages(rule("r", "deny", when)) == []


def test_a_denial_that_always_holds_is_found() -> None:
    found = messages(rule("r", "deny", "plan_confidence_bp >= 0 || halted"))
    assert found == ["`r` always holds: whatever the facts, it denies"]


def test_what_an_earlier_denial_covers_never_matters() -> None:
    assert messages(
        rule("low", "deny", "plan_confidence_bp < 5000"),
        rule("lower", "deny", "plan_confidence_bp < params.least && service_tier == 0"),
    ) == ["`lower` never matters: whenever it holds, `low` denies as well"]


def test_a_permit_or_an_obligation_under_a_denial_never_matters_wherever_the_denial_stands() -> None:
    assert messages(
        rule("permit", "permit", 'service_autonomy == "observe"'),
        approval("ask", 'service_autonomy == "observe" && plan_cost > 3'),
        rule("autonomy", "deny", 'service_autonomy in ["observe", "recommend"]'),
    ) == [
        "`permit` never matters: whenever it holds, `autonomy` denies as well",
        "`ask` never matters: whenever it holds, `autonomy` denies as well",
    ]


def test_a_stricter_obligation_is_not_covered_by_a_milder_one() -> None:
    assert (
        messages(
            approval("one", 'plan_risk_class in ["high", "dangerous"]', needed=1),
            approval("two", 'plan_risk_class == "dangerous"', needed=2),
        )
        == []
    )


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_rule_of_the_shipped_bundles_can_matter(path: Path) -> None:
    assert unreachable(shipped(path).bundle) == []

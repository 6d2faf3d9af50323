"""What an explanation says is true: parts add up to the rule, and a change said to turn a verdict does, the nearest."""

from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st
from policy_bundles import SHIPPED, approval, bundle, rule, shipped

from autopilot.policies.bundle import Ruling
from autopilot.policies.engine import PolicySet, policy_set
from autopilot.policies.explain import Part, explained
from autopilot.policies.fact_sets import generated
from autopilot.policies.facts import SPECS, FactSet

SMALL: Final = policy_set(
    [
        bundle(
            rule("permit", "permit", "service_tier > 0"),
            rule("sum", "deny", "calendar_weekday + 2 * service_tier >= 11"),
            rule("both", "deny", "service_tier < calendar_weekday && calendar_minute_of_day >= 700"),
            rule("errs", "deny", "10 / calendar_weekday > 9"),
            approval("ask", "calendar_minute_of_day < 100 || calendar_weekday == 3"),
        ).source
    ]
)
SHIPPED_SETS: Final = [PolicySet((shipped(path).compiled,)) for path in SHIPPED]
TABLES: Final = [generated([each.bundles[0].bundle], 120) for each in SHIPPED_SETS]


@settings(max_examples=60, deadline=None)
@given(tier=st.integers(0, 4), weekday=st.integers(0, 6), minute=st.sampled_from((0, 99, 100, 400, 699, 700, 1439)))
def test_the_changes_named_are_the_nearest_that_turn_the_verdict(tier: int, weekday: int, minute: int) -> None:
    facts = FactSet.of(
        {s.name: s.example for s in SPECS.values()}
        | {"service_tier": tier, "calendar_weekday": weekday, "calendar_minute_of_day": minute}
    )
    explanation = explained(SMALL, facts)
    for name in ("service_tier", "calendar_weekday", "calendar_minute_of_day"):
        said = {}
        for flip in explanation.flips:
            if flip.fact == name:
                distance = abs(int(flip.after) - int(flip.before))
                said[flip.ruling] = min(distance, said.get(flip.ruling, distance))
        nearest: dict[Ruling, int] = {}
        for value in range(SPECS[name].low, SPECS[name].high + 1):
            ruling = SMALL.judge(FactSet.of({**facts.values, name: value})).ruling
            if ruling is not explanation.ruling:
                distance = abs(value - int(facts.values[name]))
                nearest[ruling] = min(distance, nearest.get(ruling, distance))
        assert said == nearest, name


@settings(max_examples=40, deadline=None)
@given(which=st.integers(0, 1), row=st.integers(0, 119))
def test_what_is_said_of_the_shipped_bundles_is_true(which: int, row: int) -> None:
    policies, facts = SHIPPED_SETS[which], FactSet.of(TABLES[which].values(row))
    verdict, explanation = policies.judge(facts), explained(policies, facts)
    assert (explanation.ruling, explanation.reason) == (verdict.ruling, verdict.reason)
    decided = {rule.rule for rule in explanation.rules if rule.decided}
    assert decided | set(explanation.built_in) == {name.removeprefix("error:") for name in verdict.decisive}
    for flip in explanation.flips:
        again = policies.judge(FactSet.of({**facts.values, flip.fact: flip.after}))
        assert (again.ruling, again.decisive) == (flip.ruling, flip.rules)
        assert again.ruling is not verdict.ruling
    for flip in explanation.eased:
        again = policies.judge(FactSet.of({**facts.values, flip.fact: flip.after}))
        assert set(again.decisive) < set(verdict.decisive)
    for each in explanation.rules:
        assert each.condition.answer == each.answer
        assert _adds_up(each.condition)


def _adds_up(part: Part) -> bool:
    answers = [inner.answer for inner in part.parts]
    if len(answers) == 1:
        return part.answer == (not answers[0])
    return not answers or part.answer in (all(answers), any(answers))

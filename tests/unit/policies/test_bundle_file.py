"""Errors in a bundle point at file, line and column, and say what to write instead."""

import pytest

from autopilot.policies.bundle_file import BundleError, parse_bundle

GOOD = """kind: PolicyBundle
name: mine
version: "1.0.0"
description: one rule
facts: 1
params:
  least_bp:
    value: 5000
    description: least confidence
rules:
  - id: sure
    effect: permit
    when: plan_confidence_bp >= params.least_bp
    message: "confidence is {plan_confidence_bp} bp, {params.least_bp} needed"
"""
OBLIGATION = """  - id: ask
    effect: obligate
    when: plan_cost > 3
    message: dear
    obligation:
      name: approval
      parameters: {group: approver, needed: 1, expires_ms: 1000}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(BundleError) as caught:
        parse_bundle(text, "mine.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_a_good_bundle_loads() -> None:
    file = parse_bundle(GOOD + OBLIGATION, "mine.yaml")
    assert file.bundle.title == "mine@1.0.0"
    assert [rule.id for rule in file.bundle.rules] == ["sure", "ask"]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "plan_confidence_bp >= ",
            "plan_confidence >= ",
            "mine.yaml:13:11: condition: `plan_confidence` is no fact and no parameter: write `plan_confidence_bp`",
        ),
        (
            ">= params.least_bp",
            ">= params.last_bp",
            "mine.yaml:13:33: condition: `params.last_bp` is no fact and no parameter: write `params.least_bp`",
        ),
        (
            "when: plan_confidence_bp >= params.least_bp",
            "when: plan_cost + 1",
            "mine.yaml:13:11: condition: gives INT: write a condition that is true or false",
        ),
        (
            "when: plan_confidence_bp >= params.least_bp",
            "when: |\n      plan_cost > 1\n      && plan_owner == service_owner",
            "mine.yaml:15:10: condition: `plan_owner` is no fact and no parameter: write",
        ),
        (
            "when: plan_confidence_bp >= params.least_bp",
            "when: 'plan_cost > 1 && plan_steps > 1.5'",
            "mine.yaml:13:42: condition: `1.5` is a fraction: write a whole number in basis points, thousandths or ms",
        ),
        ("    effect: permit", "    efect: permit", "mine.yaml:12:12: unknown field `efect`: write `effect`"),
        ("effect: permit", "effect: allow", "mine.yaml:12:13: `rules.0.effect` is 'allow': write 'permit', 'deny' or"),
        ("facts: 1", "facts: 9", "mine.yaml:5:8: `facts` is 9: facts schema 9 is not known: write `facts: 1`"),
        ('version: "1.0.0"', "version: 1.0", 'mine.yaml:3:10: `version` is 1.0: write a text such as "1.2.0", in quo'),
        ("description: one rule\n", "", "mine.yaml:1:1: `description` is missing: write it"),
        ("value: 5000", "value: 0.5", "mine.yaml:8:12: `params.least_bp"),
        (
            "{plan_confidence_bp} bp",
            "{plan_confidence} bp",
            "mine.yaml:14:14: `rules.0.message`: in a message, `plan_con",
        ),
        ("params:\n", "name: again\nparams:\n", "mine.yaml:6:1: `name` is given twice: keep one"),
        ("rules:\n", "rules: [\n", "mine.yaml:11:"),
    ],
)
def test_an_error_says_where_it_is_and_what_to_write(old: str, new: str, problem: str) -> None:
    assert old in GOOD
    assert any(found.startswith(problem) for found in problems(GOOD.replace(old, new))), problems(
        GOOD.replace(old, new)
    )


@pytest.mark.parametrize(
    ("old", "new", "advice"),
    [
        ("name: approval", "name: aproval", "unknown obligation `aproval`: write one of approval, notify"),
        ("needed: 1", "needed: 0", "write a whole number of at least 1"),
        ("needed: 1", "needed: one", "write a whole number of at least 1"),
        ("s: 1000", "s: 518400001", "`expires_ms` is 518400001: write a whole number of at most 518400000"),
        ("group: approver, ", "", "takes exactly the parameters group, needed, expires_ms"),
        ("effect: obligate", "effect: deny", "`obligation` belongs to rules with `effect: obligate`"),
        ("id: ask", "id: sure", "mine.yaml:15:9: `rules.1.id`: the rule id `sure` is used twice"),
        ("message: dear", "message: 'dear {'", "write {{ and }} for braces"),
        ("needed: 1", "needed: 1, ask: when_reached", "write `per: stage` or `per: step` as well"),
        ("needed: 1", "needed: 1, per: plan, ask: before_start", "write `per: stage` or `per: step` as well"),
        ("needed: 1", "needed: 1, per: gate", "`per` is 'gate': write What is approved on its own"),
        ("needed: 1", "needed: 1, per: step, ask: later", "`ask` is 'later': write `when_reached` (without it)"),
    ],
)
def test_an_obligation_that_nobody_could_meet_is_refused(old: str, new: str, advice: str) -> None:
    text = GOOD + OBLIGATION.replace(old, new)
    assert any(advice in found for found in problems(text)), problems(text)


def test_what_is_no_mapping_is_refused() -> None:
    assert problems("- 1") == ["mine.yaml:1:1: not a mapping: begin with `kind: PolicyBundle`"]
    assert problems("") == ["mine.yaml:1:1: not a mapping: begin with `kind: PolicyBundle`"]


@pytest.mark.parametrize(
    ("fact", "advice"),
    [("plan_cst: 3", "`plan_cst` is unknown, expected `plan_cost`"), ("plan_cost: true", "`plan_cost` is True (bool)")],
)
def test_an_inline_test_with_a_wrong_fact_is_refused_where_it_stands(fact: str, advice: str) -> None:
    text = GOOD + f"tests:\n  - name: t\n    facts: {{{fact}}}\n    expect: {{verdict: deny}}\n"
    (found,) = problems(text)
    assert found.startswith("mine.yaml:17:12: ")
    assert advice in found

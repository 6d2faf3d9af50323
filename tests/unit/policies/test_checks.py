"""The static check, the inline tests, and the shipped bundles under both."""

import re
from importlib import resources
from pathlib import Path

import pytest
import yaml
from policy_bundles import ROOT, SHIPPED, shipped

from autopilot.policies.bundle_file import BundleError, parse_bundle
from autopilot.policies.checks import Level, check, run_tests
from autopilot.policies.mutation import mutants, mutation_run

TEXT = """kind: PolicyBundle
name: mine
version: "1"
description: d
facts: 1
params:
  used: {value: 5, description: d}
  unused: {value: 5, description: d}
rules:
  - {id: cheap, effect: permit, when: plan_cost < params.used, message: m}
  - {id: always, effect: deny, when: "1 > 2", message: m}
  - {id: cheap-too, effect: permit, when: plan_cost < params.used, message: m}
  - {id: pattern, effect: deny, when: 'plan_remedy.matches("(")', message: m}
tests:
  - {name: cheap, expect: {verdict: allow}}
  - {name: dear, facts: {plan_cost: 5}, expect: {verdict: deny, rules: ["builtin:no-permit", "error:pattern"]}}
"""


def test_the_check_finds_what_an_author_would_want_to_know() -> None:
    findings = [str(finding) for finding in check(parse_bundle(TEXT, "f"))]
    assert findings[:3] == [
        "f:8:11: no rule uses `params.unused`: delete it (warning)",
        "f:11:38: the condition of `always` looks at no fact: it is the same for every plan (warning)",
        "f:12:43: `cheap-too` says what `cheap` says already: delete one (warning)",
    ]
    assert findings[3].startswith("f:13:39: gives an error on the baseline facts: ")
    assert len(findings) == 4


def test_a_bundle_that_permits_nothing_is_an_error() -> None:
    text = TEXT.replace("effect: permit", "effect: deny")
    errors = [finding.problem.message for finding in check(parse_bundle(text, "f")) if finding.level is Level.ERROR]
    assert errors[0].startswith("no rule permits anything")


def test_a_case_that_fails_says_what_was_seen_and_expected() -> None:
    report = run_tests(parse_bundle(TEXT, "f").compiled)
    assert not report.passed
    failed, passed = report.results
    assert failed.failures[0].startswith("verdict is deny, expected allow: error:pattern: ")
    assert passed.failures == ()
    text = TEXT.replace('rules: ["builtin:no-permit", "error:pattern"]', "rules: [cheap], obligations: [notify]")
    assert run_tests(parse_bundle(text, "f").compiled).results[1].failures == (
        "rules are [builtin:no-permit, error:pattern], expected [cheap]",
        "obligations are [], expected [notify]",
    )


STEPWISE = """
kind: PolicyBundle
name: stepwise
version: "1"
description: d
facts: 1
rules:
  - {id: any, effect: permit, when: plan_steps > 0, message: m}
  - id: each
    effect: obligate
    when: plan_steps > 1
    message: m
    obligation: {name: approval, parameters: {group: approver, needed: 1, expires_ms: 60000, per: step}}
tests:
  - {name: one, facts: {plan_steps: 1}, expect: {verdict: allow, obligations: []}}
  - name: two
    facts: {plan_steps: 2}
    expect: {verdict: needs_approval, obligations: [{approval: {per: step, ask: when_reached, needed: 1}}]}
  - {name: approved, facts: {plan_steps: 2, approvals_granted: 1}, expect: {verdict: allow, obligations: [approval]}}
"""


def test_a_case_may_expect_the_parameters_of_an_obligation_left_out_ones_as_what_they_mean() -> None:
    assert run_tests(parse_bundle(STEPWISE, "f").compiled).passed
    report = run_tests(parse_bundle(STEPWISE.replace("per: step}}", "per: step, ask: before_start}}"), "f").compiled)
    assert report.results[1].failures == (
        "no obligation `approval` with per step, ask when_reached, needed 1 is imposed",
    )
    report = run_tests(parse_bundle(STEPWISE.replace("per: step}}", "per: stage}}"), "f").compiled)
    assert report.results[1].failures == (
        "no obligation `approval` with per step, ask when_reached, needed 1 is imposed",
    )
    with pytest.raises(BundleError, match="`approval` has no parameter `when`"):
        parse_bundle(STEPWISE.replace("ask: when_reached,", "when: later,"), "f")


def test_a_test_that_states_when_steps_are_asked_for_notices_every_change_of_that() -> None:
    stated = mutation_run(parse_bundle(STEPWISE, "f").bundle)
    changes = {mutant.change for mutant in mutants(parse_bundle(STEPWISE, "f").bundle)}
    assert {"ask when_reached -> before_start", "per step -> plan", "per step -> stage"} <= changes
    assert not [one for one in stated.survivors if "ask" in one.change or "per step" in one.change]
    staged = mutation_run(parse_bundle(STEPWISE.replace("per: step", "per: stage"), "f").bundle)
    assert not [one for one in staged.survivors if "ask" in one.change or "per stage" in one.change]
    vague = STEPWISE.replace("[{approval: {per: step, ask: when_reached, needed: 1}}]", "[approval]")
    unnoticed = [one.change for one in mutation_run(parse_bundle(vague, "f").bundle).survivors]
    assert {"ask when_reached -> before_start", "per step -> plan", "per step -> stage"} <= set(unnoticed)


def test_coverage_says_which_rules_no_case_makes_hold_or_not_hold() -> None:
    report = run_tests(parse_bundle(TEXT, "f").compiled)
    assert [(each.rule, each.held, each.did_not, each.complete) for each in report.coverage] == [
        ("cheap", 1, 1, True),
        ("always", 0, 2, False),
        ("cheap-too", 1, 1, True),
        ("pattern", 0, 2, False),
    ]
    assert report.covered_bp == 7_500


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_bundle_passes_its_check_and_its_tests_and_covers_every_rule(path: Path) -> None:
    file = shipped(path)
    assert check(file) == []
    report = run_tests(file.compiled)
    assert [result for result in report.results if result.failures] == []
    assert [each for each in report.coverage if not each.complete] == []
    assert all(rule.owner and rule.controls for rule in file.bundle.rules)


def test_the_examples_of_the_documentation_do_what_they_say() -> None:
    text = (ROOT / "docs" / "policy-language.md").read_text(encoding="utf-8")
    whole, *rules = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    file = parse_bundle(whole, "docs")
    assert check(file) == []
    assert run_tests(file.compiled).passed
    assert len(rules) == 5
    content = yaml.safe_load(whole)
    content["rules"] += [rule for example in rules for rule in yaml.safe_load(example)]
    assert len(parse_bundle(yaml.safe_dump(content), "docs").bundle.rules) == 3 + 6


def test_the_default_bundle_is_part_of_the_package() -> None:
    packaged = resources.files("autopilot.policies") / "bundles" / "default.yaml"
    assert packaged.read_text(encoding="utf-8") == SHIPPED[0].read_text(encoding="utf-8")

"""What authors type: test, fmt, mutate, explain, diff, backtest; and the published schema."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from policy_bundles import PERMIT, ROOT, SHIPPED, bundle, rule, shipped
from typer.testing import CliRunner, Result

from autopilot.infra.cli.policy import app
from autopilot.policies.backtest import first_order
from autopilot.policies.bulk import BulkJudge, MismatchError, held_to_the_engine, sample_of
from autopilot.policies.bundle import Ruling
from autopilot.policies.bundle_file import BundleError, parse_bundle
from autopilot.policies.bundle_schema import FILE_NAME, bundle_schema, schema_text
from autopilot.policies.case_file import parse_cases
from autopilot.policies.checks import run_tests
from autopilot.policies.columns import FactTable
from autopilot.policies.compare import compare
from autopilot.policies.engine import policy_set
from autopilot.policies.facts import BASELINE, FACTS, FactSet
from autopilot.policies.formatting import formatted
from autopilot.policies.mutation import mutation_run
from autopilot.policies.recorded import RecordedDecision, decision_of, decisions_of_lines
from autopilot.schemas.envelope import Envelope, Event
from autopilot.schemas.events.policy import Decision, PlanDenied, RuleOutcome

ARCHIVED = ROOT / "policies/bundles/archive/default-0.9.0.yaml"
EVERY_SHIPPED = [*SHIPPED, ARCHIVED]
TEXT = """# why it is there
kind: PolicyBundle
version: "1"   # the first
name: mine
description: d
facts: 1
rules:
  - {id: permit, effect: permit, when: "true", message: m}
  # cheap things only
  - id: dear
    when: plan_cost > 3 || service_tier == 0
    effect: deny
    message: m
tests:
  - {name: cheap, expect: {verdict: allow}}
  - {name: dear, facts: {plan_cost: 4}, expect: {verdict: deny}}
"""


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT)
    return path


# -- the published schema ---------------------------------------------------------------------------------------------


def test_the_published_schema_is_in_sync() -> None:
    published = (ROOT / "policies" / FILE_NAME).read_text(encoding="utf-8")
    assert published == schema_text(), f"run: python -m autopilot.policies.bundle_schema policies/{FILE_NAME}"


def test_the_schema_spells_out_every_fact_and_the_bundles_name_it() -> None:
    facts = bundle_schema()["$defs"]["Case"]["properties"]["facts"]["properties"]
    assert list(facts) == [spec.name for spec in FACTS]
    for path in EVERY_SHIPPED:
        first = path.read_text(encoding="utf-8").splitlines()[0]
        named = first.removeprefix("# yaml-language-server: $schema=")
        assert (path.parent / named).resolve() == ROOT / "policies" / FILE_NAME


@pytest.mark.parametrize(
    ("parameters", "valid"),
    [
        ({}, True),
        ({"per": "plan"}, True),
        ({"per": "stage"}, True),
        ({"per": "stage", "ask": "before_start"}, True),
        ({"per": "step", "ask": "when_reached"}, True),
        ({"per": "gate"}, False),
        ({"ask": "when_reached"}, False),
        ({"per": "plan", "ask": "when_reached"}, False),
    ],
)
def test_the_schema_and_the_loader_agree_on_what_is_approved_on_its_own(
    parameters: dict[str, str], valid: bool
) -> None:
    stated = {"group": "approver", "needed": 1, "expires_ms": 1_000, **parameters}
    document = bundle(PERMIT).model_dump(mode="json", exclude_none=True)
    document["rules"].append(
        {"id": "ask", "effect": "obligate", "when": "plan_steps > 1", "message": "m",
         "obligation": {"name": "approval", "parameters": stated}}
    )  # fmt: skip
    assert Draft202012Validator(bundle_schema()).is_valid(document) is valid
    if valid:
        assert parse_bundle(json.dumps(document), "f").bundle.rules[1].obligation
    else:
        with pytest.raises(BundleError):
            parse_bundle(json.dumps(document), "f")


# -- tests, branches and mutants --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EVERY_SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_bundles_are_covered_branch_by_branch(path: Path) -> None:
    report = run_tests(shipped(path).compiled)
    assert report.passed
    assert [each for each in report.branches if not each.complete] == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_no_mutant_of_the_bundles_that_rule_survives(path: Path) -> None:
    mutants = mutation_run(shipped(path).bundle)
    assert mutants.total >= 100
    assert [str(mutant) for mutant in mutants.survivors] == []


def test_the_report_names_the_branch_that_no_test_saw_true(mine: Path) -> None:
    result = run("test", str(mine))
    assert result.exit_code == 0
    assert "uncovered  dear: `service_tier == 0` is never true" in result.output
    assert "83.33 % of 3 branches" in result.output


def test_cases_beside_a_bundle_count_and_those_of_another_do_not(mine: Path) -> None:
    cases = mine.parent / "more_test.yaml"
    cases.write_text(
        "kind: PolicyTests\nbundle: mine\ntests:\n  - {name: top, facts: {service_tier: 0}, expect: {verdict: deny}}\n"
    )
    (mine.parent / "other_test.yaml").write_text(
        "kind: PolicyTests\nbundle: other\ntests:\n  - {name: wrong, expect: {verdict: deny}}\n"
    )
    result = run("test", str(mine), "--json")
    report = json.loads(result.output)
    assert (report["passed"], report["branches_covered_bp"], len(report["tests"])) == (True, 10_000, 3)
    cases.write_text(cases.read_text().replace("deny", "allow"))
    assert run("test", str(mine)).exit_code == 1


def test_a_wrong_case_file_says_where_and_what() -> None:
    with pytest.raises(BundleError, match=r"t.yaml:4:\d+: .*`plan_costs` is unknown, expected `plan_cost`"):
        parse_cases(
            "kind: PolicyTests\nbundle: mine\ntests:\n  - {name: n, facts: {plan_costs: 1}, expect: {verdict: deny}}\n",
            "t.yaml",
        )


def test_a_mutant_that_no_test_notices_is_named(mine: Path) -> None:
    result = run("mutate", str(mine))
    assert result.exit_code == 1
    assert "survived  constant in rule dear: `0` -> `-1`" in result.output or "`0` -> " in result.output
    assert "survived  operator in rule dear: `plan_cost > 3 || service_tier == 0` -> `plan_cost > 3`" in result.output


# -- fmt --------------------------------------------------------------------------------------------------------------


def test_formatting_orders_fields_and_keeps_comments_and_meaning(mine: Path) -> None:
    assert run("fmt", "--check", str(mine)).exit_code == 1
    assert run("fmt", str(mine)).exit_code == 0
    text = mine.read_text()
    assert text.index("name: mine") < text.index('version: "1"')
    assert text.index("effect: deny") < text.index("when: plan_cost")
    assert all(comment in text for comment in ("# why it is there", "# the first", "# cheap things only"))
    assert parse_bundle(text, "f").bundle == parse_bundle(TEXT, "f").bundle
    assert formatted(text) == text
    assert run("fmt", "--check", str(mine)).exit_code == 0


@pytest.mark.parametrize("path", EVERY_SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_bundles_are_formatted(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert formatted(text) == text


# -- explain, diff, backtest ------------------------------------------------------------------------------------------


def decision(number: int, ruling: Ruling, **facts: Any) -> RecordedDecision:
    known = {**BASELINE, **facts}
    return RecordedDecision(f"dec-{number}", f"plan-{number}", f"inc-{number}", "shop", "checkout", number, "b@1",
                            ruling, ("r",), known)  # fmt: skip


@pytest.fixture
def decisions(tmp_path: Path) -> Path:
    path = tmp_path / "decisions.jsonl"
    told = [
        decision(1, Ruling.ALLOW),
        decision(2, Ruling.ALLOW, plan_cost=9),
        decision(3, Ruling.DENY, plan_cost=9),
        decision(4, Ruling.DENY, telemetry_lost=True),
    ]
    path.write_text("".join(each.line() + "\n" for each in told))
    assert list(decisions_of_lines(path.read_text().splitlines())) == told
    return path


def test_explain_shows_the_tree_with_values_and_what_would_turn_it(mine: Path, decisions: Path) -> None:
    result = run("explain", "inc-2", "--bundle", str(mine), "--log", str(decisions))
    assert result.exit_code == 0
    assert "* dear  deny, holds, decided" in result.output
    assert "plan_cost > 3   [plan_cost = 9]" in result.output
    told = json.loads(run("explain", "dec-2", "--bundle", str(mine), "--log", str(decisions), "--json").stdout)
    (flip,) = [flip for flip in told["explanation"]["flips"] if flip["fact"] == "plan_cost"]
    assert (flip["after"], flip["ruling"]) == (3, "allow")


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({}, "the whole plan, asked for before the start, by 2 of `payments` within 60000 ms"),
        ({"per": "stage"}, "each stage, asked for as it is reached, by 2 of `payments` within 60000 ms"),
        (
            {"per": "step", "ask": "before_start", "tolerances": "plan_cost:3"},
            "each step, asked for before the start, by 2 of `payments` within 60000 ms,"
            " void when plan_cost moves by more than 3",
        ),
    ],
)
def test_explain_says_what_a_rule_that_holds_imposes(tmp_path: Path, parameters: dict[str, str], said: str) -> None:
    stated = {"group": "{service_owner}", "needed": 2, "expires_ms": 60_000, **parameters}
    asking = rule("ask", "obligate", "plan_steps > 1", obligation={"name": "approval", "parameters": stated})
    tell = rule("tell", "obligate", "plan_steps > 1", obligation={"name": "notify", "parameters": {"to": "sre"}})
    (tmp_path / "b.yaml").write_text(bundle(PERMIT, asking, tell).source)
    (tmp_path / "facts.json").write_text('{"plan_steps": 2}')
    words = ("explain", str(tmp_path / "facts.json"), "--bundle", str(tmp_path / "b.yaml"))
    shown = run(*words).output.splitlines()
    at = shown.index("* ask  obligate, holds, decided")
    assert shown[at + 1] == f"    imposes   approval of {said}"
    assert "    imposes   notify to sre" in shown
    rules = json.loads(run(*words, "--json").stdout)["explanation"]["rules"]
    assert [bool(each["imposes"]) for each in rules] == [False, True, True]
    (tmp_path / "facts.json").write_text('{"plan_steps": 1}')
    assert "imposes" not in run(*words).output


def test_explain_takes_facts_from_a_file_and_refuses_what_are_none(mine: Path, tmp_path: Path) -> None:
    facts = tmp_path / "facts.json"
    facts.write_text('{"service_tier": 0}')
    assert "mine@1: deny, because dear" in run("explain", str(facts), "--bundle", str(mine)).output
    facts.write_text('{"service_teir": 0}')
    refused = run("explain", str(facts), "--bundle", str(mine))
    assert refused.exit_code == 2
    assert "expected `service_tier`" in refused.output
    assert run("explain", "inc-none", "--bundle", str(mine), "--log", str(facts)).exit_code == 2


def test_a_decision_that_is_not_there_is_an_answer_of_its_own(mine: Path, decisions: Path) -> None:
    assert run("explain", "inc-9", "--bundle", str(mine), "--log", str(decisions)).exit_code == 1
    ambiguous = run("explain", "inc", "--bundle", str(mine), "--log", str(decisions))
    assert ambiguous.exit_code == 2
    assert "is the beginning of inc-1, inc-2" in ambiguous.output


def test_diff_groups_decisions_by_the_rule_responsible(mine: Path, decisions: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.yaml"
    new.write_text(TEXT.replace("plan_cost > 3", "plan_cost > 9 || telemetry_lost"))
    result = run("diff", str(mine), str(new), "--log", str(decisions), "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert [(d["before"], d["after"], d["rules"], d["decisions"]) for d in told["differences"]] == [
        ("deny", "allow", ["dear"], ["dec-2", "dec-3"]),
        ("allow", "deny", ["dear"], ["dec-4"]),
    ]
    same = run("diff", str(mine), str(mine), "--generated", "500")
    assert (same.exit_code, "0 flip" in same.output) == (0, True)


def test_a_backtest_fails_on_flips_until_the_baseline_accepts_them(mine: Path, decisions: Path, tmp_path: Path) -> None:
    accepted = tmp_path / "accepted.json"
    words = ("backtest", "--bundle", str(mine), "--log", str(decisions))
    failed = run(*words)
    assert failed.exit_code == 1
    assert "first-order backtest of mine@1 on 4 decisions: 2 flip" in failed.output
    assert run(*words, "--accept", str(accepted)).exit_code == 0
    assert run(*words, "--baseline", str(accepted)).exit_code == 0
    fewer = json.loads(accepted.read_text())["accepted"][:1]
    accepted.write_text(json.dumps({"accepted": fewer}))
    partly = run(*words, "--baseline", str(accepted), "--json")
    assert partly.exit_code == 1
    assert json.loads(partly.stdout)["unaccepted"] == [["dec-4", "deny", "allow"]]


def test_a_sequential_backtest_refuses_a_file_of_decisions_alone(mine: Path, decisions: Path) -> None:
    result = run("backtest", "--bundle", str(mine), "--log", str(decisions), "--level", "sequential")
    assert result.exit_code == 2
    assert "needs the whole log" in result.output


def test_a_newly_authorised_plan_is_said_to_have_no_outcome() -> None:
    permissive = policy_set([bundle(PERMIT).source])
    (flip,) = first_order(permissive, [decision(1, Ruling.DENY, telemetry_lost=True)]).flips
    assert (flip.before, flip.after) == ("deny", "allow")
    assert "nothing is recorded" in flip.note


def test_columns_that_disagree_with_the_engine_are_an_error() -> None:
    table = FactTable.of([FactSet.of({**BASELINE, "plan_cost": cost}) for cost in range(20)])
    one, other = (policy_set([bundle(PERMIT, rule("r", "deny", f"plan_cost > {n}")).source]) for n in (3, 4))
    rulings = BulkJudge(table).rulings(one)
    assert held_to_the_engine(table, one, rulings, sample_of(20, 20)) == 20
    with pytest.raises(MismatchError, match="row 4: the engine says allow, the columns say deny"):
        held_to_the_engine(table, other, rulings, sample_of(20, 20))


def test_an_edit_of_one_rule_calculates_one_bitmap() -> None:
    table = FactTable.of([FactSet.of({**BASELINE, "plan_cost": cost}) for cost in range(20)])
    store: dict[str, Any] = {}
    rules = [rule(f"r{n}", "deny", f"plan_cost > {n}") for n in range(3, 9)]
    BulkJudge(table, store).rulings(policy_set([bundle(PERMIT, *rules).source]))
    before = len(store)
    edited = [*rules[:-1], rule("r8", "deny", "plan_cost > 99")]
    counts = BulkJudge(table, store).rulings(policy_set([bundle(PERMIT, *edited).source])).count()
    assert (len(store) - before, counts[Ruling.DENY]) == (1, 16)


def test_a_difference_in_obligations_alone_is_told() -> None:
    asks = {"name": "notify", "parameters": {"to": "a"}}
    tells = {"name": "notify", "parameters": {"to": "b"}}
    one, other = (
        policy_set([bundle(PERMIT, rule("tell", "obligate", "plan_cost > 1", obligation=each)).source])
        for each in (asks, tells)
    )
    table = FactTable.of([FactSet.of({**BASELINE, "plan_cost": cost}) for cost in range(4)])
    (difference,) = compare(one, other, table).differences
    assert (difference.flips, difference.rules, difference.rows) == (False, ("tell",), (2, 3))


def test_what_people_refused_counts_as_a_plan_that_needed_approval() -> None:
    facts = FactSet.of(BASELINE)
    recorded = [fact for fact in facts.recorded() if fact.name != "plan_cost"]
    said = Decision(decision_id="d", plan_id="p", incident_id="i", plan_hash="h", bundle="b@1", bundle_digest="x",
                    rules=[RuleOutcome(rule="ask", effect="obligate", message="m")], facts=recorded,
                    facts_digest="f")  # fmt: skip
    envelope = Envelope(event_id="e", run="live", correlation_id="i", causation_id="", cause_topic="",
                        cause_partition=-1, cause_offset=-1, occurred_at_us=5, domain="shop", service="checkout",
                        producer="policy")  # fmt: skip
    found = decision_of(Event(envelope, PlanDenied(decision=said, reason="bob refused it")))
    assert found is not None
    assert (found.ruling, found.completed) == (Ruling.NEEDS_APPROVAL, ("plan_cost",))
    assert found.facts["plan_cost"] == BASELINE["plan_cost"]

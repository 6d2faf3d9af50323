"""What is wrong with a remedy catalogue, as `autopilot remedies check` says it, and the published schema."""

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from autopilot.infra.cli.remedies import app
from autopilot.infra.remedy_surroundings import verbs_of
from autopilot.schemas.remedy_schema import FILE_NAME, catalogue_schema, schema_text

ROOT = Path(__file__).parents[3]
CATALOGUE = """\
kind: RemedyCatalogue
name: shop
variables:
  - {name: share, type: int, driver: haproxy, key: percent.canary}
  - {name: seen, type: int}
  - {name: restarted, type: bool}
operators:
  - name: split
    driver: haproxy
    verb: split
    parameters: {servers: "'canary'", percent: "'100'"}
    precondition: share < 100
    effects: {share: "100"}
    gate_effects: {seen: share}
    compensation: revert
    gate: {canary: {release: new}, control: {release: old}}
    risk_class: low
  - name: restart
    driver: supervisord
    role: stable
    verb: restart
    precondition: share == 100
    effects: {restarted: "true"}
    risk_class: medium
    blast_radius_instances: running
constraints:
  - {holds: "share <= 100", message: no more than there is}
remedies:
  - name: renew
    summary: restart behind the canary
    risk_class: low
    goal: restarted && seen == 100
    operators: [split, restart]
  - name: restart
    summary: restart it
    risk_class: low
    steps: [{id: one, driver: supervisord, action: {verb: restart}}]
"""
FLEET = """\
kind: Fleet
name: shop
domains: [{name: shop}]
services:
  - {name: checkout, domain: shop, tier: 1, owner: team, targets: [{driver: supervisord, target: t, role: primary}]}
"""


def check(path: Path, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["check", str(path), *options])
    return result.exit_code, result.output


def written(folder: Path, before: str = "", after: str = "") -> Path:
    assert before in CATALOGUE
    file = folder / "remedies.yaml"
    file.write_text(CATALOGUE.replace(before, after, 1))
    return file


def test_a_sound_catalogue_is_said_to_be(tmp_path: Path) -> None:
    file = written(tmp_path)
    assert check(file) == (0, f"{file}: 2 remedies of `shop`, 1 with a goal: all sound\n")


@pytest.mark.parametrize(
    ("before", "after", "finding"),
    [
        ("share < 100", "shre < 100", "12: `operators.0.precondition` is 'shre < 100', expected an expression:"
         " `shre` is no variable; did you mean `share`"),
        ("share < 100", "share", "12: `operators.0.precondition` is 'share', expected an expression: gives INT,"
         " expected bool"),
        ("share < 100", "share <", "12: `operators.0.precondition` is 'share <', expected an expression: "),
        ('{share: "100"}', '{shar: "100"}', "13: `operators.0.effects.shar` is '100', expected an effect on a declared"
         " variable; did you mean `share`"),
        ('{share: "100"}', '{desired: "100"}', "13: `operators.0.effects.desired` is '100', expected an effect on a"
         " declared variable; that one is observed, not changed"),
        ('{share: "100"}', '{share: "true"}', "13: `operators.0.effects.share` is 'true', expected an expression:"
         " gives BOOL, expected int"),
        ("{seen: share}", "{seen: \"'all'\"}", "14: `operators.0.gate_effects.seen` is \"'all'\", expected an"
         " expression: gives STRING, expected int"),
        ("    gate: {canary: {release: new}, control: {release: old}}\n", "", "14: `operators.0.gate_effects` is"),
        (", control: {release: old}", "", "16: `operators.0.gate.canary` is {'release': 'new'}, expected `control` as"
         " well: two groups are compared, or the time before when neither is there"),
        ("control: {release: old}", "control: {release: old}, deadline_ms: 1000", "16: `operators.0.gate.deadline_ms`"
         " is 1000, expected at least 65000: settling and the window take that long"),
        ("verb: split", "verb: splt", "10: `operators.0.verb` is 'splt', expected a verb of `haproxy`: one of"),
        ("action: {verb: restart}", "action: {verb: restrat}", "37: `remedies.1.steps.0.action.verb` is 'restrat',"
         " expected a verb of `supervisord`: one of restart, scale, switch_release; did you mean `restart`"),
        ("    blast_radius", "    compensation: revert\n    blast_radius", "25: `operators.1.compensation` is 'revert',"
         " expected nothing, or an action: `supervisord` cannot put back a `restart`"),
        ("compensation: revert", "compensation: {verb: revert}", "15: `operators.0.compensation` is 'revert', expected"
         " the word `revert` alone"),
        ("compensation: revert", "compensation: {verb: redy}", "15: `operators.0.compensation.verb` is 'redy',"),
        ("name: seen, type: int", "name: seen, type: int, default: none", "5: `variables.1.default` is 'none', expected"
         " a value of type int"),
        ("name: seen, type: int", "name: seen, type: int, key: k", "5: `variables.1.key` is 'k', expected `driver` as"
         " well"),
        ("name: seen, type: int", "name: tier, type: int", "5: `variables.1.name` is 'tier', expected a name that none"
         " of the planner's own variables has"),
        ("name: seen, type: int", "name: share, type: int", "5: `variables.1.name` is 'share', expected one that is"
         " used once"),
        ("{name: seen, type: int}", "{name: seen, type: int}\n  - {name: idle, type: int}", "6: `variables.2` is"
         " 'idle', expected a variable that some expression reads"),
        ("name: restart\n    driver", "name: split\n    driver", "18: `operators.1.name` is 'split', expected one"
         " that is used once"),
        ("operators: [split, restart]", "operators: [split]", "32: `remedies.0.goal` is 'restarted && seen == 100',"
         " expected a goal that can be reached: no operator that it may use makes `restarted` true"),
        ("operators: [split, restart]", "operators: [split]", "18: `operators.1` is 'restart', expected an operator"
         " that some remedy with a `goal` may use"),
        ("operators: [split, restart]", "operators: [split, restat]", "33: `remedies.0.operators.1` is 'restat',"
         " expected one of split, restart; did you mean `restart`"),
        ("restarted && seen == 100", "tier == 0", "32: `remedies.0.goal` is 'tier == 0', expected a goal that can be"
         " reached: no operator that it may use changes any of its variables"),
        ("restarted && seen == 100", "restarted && running > 1", "32: `remedies.0.goal` is 'restarted && running > 1',"
         " expected one that is declared for a target: `running` means nothing here, where no target is meant"),
        ("share <= 100", "share <= 1OO", "27: `constraints.0.holds` is 'share <= 1OO', expected an expression:"
         " Syntax error: extraneous input 'OO' expecting <EOF>, at character 11"),
        ("operators: [split, restart]", "cost: 3", "33: `remedies.0.cost` is 3, expected nothing: with a goal it is the"
         " sum of its operators'"),
        ("operators: [split, restart]", "rests_on: me", "33: `remedies.0.rests_on` is 'me', expected nothing"),
        ("    goal: restarted && seen == 100\n", "", "29: `remedies.0` is"),
        ('    effects: {restarted: "true"}\n', "", "18: `operators.1` is 'restart', expected `effects`"),
        ("name: restart\n    summary", "name: renew\n    summary", "34: `remedies.1.name` is 'renew', expected one"),
        ("action: {verb: restart}}]", "action: {verb: restart}}, {id: one, driver: d, action: {verb: restart}}]",
         "37: `remedies.1.steps.1.id` is 'one', expected one that is used once"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_place_and_what_to_write(
    tmp_path: Path, before: str, after: str, finding: str
) -> None:
    code, output = check(written(tmp_path, before, after))
    assert code == 1
    assert any(finding in line for line in output.splitlines()), output


def test_in_a_folder_roles_are_checked_against_the_fleet(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "fleet.yaml").write_text(FLEET)
    code, output = check(tmp_path)
    assert code == 1
    expected = "`operators.1.role` is 'stable', expected a role of a target of `supervisord`: primary"
    assert f"remedies.yaml:20: {expected}" in output


@pytest.mark.parametrize(("before_ms", "code"), [(69_999, 1), (70_000, 0)])
def test_a_guard_needs_a_window_before_in_which_samples_enough_come(tmp_path: Path, before_ms: int, code: int) -> None:
    verification = f"    verification: {{guard_metrics: [memory], before_ms: {before_ms}}}\n"
    written(tmp_path, "    steps: [", f"{verification}    steps: [")
    (tmp_path / "fleet.yaml").write_text(FLEET.replace("role: primary", "role: stable"))
    expected = "is 69999, expected at least 70000: a guard takes 6 samples, of which one comes each 10000 ms"
    found = check(tmp_path)
    assert found[0] == code
    assert (f"remedies.yaml:37: `remedies.1.verification.before_ms` {expected}" in found[1]) == bool(code)


def test_samples_that_come_faster_than_they_are_measured_ask_for_as_many_buckets(tmp_path: Path) -> None:
    written(tmp_path, "    steps: [", "    verification: {guard_metrics: [memory], before_ms: 6000}\n    steps: [")
    fast = FLEET.replace("role: primary}]", "role: stable}], telemetry: {interval_ms: 250}")
    (tmp_path / "fleet.yaml").write_text(fast)
    expected = "is 6000, expected at least 6250: a guard takes 6 samples, of which one comes each 1000 ms"
    assert expected in check(tmp_path)[1]
    written(tmp_path, "    steps: [", "    verification: {guard_metrics: [memory], before_ms: 6250}\n    steps: [")
    assert check(tmp_path)[0] == 0


def test_without_a_guard_or_a_service_it_acts_on_a_short_window_is_nobodys_fault(tmp_path: Path) -> None:
    written(tmp_path, "    steps: [", "    verification: {before_ms: 1000}\n    steps: [")
    (tmp_path / "fleet.yaml").write_text(FLEET.replace("role: primary", "role: stable"))
    assert check(tmp_path)[0] == 0
    written(tmp_path, "    steps: [", "    verification: {guard_metrics: [m], before_ms: 1000}\n    steps: [")
    (tmp_path / "fleet.yaml").write_text(FLEET.replace("supervisord", "elsewhere"))
    assert check(tmp_path)[0] == 0


def test_what_holds_no_catalogue_is_a_finding_and_programs_get_json(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(FLEET)
    assert check(file) == (1, f"{file}: no document of kind RemedyCatalogue is here\n1 finding\n")
    code, output = check(written(tmp_path, "verb: split", "verb: splt"), "--json")
    assert code == 1
    (found,) = json.loads(output)["findings"]
    assert (found["line"], found["field"], found["value"]) == (10, "operators.0.verb", "'splt'")


def test_of_a_driver_that_no_kind_is_named_after_nothing_is_claimed(tmp_path: Path) -> None:
    assert verbs_of("edge") is None
    file = written(tmp_path)
    file.write_text(file.read_text().replace("haproxy", "edge").replace("verb: split", "verb: whatever"))
    assert check(file)[0] == 0


# -- the published schema ---------------------------------------------------------------------------------------------


def test_the_published_schema_is_in_sync() -> None:
    published = (ROOT / "schemas" / FILE_NAME).read_text(encoding="utf-8")
    assert published == schema_text(), f"run: python -m autopilot.schemas.remedy_schema schemas/{FILE_NAME}"


def test_the_schema_accepts_what_the_models_accept_and_refuses_what_they_refuse() -> None:
    validator = Draft202012Validator(catalogue_schema())
    Draft202012Validator.check_schema(catalogue_schema())
    assert list(validator.iter_errors(yaml.safe_load(CATALOGUE))) == []
    assert list(validator.iter_errors(yaml.safe_load(CATALOGUE.replace("goal:", "gaol:"))))
    assert list(validator.iter_errors(yaml.safe_load(CATALOGUE.replace("compensation: revert", "compensation: undo"))))


def test_every_field_of_the_schema_says_what_it_is_and_editors_find_it_from_the_examples() -> None:
    for name, definition in catalogue_schema()["$defs"].items():
        for field, described in definition.get("properties", {}).items():
            assert described.keys() & {"description", "const", "$ref", "title"}, f"{name}.{field}"
    example = ROOT / "examples" / "shop" / "remedies.yaml"
    named = example.read_text().splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert (example.parent / named).resolve() == ROOT / "schemas" / FILE_NAME

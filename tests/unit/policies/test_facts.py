"""The facts schema: strict, ordered, and the same in the documentation."""

from pathlib import Path

import pytest

from autopilot.policies.facts import BASELINE, FACTS, FACTS_VERSION, FactError, FactSet, table
from autopilot.schemas.configuration import canonical
from autopilot.schemas.identity import digest_of


def test_the_baseline_is_a_fact_set_in_the_schemas_order() -> None:
    facts = FactSet.of(dict(reversed(BASELINE.items())))
    assert list(facts.values) == [spec.name for spec in FACTS]
    assert facts.digest == FactSet.of(BASELINE).digest


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("plan_confidence_bp", True, "an int from 0 to 10000"),
        ("plan_confidence_bp", 10_001, "an int from 0 to 10000"),
        ("plan_confidence_bp", -1, "an int from 0 to 10000"),
        ("plan_confidence_bp", 50.0, "an int from 0 to 10000"),
        ("plan_attempt", 0, "an int of at least 1"),
        ("telemetry_lost", 0, "true or false"),
        ("telemetry_lost", "false", "true or false"),
        ("service_name", None, "a text"),
        ("incident_severity", "urgent", "one of `page`, `ticket`, `info`, `unknown`"),
    ],
)
def test_a_fact_of_the_wrong_type_or_out_of_bounds_is_refused(name: str, value: object, expected: str) -> None:
    with pytest.raises(FactError) as caught:
        FactSet.of({**BASELINE, name: value})
    assert (caught.value.fact, caught.value.expected) == (name, expected)


def test_a_missing_fact_is_refused() -> None:
    values = {name: value for name, value in BASELINE.items() if name != "halted"}
    with pytest.raises(FactError, match="`halted` is missing"):
        FactSet.of(values)


def test_an_unknown_fact_is_refused_and_the_nearest_is_named() -> None:
    with pytest.raises(FactError, match="`telemetry_los` is unknown, expected `telemetry_lost`"):
        FactSet.of({**BASELINE, "telemetry_los": True})


def test_the_digest_changes_with_every_fact() -> None:
    digests = {FactSet.of(BASELINE).digest}
    for spec in FACTS:
        if spec.type is bool:
            other: object = not spec.example
        elif spec.type is int:
            other = spec.low if spec.example != spec.low else spec.low + 1
        else:
            other = next(c for c in spec.choices if c != spec.example) if spec.choices else f"{spec.example}!"
        digests.add(FactSet.of({**BASELINE, spec.name: other}).digest)
    assert len(digests) == len(FACTS) + 1


def test_facts_come_back_from_an_event_as_they_went_in() -> None:
    facts = FactSet.of({**BASELINE, "history_minutes_since_last_action": 0, "plan_reversible": False})
    assert FactSet.of_recorded(facts.recorded()) == facts


def test_every_fact_says_what_it_is() -> None:
    assert len({spec.name for spec in FACTS}) == len(FACTS)
    for spec in FACTS:
        assert spec.meaning
        assert spec.source
        assert spec.check(spec.example) == spec.example


def test_the_documented_table_is_the_schema() -> None:
    text = (Path(__file__).parents[3] / "docs" / "policy-language.md").read_text(encoding="utf-8")
    assert table() in text


def test_the_digest_is_over_the_canonical_form_of_version_names_and_values() -> None:
    values = {**BASELINE, "service_owner": 'a "quoted" é', "telemetry_lost": True, "plan_cost": 1}
    assert FactSet.of(values).digest == digest_of(canonical([FACTS_VERSION, *values.items()]))

"""The language reference says what the models say, and its examples are sound."""

import re
from pathlib import Path

import pytest
import yaml

from autopilot.agents.planner.benefit import COST_WEIGHT, RISK_WEIGHT, WORTH
from autopilot.agents.planner.checks import faults
from autopilot.agents.planner.search import MOST_STATES
from autopilot.agents.planner.variables import VARIABLES
from autopilot.schemas import remedies
from autopilot.schemas.remedies import RemedyCatalogue

PAGE = (Path(__file__).parents[3] / "docs" / "remedies.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
MODELS = (
    remedies.RemedyCatalogue,
    remedies.RemedyVariable,
    remedies.RemedyOperator,
    remedies.RemedyConstraint,
    remedies.Remedy,
    remedies.RemedyStep,
    remedies.RemedyGate,
    remedies.RemedyVerification,
    remedies.RemedyFlapping,
)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_stands_in_the_reference_as_it_is_described(model: type[remedies.Written]) -> None:
    for name, field in model.model_fields.items():
        if name != "rests_on":
            row = re.search(rf"^\| `{name}` \| [^|]* \| {re.escape(field.description or '')}", PAGE, flags=re.MULTILINE)
            assert row is not None, f"{model.__name__}.{name}: {field.description}"


def test_every_variable_stands_in_the_reference() -> None:
    for variable in VARIABLES:
        assert re.search(rf"^\| `{variable.name}` \| \w+ \| {re.escape(variable.meaning)} \|$", PAGE, re.MULTILINE)


def test_the_formula_has_the_weights_of_the_code() -> None:
    for severity, worth in WORTH.items():
        assert f"| {severity} | {worth:,} |" in PAGE
    for risk, weight in RISK_WEIGHT.items():
        assert f"| {risk} | {weight} |" in PAGE
    assert f"-  {COST_WEIGHT} * cost" in PAGE
    assert f"After {MOST_STATES:,} states" in PAGE


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.splitlines()[1])
def test_every_example_is_sound(example: str) -> None:
    assert faults(RemedyCatalogue.model_validate(yaml.safe_load(example))) == []

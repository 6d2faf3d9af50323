"""The shop's documents: accepted as `autopilot apply` reads them, and saying of each case what the demo relies on."""

from pathlib import Path

import pytest

from autopilot.agents.planner.confidence import Tally, posterior
from autopilot.agents.planner.variables import ENVIRONMENT, VARIABLES
from autopilot.infra.configuration_files import check_together, read_folder
from autopilot.policies.expression import Value
from autopilot.schemas.configuration import Configuration, Remedy

FOLDER = Path(__file__).parents[3] / "examples" / "shop"
BLANK: dict[str, Value] = {variable.name: variable.type() for variable in VARIABLES}


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    loaded, findings = read_folder(FOLDER)
    assert findings == []
    assert check_together(loaded, Configuration(), 4) == []
    return Configuration().with_activated(item.document() for item in loaded)


@pytest.fixture(scope="module")
def remedies(configuration: Configuration) -> dict[str, Remedy]:
    return {remedy.name: remedy for remedy in configuration.remedies()}


def applies(remedy: Remedy, **values: Value) -> bool:
    return bool(ENVIRONMENT.compile(remedy.precondition, bool).evaluate({**BLANK, "release_age_ms": -1, **values}))


def test_every_kind_of_document_is_there(configuration: Configuration) -> None:
    kinds = {"Fleet", "ServiceLevelObjectives", "RemedyCatalogue", "Calendar", "PolicyBundle"}
    assert set(configuration.documents) == kinds


def test_a_release_is_rolled_back_only_while_it_is_new_and_another_one_is_known(remedies: dict[str, Remedy]) -> None:
    roll_back = remedies["roll-back-release"]
    recent: dict[str, Value] = {"release": "v2", "previous_release": "v1", "release_age_ms": 5_000}
    assert applies(roll_back, **recent)
    assert not applies(roll_back, **{**recent, "previous_release": ""})
    assert not applies(roll_back, **{**recent, "previous_release": "v2"})
    assert not applies(roll_back, **{**recent, "release_age_ms": 600_000})
    assert not applies(roll_back, **{**recent, "release_age_ms": -1})


@pytest.mark.parametrize(("desired", "most", "count", "touched"), [(2, 4, "4", 2), (3, 4, "4", 1), (2, 8, "4", 2)])
def test_scaling_takes_two_more_or_what_is_left(
    remedies: dict[str, Remedy], desired: int, most: int, count: str, touched: int
) -> None:
    scale_out = remedies["scale-out"]
    values: dict[str, Value] = {**BLANK, "desired": desired, "running": desired, "max_instances": most}
    (step,) = scale_out.steps
    assert step.compensation is not None
    assert ENVIRONMENT.compile(step.action.parameters["count"], str).evaluate(values) == count
    assert ENVIRONMENT.compile(step.compensation.parameters["count"], str).evaluate(values) == str(desired)
    assert ENVIRONMENT.compile(scale_out.blast_radius_instances, int).evaluate(values) == touched


def test_a_full_group_is_not_scaled(remedies: dict[str, Remedy]) -> None:
    assert applies(remedies["scale-out"], desired=2, running=2, max_instances=4)
    assert not applies(remedies["scale-out"], desired=4, running=4, max_instances=4)


def test_what_is_surer_is_tried_first(remedies: dict[str, Remedy]) -> None:
    bounds = {
        name: posterior(remedy.prior_successes_milli, remedy.prior_failures_milli, Tally()).bound_bp
        for name, remedy in remedies.items()
    }
    assert bounds["roll-back-release"] > bounds["scale-out"] > bounds["restart"]

"""Canonical text that is written from the fields is that of the dumped data, and so are the hashes made of it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autopilot.schemas.canonical_writer import canonical_writer
from autopilot.schemas.configuration import canonical
from autopilot.schemas.contract import Contract
from autopilot.schemas.events.observer import SignalRaised, SliSummary
from autopilot.schemas.events.planner import PlanProposed, Step, Verification
from autopilot.schemas.identity import digest_of
from autopilot.schemas.plan_hash import plan_hash
from tests.property.event_strategies import contracts


@pytest.mark.parametrize("without_defaults", [False, True])
@pytest.mark.parametrize("model", [Step, Verification, PlanProposed, SignalRaised])
@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_contract_is_written_as_its_data(model: type[Contract], without_defaults: bool, data: st.DataObject) -> None:
    value: Any = data.draw(contracts(model))
    dumped = value.model_dump(mode="json", exclude_defaults=without_defaults)
    assert canonical_writer(model, without_defaults=without_defaults)(value) == canonical(dumped)


@settings(max_examples=100, deadline=None)
@given(st.lists(contracts(Step), max_size=3), contracts(Verification))
def test_a_plans_hash_is_the_digest_of_its_data(steps: list[Step], verification: Verification) -> None:
    content = {
        "steps": [step.model_dump(mode="json") for step in steps],
        "verification": verification.model_dump(mode="json", exclude_defaults=True),
    }
    assert plan_hash(steps, verification) == digest_of(canonical(content))


def test_a_contract_with_fractions_has_no_text_here() -> None:
    with pytest.raises(TypeError, match="dump it"):
        canonical_writer(SliSummary)

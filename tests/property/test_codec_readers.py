"""The reader that is made out of a model and the slow one give the same answer, whatever the bytes are."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenario import envelope

from autopilot.schemas.avro_schema import schema_of
from autopilot.schemas.codec import HEADER_BYTES, Codec, SlowReader
from autopilot.schemas.contract import BasisPoints, Payload, described
from autopilot.schemas.envelope import Event
from autopilot.schemas.errors import ContractError
from autopilot.schemas.event_reader import UnusualError, _number, event_reader
from autopilot.schemas.event_writer import event_writer
from autopilot.schemas.events import EVENT_TYPES
from autopilot.schemas.events.observer import (
    BaselineSummarised,
    MeasurementTaken,
    Quality,
    Samples,
    SignalCleared,
    SliSummary,
)
from autopilot.schemas.events.planner import Alternative, NoPlanFound
from autopilot.schemas.events.policy import Fact, PlanDenied
from autopilot.schemas.registry import BundledRegistry
from tests.property.event_strategies import contracts, events

QUALITY = Quality(freshness_bp=0, completeness_bp=0, validity_bp=0, order_bp=0)
CODEC = Codec(BundledRegistry())
SLOW = {model: SlowReader(model, schema_of(model)) for model in EVENT_TYPES.values()}
MADE = {model: event_reader(model) for model in EVENT_TYPES.values()}

every_type = pytest.mark.parametrize("model", EVENT_TYPES.values(), ids=list(EVENT_TYPES))
any_event = st.sampled_from(list(EVENT_TYPES.values())).flatmap(events)
NUMBERS = st.lists(st.one_of(st.integers(2**48, 2**55 - 1), st.integers(-(2**63), 2**63 - 1)), max_size=20)


def decoded(value: bytes) -> str:
    """What the codec says of the bytes. As text, which tells 1 from 1.0 and from an enum's member."""
    try:
        return repr(CODEC.decode(value))
    except ContractError as error:
        return repr(error)


def slowly(model: type[Payload], value: bytes) -> str:
    try:
        return repr(SLOW[model].read(value))
    except ContractError as error:
        return repr(error)


@every_type
@settings(max_examples=8, deadline=None)
@given(st.data())
def test_what_was_written_is_read_without_the_slow_reader(model: type[Payload], data: st.DataObject) -> None:
    event = data.draw(events(model))
    value = CODEC.encode(event)
    made, slow = MADE[model](value, HEADER_BYTES), SLOW[model].read(value)
    assert made == slow == event
    assert repr(made) == repr(slow)
    assert made.payload.model_fields_set == slow.payload.model_fields_set
    assert made.payload.model_copy(deep=True).model_dump() == slow.payload.model_dump()


@settings(max_examples=300, deadline=None)
@given(any_event, st.data())
def test_both_say_the_same_of_damaged_bytes(event: Event[Any], data: st.DataObject) -> None:
    value = CODEC.encode(event)
    begin = data.draw(st.integers(HEADER_BYTES, len(value) - 1))
    end = data.draw(st.one_of(st.integers(begin, min(begin + 3, len(value))), st.just(len(value))))
    other = data.draw(
        st.one_of(st.binary(max_size=12), st.sampled_from([b"\xff" * 9 + b"\1", b"\x80\0", b"\1", b"\2"]))
    )
    damaged = value[:begin] + other + value[end:]
    if len(damaged) > HEADER_BYTES:
        assert decoded(damaged) == slowly(type(event.payload), damaged)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(list(EVENT_TYPES.values())), st.binary(min_size=1, max_size=200))
def test_both_say_the_same_of_noise(model: type[Payload], noise: bytes) -> None:
    value = b"\0" + BundledRegistry().id_for(model).to_bytes(4, "big") + noise
    assert decoded(value) == slowly(model, value)


@settings(max_examples=100, deadline=None)
@given(st.lists(contracts(Fact), min_size=1, max_size=4), events(PlanDenied), st.data())
def test_a_decisions_facts_are_its_own_whatever_the_decisions_before_had_seen(
    pool: list[Fact], event: Event[Any], data: st.DataObject
) -> None:
    for _ in range(4):
        facts = data.draw(st.lists(st.sampled_from(pool), max_size=6))
        decision = event.payload.decision.model_copy(update={"facts": facts})
        said = Event(event.envelope, event.payload.model_copy(update={"decision": decision}))
        assert CODEC.decode(CODEC.encode(said)) == said


@settings(max_examples=200, deadline=None)
@given(events(MeasurementTaken), NUMBERS)
def test_a_column_of_numbers_is_read_whether_or_not_they_are_times(event: Event[Any], numbers: list[int]) -> None:
    column = Samples(name="n", unit="1", bucket_starts_us=numbers, values=[], weights=[])
    value = CODEC.encode(Event(event.envelope, event.payload.model_copy(update={"samples": [column]})))
    made: Any = MADE[MeasurementTaken](value, HEADER_BYTES)
    assert made.payload.samples == [column]


def test_a_model_with_what_only_pydantic_knows_is_refused() -> None:
    class Bounded(Payload):
        """A text that has a pattern."""

        text: str = described("A text.", pattern="a*")

    with pytest.raises(TypeError, match="let pydantic read it"):
        event_reader(Bounded)


def test_what_is_out_of_bounds_is_worded_by_the_slow_reader() -> None:
    broken = QUALITY.model_copy(update={"order_bp": 10_001})
    cleared = SignalCleared.model_construct(signal_id="s", reason="r", quality=broken)
    value = CODEC.encode(Event(envelope(occurred_at_us=7, domain="d", service="s", producer="p"), cleared))
    assert "quality.order_bp" in decoded(value)
    assert decoded(value) == slowly(type(cleared), value)


def test_a_number_is_given_up_once_it_is_longer_than_any() -> None:
    with pytest.raises(UnusualError):
        _number(b"\xff" * 11, 0)


def encoded(payload: Payload) -> bytes:
    return CODEC.encode(Event(envelope(occurred_at_us=7, domain="d", service="s", producer="p"), payload))


def test_a_text_that_claims_to_be_longer_than_any_memory_is_worded_by_the_slow_reader() -> None:
    summary = SliSummary(slo="QQQQ", good=1.0, total=2.0)
    value = encoded(BaselineSummarised(from_us=1, until_us=2, indicators=[summary], quality=QUALITY))
    at = value.index(b"\x08QQQQ")
    claimed = value[:at] + b"\xfe" + b"\xff" * 8 + b"\x01" + b"QQQQ"
    assert decoded(claimed) == slowly(BaselineSummarised, claimed)


def test_a_record_that_was_cut_leaves_nothing_that_others_are_read_by() -> None:
    considered = [Alternative(remedy="m", confidence_bp=0, why_not="AB\0\x02\x10")]
    value = encoded(NoPlanFound(incident_id="i", reason="r", considered=considered, look_at=["other"]))
    cut = value[: value.index(b"AB\0") + 2]
    assert decoded(cut) == slowly(NoPlanFound, cut)
    assert decoded(value) == slowly(NoPlanFound, value)


def test_bounds_within_a_list_are_checked_too() -> None:
    class Shares(Payload):
        """Shares."""

        shares: list[BasisPoints] = described("Parts of a whole.")

    read, write = event_reader(Shares), event_writer(schema_of(Shares))
    fields = envelope().__dict__
    assert read(write(fields, Shares(shares=[5])), 0).payload == Shares(shares=[5])
    with pytest.raises(UnusualError):
        read(write(fields, Shares.model_construct(shares=[10_001])), 0)

"""A minted record is that of its event: what is written out of parts says what the whole says."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Draft, Envelope, Event, Position, Recorded
from autopilot.schemas.events import EVENT_TYPES
from autopilot.schemas.identity import event_id
from autopilot.schemas.registry import BundledRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams.mint import Mint
from tests.property.event_strategies import contracts, events

CODEC = Codec(BundledRegistry())
KEY = SigningKey.generate("ada")
any_payload = st.sampled_from(list(EVENT_TYPES.values())).flatmap(contracts)
any_event = st.sampled_from(list(EVENT_TYPES.values())).flatmap(events)
positions = st.builds(Position, st.sampled_from(list(map(str, Topic))), st.integers(0, 3), st.integers(0, 2**40))
drafts = st.builds(Draft, any_payload, *[st.text(max_size=8)] * 3)


@settings(max_examples=200, deadline=None)
@given(drafts, positions, any_event, st.integers(0, 9), st.integers(0, 2**60), st.booleans())
def test_a_draft_about_a_cause_becomes_the_record_of_its_event(
    draft: Draft, at: Position, cause: Event[Any], ordinal: int, now_us: int, signs: bool
) -> None:
    kind = draft.payload.event_type()
    mint = Mint(CODEC, "planner", 4, key=KEY, signs=frozenset({kind} if signs else ()))
    out = mint.of_cause(draft, Recorded(at, cause), ordinal, {}, now_us)
    envelope = Envelope(
        event_id=event_id("live", "planner", at, ordinal),
        run="live",
        correlation_id=draft.correlation_id,
        causation_id=cause.envelope.event_id,
        cause_topic=at.topic,
        cause_partition=at.partition,
        cause_offset=at.offset,
        occurred_at_us=max(cause.envelope.occurred_at_us, now_us),
        domain=draft.domain,
        service=draft.service,
        producer="planner",
    )
    assert CODEC.decode(out.value) == Event(envelope, draft.payload)
    assert out == mint.record(Event(envelope, draft.payload), out.partition)
    assert out.headers["event-type"] == kind.encode()
    assert out.topic == draft.payload.topic
    stays = at.topic == draft.payload.topic == Topic.LOG
    assert out.partition == (at.partition if stays else mint.partition_for(draft, {}))

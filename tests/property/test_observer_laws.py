"""The observer's laws: batch = fold, and a snapshot anywhere changes nothing.

Sequences mix telemetry of several services, good and broken, with ticks, activations and measurement requests.
"""

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from observer.watched import CONTRACT, ERRORS, FAST, ROOM, SECOND_US, documents, objective
from scenario import START_US, Said, recorded

from autopilot.agents.observer import Observer
from autopilot.schemas.envelope import Draft, Output, Recorded
from autopilot.schemas.events.observer import SignalCleared, SignalRaised, SignalUpdated, SliKind
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.telemetry import MeasurementRequested, Series, SeriesKind, TelemetryBatch

OBJECTIVES = [
    objective("few-errors", ERRORS, SliKind.ERRORS),
    objective("fast", FAST, SliKind.LATENCY),
    objective("room", ROOM, SliKind.SATURATION),
]
VARIANTS = [
    documents(OBJECTIVES, services=("cart", "mail")),
    documents(OBJECTIVES[:2], CONTRACT.model_copy(update={"interval_ms": 2_000}), services=("cart",)),
]
METRICS = [("requests", {}), ("errors", {}), ("bucket", {"le": "250"}), ("memory", {})]
Step = tuple[str, Any]


def activation(variant: int) -> ConfigurationActivated:
    return ConfigurationActivated(revision="r", documents=VARIANTS[variant], author="a", comment="")


@st.composite
def some_series(draw: st.DrawFn) -> tuple[int, str, SeriesKind, list[tuple[int, float]]]:
    kind = draw(st.sampled_from([SeriesKind.DELTA, SeriesKind.DELTA, SeriesKind.CUMULATIVE, SeriesKind.GAUGE]))
    value = st.one_of(
        st.integers(0, 300).map(float),
        st.floats(0, 1e6),
        st.sampled_from([float("nan"), float("inf"), -1.0, 0.1, 1e300]),
    )
    late_ms = st.one_of(st.integers(-900, 900), st.sampled_from([-20_000, 9_000, 60_000, -90_000_000]))
    points = draw(st.lists(st.tuples(late_ms, value), max_size=5))
    return draw(st.integers(0, 3)), draw(st.sampled_from("ab")), kind, sorted(points, key=lambda point: point[0])


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("batch"), st.tuples(st.sampled_from(["cart", "mail", "stray"]), st.lists(some_series(),
                                                                                                  max_size=4))),
        st.tuples(st.just("errors"), st.integers(0, 100)),
        st.tuples(st.just("tick"), st.sampled_from([1, 1, 1, 2, 9, 400, 90_000])),
        st.tuples(st.just("configure"), st.integers(0, 1)),
        st.tuples(st.just("ask"), st.integers(-6, 3)),
    ),
    max_size=40,
)  # fmt: skip


def built(number: int, instance: str, kind: SeriesKind, points: list[tuple[int, float]], now_us: int) -> Series:
    metric, attributes = METRICS[number]
    return Series(
        metric=metric, kind=kind, unit="1", attributes={**attributes, "instance": instance},
        timestamps_us=[now_us + ms * 1000 for ms, _ in points], values=[value for _, value in points],
    )  # fmt: skip


def told(kind: str, what: Any, now_us: int, number: int) -> Said:
    if kind == "tick":
        return Said(Tick(at_us=now_us))
    if kind == "configure":
        return Said(activation(what))
    if kind == "ask":
        begin = now_us + what * SECOND_US
        return Said(MeasurementRequested(
            measurement_id=f"m{number}", purpose="after", slo_names=[], guard_metrics=["memory", "requests"],
            from_us=begin, until_us=begin + 4 * SECOND_US, bucket_ms=1_000,
        ), service="cart", correlation_id="inc")  # fmt: skip
    if kind == "errors":
        amounts = ((0, 100.0), (1, float(what)))
        made = [built(metric, "a", SeriesKind.DELTA, [(number, amount)], now_us) for metric, amount in amounts]
        return Said(TelemetryBatch(source="s", series=made), service="cart")
    service, sent = what
    return Said(TelemetryBatch(source="s", series=[built(*one, now_us) for one in sent]), service=service)


def sequence(steps: Sequence[Step]) -> list[Recorded[Any]]:
    now_us = START_US
    records = []
    for number, (kind, what) in enumerate([("configure", 0), ("tick", 1), *steps]):
        if kind == "tick":
            now_us += what * SECOND_US
        said = told(kind, what, now_us, number)
        records.append(recorded(said, number, now_us=now_us, domain="", service="", topic="autopilot.telemetry"))
    return records


def folded(records: Sequence[Recorded[Any]]) -> tuple[bytes, list[list[Output]]]:
    agent = Observer()
    state, said = agent.initial_state(), []
    for record in records:
        state, outputs = agent.handle(state, record)
        said.append(list(outputs))
    return agent.dump_state(state), said


@settings(max_examples=120, deadline=None)
@given(STEPS, st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_any_split_into_batches_equals_the_fold(steps: list[Step], sizes: list[int]) -> None:
    records = sequence(steps)
    agent = Observer()
    state, said, start, turn = agent.initial_state(), [], 0, 0
    while start < len(records):
        end = start + sizes[turn % len(sizes)]
        state, outputs = agent.handle_batch(state, records[start:end])
        said += [list(some) for some in outputs]
        start, turn = end, turn + 1
    assert (agent.dump_state(state), said) == folded(records)


@settings(max_examples=120, deadline=None)
@given(STEPS, st.integers(0, 42))
def test_a_snapshot_at_any_place_changes_nothing(steps: list[Step], place: int) -> None:
    records = sequence(steps)
    agent = Observer()
    state, said = agent.initial_state(), []
    for number, record in enumerate(records):
        if number == place:
            dumped = agent.dump_state(state)
            state = agent.load_state(dumped)
            assert agent.dump_state(state) == dumped
        state, outputs = agent.handle(state, record)
        said.append(list(outputs))
    assert (agent.dump_state(state), said) == folded(records)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 100), min_size=10, max_size=40))
def test_a_signal_is_raised_and_cleared_in_turn(errors: list[int]) -> None:
    steps: list[Step] = [step for amount in errors for step in (("errors", amount), ("tick", 1))]
    opened: dict[str, tuple[str, str]] = {}
    drafts = [one for outputs in folded(sequence(steps))[1] for one in outputs if isinstance(one, Draft)]
    for draft in drafts:
        payload = draft.payload
        if isinstance(payload, SignalRaised):
            about = (draft.service, payload.slo or payload.kind)
            assert about not in opened.values()
            opened[payload.signal_id] = about
        elif isinstance(payload, SignalUpdated):
            assert payload.signal_id in opened
        elif isinstance(payload, SignalCleared):
            del opened[payload.signal_id]

"""Laws of the verifier's statistics and verdicts."""

import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from autopilot.agents.verifier import judgement
from autopilot.agents.verifier.checks import judge
from autopilot.agents.verifier.judgement import MIN_EVENTS, MIN_SAMPLES, Share
from autopilot.agents.verifier.measuring import BEFORE, columns_before
from autopilot.agents.verifier.watch import Column, KnownPlan, Watch, WatchState, Window
from autopilot.schemas.events.observer import MeasurementTaken, Quality, Samples
from autopilot.schemas.events.telemetry import Group
from autopilot.schemas.events.verifier import CheckVerdict

samples = st.lists(st.floats(-1e6, 1e6), max_size=25)
counts = st.integers(0, 5_000)
shares = st.builds(lambda bad, good: Share(float(bad), float(bad + good)), counts, counts)
allowances = st.integers(1, 9_999).map(lambda bp: bp / 10_000)
zs = st.floats(1.0, 4.0)


@given(samples, samples)
def test_a_rank_sum_is_antisymmetric(one: list[float], other: list[float]) -> None:
    assert math.isclose(judgement.rank_sum_z(one, other), -judgement.rank_sum_z(other, one), abs_tol=1e-9)


@given(st.lists(st.integers(-1_000, 1_000), max_size=25), st.lists(st.integers(-1_000, 1_000), max_size=25))
def test_a_rank_sum_does_not_depend_on_order_or_scale(one: list[int], other: list[int]) -> None:
    expected = judgement.rank_sum_z(one, other)
    assert judgement.rank_sum_z(one[::-1], other[::-1]) == expected
    assert judgement.rank_sum_z([3 * v + 7 for v in one], [3 * v + 7 for v in other]) == expected


@given(
    st.lists(st.integers(0, 1_000), min_size=1, max_size=20), st.lists(st.integers(0, 1_000), min_size=1, max_size=20)
)
def test_samples_above_all_others_rank_highest(after: list[int], before: list[int]) -> None:
    assert judgement.rank_sum_z([v + 2_000 for v in after], before) >= judgement.rank_sum_z(after, before) - 1e-9


@given(shares, shares)
def test_a_difference_of_shares_is_antisymmetric(one: Share, other: Share) -> None:
    assert math.isclose(judgement.difference_z(one, other), -judgement.difference_z(other, one), abs_tol=1e-9)


@given(shares, zs)
def test_an_interval_holds_its_share_and_narrows_with_less_caution(share: Share, z: float) -> None:
    low, high = judgement.interval(share, z)
    assert 0.0 <= low <= high <= 1.0
    if share.value is not None:
        assert low - 1e-9 <= share.value <= high + 1e-9
        inner_low, inner_high = judgement.interval(share, z / 2)
        assert low <= inner_low + 1e-9
        assert inner_high <= high + 1e-9


@given(st.integers(20, 2_000), counts, counts, shares, allowances, zs)
def test_more_bad_events_never_turn_a_failure_into_a_pass(
    events: int, bad: int, more: int, before: Share, allowed: float, z: float
) -> None:
    bad, worse = sorted((bad % (events + 1), more % (events + 1)))
    first = judgement.recovery(Share(float(bad), float(events)), before, allowed, z).verdict
    second = judgement.recovery(Share(float(worse), float(events)), before, allowed, z).verdict
    order = [CheckVerdict.PASS, CheckVerdict.UNCLEAR, CheckVerdict.FAIL]
    assert order.index(first) <= order.index(second)


@given(shares, allowances, zs)
def test_no_events_never_pass(before: Share, allowed: float, z: float) -> None:
    nothing = Share()
    for finding in (
        judgement.recovery(nothing, before, allowed, z),
        judgement.improvement(nothing, before, z),
        judgement.not_worse(nothing, before, allowed, z),
        judgement.not_worse(before, nothing, allowed, z),
        judgement.guard([], [1.0] * 10, z),
        judgement.guard([1.0] * 10, [math.nan], z),
    ):
        assert finding.verdict is CheckVerdict.NO_DATA


@given(st.floats(-10, 10), st.floats(-10, 10))
def test_confidence_grows_with_standard_errors(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 5_000 <= judgement.confidence_bp(low) <= judgement.confidence_bp(high) <= 9_990


columns = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1_000)), max_size=12).map(
    lambda pairs: Column(tuple(v for v, _ in pairs), tuple(w for _, w in pairs))
)
measured = st.dictionaries(st.sampled_from(["slo:a", "slo:b", "metric:m"]), columns)
states = st.sampled_from([WatchState.MEASURING, WatchState.MEASURING_ROLLBACK, WatchState.MEASURING_STAGE])
grouped = st.dictionaries(
    st.sampled_from([f"{name}@{group}" for name in ("slo:a", "metric:m") for group in ("canary", "control")]),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1_000)), min_size=1, max_size=40).map(
        lambda pairs: Column(tuple(v for v, _ in pairs), tuple(w for _, w in pairs), tuple(range(len(pairs))))
    ),
)


def watch(state: WatchState, before: dict[str, Column], after: dict[str, Column], quality_bp: int) -> Watch:
    plan = KnownPlan("p", "sha256:p", "i", "d", "s", "r", "c", ("a", "b"), ("m",), 1, 1, 1, 1, 1)
    return Watch("e", plan, 0, state, before, after, quality_bp)


@settings(max_examples=300)
@given(states, measured, measured, st.integers(0, 10_000), zs)
def test_what_passes_was_measured_whole_and_well(
    state: WatchState, before: dict[str, Column], after: dict[str, Column], quality_bp: int, z: float
) -> None:
    verdict = judge(watch(state, before, after, quality_bp), {"a": 9_900, "b": 5_000}, z)
    assert 0 <= verdict.confidence_bp <= quality_bp
    if verdict.verdict is CheckVerdict.PASS:
        assert quality_bp >= 7_000
        assert {"slo:a", "slo:b", "metric:m"} <= set(after)
        assert all(check.verdict is not CheckVerdict.NO_DATA for check in verdict.checks)
        assert all(check.after_samples > 0 for check in verdict.checks)


@settings(max_examples=300)
@given(grouped, st.integers(0, 10_000), zs)
def test_a_canary_passes_only_where_both_groups_were_measured_well(
    after: dict[str, Column], quality_bp: int, z: float
) -> None:
    groups = (Group(name="canary", attributes={}), Group(name="control", attributes={}))
    gate = Window(("a",), ("m",), 1, 1, 1, groups)
    plan = replace(watch(WatchState.MEASURING_STAGE, {}, {}, 0).plan, gates={"s": gate})
    measured = Watch("e", plan, 0, WatchState.MEASURING_STAGE, {}, after, quality_bp, step_id="s")
    verdict = judge(measured, {"a": 9_900}, z)
    assert 0 <= verdict.confidence_bp <= quality_bp
    if verdict.verdict is not CheckVerdict.UNCLEAR:
        assert quality_bp >= 7_000
    if verdict.verdict is CheckVerdict.PASS:
        assert {"slo:a@canary", "slo:a@control", "metric:m@canary", "metric:m@control"} <= set(after)
        for side in ("canary", "control"):
            events = judgement.share_of(after[f"slo:a@{side}"].values, after[f"slo:a@{side}"].weights).events
            assert events >= judgement.MIN_EVENTS


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300), shares, allowances, zs)
def test_more_bad_events_never_let_a_stage_pass_that_was_not_to(
    events: int, bad: int, more: int, before: Share, allowed: float, z: float
) -> None:
    events += 20
    bad, worse = sorted((bad % (events + 1), more % (events + 1)))
    first, second = (
        judgement.passable(Share(float(n), float(events)), before, allowed, z, seen_whole=True).verdict
        for n in (bad, worse)
    )
    order = [CheckVerdict.PASS, CheckVerdict.UNCLEAR, CheckVerdict.FAIL]
    if CheckVerdict.NO_DATA not in (first, second):
        assert order.index(first) <= order.index(second)


buckets = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40).map(float)), max_size=25)
moments = st.integers(-5, 30)
"""Numbers of buckets; those measured begin at 0."""
kinds = st.sampled_from(["slo:a", "metric:m"])


def compared_with(name: str, before: list[tuple[float, float]], since: int, first: int = 0) -> Column:
    """What counts of buckets from the `first` on, where the trouble began with the bucket `since`."""
    starts = [1_000 + first + n for n in range(len(before))]
    column = Samples(
        name=name, unit="1", bucket_starts_us=starts, values=[v for v, _ in before], weights=[w for _, w in before]
    )
    quality = Quality(freshness_bp=10_000, completeness_bp=10_000, validity_bp=10_000, order_bp=10_000)
    taken = MeasurementTaken(
        measurement_id="m", purpose=BEFORE, from_us=1_000, until_us=2_000, bucket_ms=1, samples=[column],
        quality=quality, evidence=[],
    )  # fmt: skip
    return columns_before(taken, 1_000 + since)[name]


def can_be_judged(name: str, column: Column) -> bool:
    if name.startswith("slo:"):
        return judgement.share_of(column.values, column.weights).events >= MIN_EVENTS
    return len(column.values) >= MIN_SAMPLES


@given(kinds, buckets, moments)
def test_what_is_compared_with_is_the_end_of_what_was_before_and_no_earlier_than_it_takes(
    name: str, before: list[tuple[float, float]], since: int
) -> None:
    whole, kept = compared_with(name, before, -5), compared_with(name, before, since)
    length = len(kept.values)
    assert (kept.values, kept.weights) == (whole.values[-length:], whole.weights[-length:]) or length == 0
    assert set(range(max(since, 0), len(before))) <= {at - 1_000 for at in kept.starts_us}
    assert can_be_judged(name, kept) == can_be_judged(name, whole)
    if 0 < kept.from_us < 1_000 + since:
        less = Column(kept.values[1:], kept.weights[1:], kept.starts_us[1:])
        assert not can_be_judged(name, less)


@given(kinds, buckets, buckets)
def test_what_was_before_a_trouble_that_can_be_judged_changes_nothing(
    name: str, earlier: list[tuple[float, float]], trouble: list[tuple[float, float]]
) -> None:
    kept = compared_with(name, trouble, 0)
    assert len(kept.values) == len(trouble)
    longer = compared_with(name, [*earlier, *trouble], 0, first=-len(earlier))
    assert (longer == kept) == (can_be_judged(name, kept) or not earlier)

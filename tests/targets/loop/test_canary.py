"""Two releases behind a real HAProxy, through the whole loop on a real Kafka, with a count of every request."""

from collections import Counter
from collections.abc import Iterator

import pytest
from rich.console import Console

from examples.canary.count import Count, count_lines
from examples.canary.demo import BAD, GOOD, SLOW, Story, bad_release, good_release
from examples.canary.stage import CANARY, STABLE, CanaryStage

BOTH_WITHIN_S = 2_400


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CanaryStage]:
    """Kafka, the agents, supervisord, HAProxy and the load."""
    with CanaryStage(tmp_path_factory.mktemp("canary"), Console(width=160)) as running:
        yield running


def share(one: Count) -> float:
    """The canary's part of the requests, in percent."""
    return 100 * one.by_canary / one.total


@pytest.mark.timeout(BOTH_WITHIN_S)
def test_a_bad_release_is_stopped_at_five_percent_and_a_good_one_goes_through(stage: CanaryStage) -> None:
    _assert_stopped(stage, bad_release(stage))
    _assert_rolled_out(stage, good_release(stage))


def _assert_stopped(stage: CanaryStage, story: Story) -> None:
    counts, steady = dict(story.counts), dict(story.steady)
    assert list(counts) == ["before", "canary at 5 %", "canary at 5 % taken back"]
    tried = counts["canary at 5 %"]
    assert story.passed_gates == []
    assert 0 < tried.failures <= tried.by_canary
    assert tried.failures <= 0.05 * tried.total
    assert steady.keys() == {"canary at 5 %"}
    assert 3 <= share(steady["canary at 5 %"]) <= 7
    assert counts["canary at 5 % taken back"].by_canary == 0
    assert sum(one.failures_elsewhere for one in counts.values()) == 0
    assert story.whole.failed.keys() == set(CANARY.instances)
    assert stage.fleet.running(CANARY.name) == []
    assert stage.fleet.layout.current(STABLE.name).name == SLOW
    assert stage.fleet.layout.current(CANARY.name).name == BAD


def _assert_rolled_out(stage: CanaryStage, story: Story) -> None:
    counts, steady = dict(story.counts), dict(story.steady)
    assert list(counts) == ["before", *(f"canary at {percent} %" for percent in (5, 25, 100, 0))]
    assert len(story.passed_gates) == 3
    assert story.whole.failures == 0
    assert story.whole.total > 1_000
    assert list(steady) == [f"canary at {percent} %" for percent in (5, 25, 100)]
    for percent in (5, 25, 100):
        assert abs(share(steady[f"canary at {percent} %"]) - percent) <= 3
    assert counts["canary at 0 %"].by_canary == 0
    assert stage.fleet.layout.current(STABLE.name).name == GOOD
    assert len(stage.fleet.running(STABLE.name)) == STABLE.started


def test_a_request_without_an_answer_or_with_an_error_is_a_failure() -> None:
    lines = [
        '{"sent_ms": 9, "status": 200, "server": "checkout-stable-1", "took_ms": 1.0}',
        '{"sent_ms": 10, "status": 200, "server": "checkout-stable-1", "took_ms": 1.0}',
        '{"sent_ms": 11, "status": 500, "server": "checkout-canary-1", "took_ms": 1.0}',
        '{"sent_ms": 12, "status": 0, "server": "", "took_ms": 1.0}',
        '{"sent_ms": 13, "status": 2',
    ]
    counted = count_lines(lines, 10, 13)
    assert counted.answered == Counter({"checkout-stable-1": 1, "checkout-canary-1": 1, "(no answer)": 1})
    assert (counted.failures, counted.failures_elsewhere, counted.by_canary) == (2, 1, 1)

"""Two releases of checkout behind HAProxy under load: a bad one is stopped at 5 %, a good one goes through.

    python -m examples.canary.demo [--home FOLDER]

Brings everything up in a home of its own: Kafka, the agents, supervisord with two groups of checkouts, HAProxy before
them. The running release is slow, so its latency objective burns; a release waits for its canary. The autopilot plans,
is allowed, shifts 5 %, 25 % and 100 % of the requests with a gate after each, and puts the release into use; or stops.
Every request is counted. Exit code 1 when something did not happen; the message says what, and where the logs are.
"""

from dataclasses import dataclass

from examples.canary.count import Count, table
from examples.canary.rollout import DONE_WITHIN_S, REMEDY, Rollout, require, whole_of
from examples.canary.stage import BUSY_RATE, CANARY, IDLE_RATE, STABLE, CanaryStage
from examples.shop.fleet import PROJECT
from examples.shop.incident import Result
from examples.shop.performance import command, summary

HOME = PROJECT / ".autopilot" / "canary-demo"
SLOW, GOOD, BAD = "v1", "v2", "v3"
FIRST_SHARE_PERCENT = 5


@dataclass(frozen=True)
class Story:
    """What came of one release."""

    result: Result
    counts: list[tuple[str, Count]]
    """Every request, by the canary's share."""
    steady: list[tuple[str, Count]]
    """Those that were not sent while the share was being changed."""
    passed_gates: list[str]

    @property
    def whole(self) -> Count:
        """Every request of it."""
        return whole_of(self.counts)


def bad_release(stage: CanaryStage) -> Story:
    """A release that has lost two of five prices is stopped at 5 % and taken back; nobody on stable notices."""

    def provoke() -> None:
        stage.fleet.offer(BAD)
        stage.say(f"release {BAD} waits for its canary: it is fast, and has lost two of five prices")
        stage.say(
            f"load rises from {IDLE_RATE} to {BUSY_RATE} requests/s, which is when {SLOW} takes ten times as long"
        )
        stage.fleet.set_rate(BUSY_RATE)

    rollout = Rollout(stage, "1. A bad release", provoke, expects_rejection=True)
    rollout.await_plan(REMEDY)
    rollout.await_authorisation()
    verdict = rollout.await_rejection()
    stage.say(f"stopped: {verdict.payload.outcome.reason}")
    stage.fleet.set_rate(IDLE_RATE)
    counts = rollout.counts()
    _check_stopped(stage, rollout, counts)
    rollout.await_close()
    rollout.print_timeline()
    stage.console.print(table("Every request, by the canary's share", counts))
    return Story(
        rollout.result("stopped at 5 %, rolled back, verified"), counts, rollout.steady_counts(), rollout.passed_gates()
    )


def _check_stopped(stage: CanaryStage, rollout: Rollout, counts: list[tuple[str, Count]]) -> None:
    whole, after = whole_of(counts), counts[-1][1]
    tried = [one for name, one in counts if name == f"canary at {FIRST_SHARE_PERCENT} %"]
    require(len(tried) == 1 and len(counts) == 3, f"the shares were {[name for name, _ in counts]}")
    require(rollout.passed_gates() == [], f"gates were passed: {rollout.passed_gates()}")
    require(whole.failures > 0, "the bad release failed nobody: nothing was tried")
    require(whole.failures_elsewhere == 0, f"{whole.failures_elsewhere} requests failed that were not the canary's")
    most = tried[0].total * FIRST_SHARE_PERCENT / 100
    require(tried[0].failures <= most, f"{tried[0].failures} of {tried[0].total} requests failed, more than 5 %")
    require(after.by_canary == 0, f"{after.by_canary} requests reached the canary after it was taken back")
    require(not stage.fleet.running(CANARY.name), "the canary still runs")
    _check_release(stage, SLOW)


def good_release(stage: CanaryStage) -> Story:
    """A release that is faster goes through all stages without one failed request, and its incident ends."""

    def provoke() -> None:
        stage.fleet.offer(GOOD)
        stage.say(f"release {GOOD} waits for its canary: it is fast, and complete")
        stage.say(
            f"load rises from {IDLE_RATE} to {BUSY_RATE} requests/s, which is when {SLOW} takes ten times as long"
        )
        stage.fleet.set_rate(BUSY_RATE)

    rollout = Rollout(stage, "2. A good release", provoke)
    rollout.await_plan(REMEDY)
    rollout.await_authorisation()
    rollout.await_end(DONE_WITHIN_S)
    counts = rollout.counts()
    _check_rolled_out(stage, rollout, counts)
    rollout.print_timeline()
    stage.console.print(table("Every request, by the canary's share", counts))
    return Story(rollout.result("rolled out, verified"), counts, rollout.steady_counts(), rollout.passed_gates())


def _check_rolled_out(stage: CanaryStage, rollout: Rollout, counts: list[tuple[str, Count]]) -> None:
    shares = [f"canary at {percent} %" for percent in (5, 25, 100, 0)]
    require([name for name, _ in counts] == ["before", *shares], f"the shares were {[name for name, _ in counts]}")
    require(len(rollout.passed_gates()) == 3, f"the gates that were passed are {rollout.passed_gates()}")
    whole = whole_of(counts)
    require(whole.failures == 0, f"{whole.failures} of {whole.total} requests failed")
    _check_release(stage, GOOD)


def _check_release(stage: CanaryStage, release: str) -> None:
    current = stage.fleet.layout.current(STABLE.name).name
    require(current == release, f"the stable group runs release `{current}`, expected `{release}`")


def both(stage: CanaryStage) -> list[Story]:
    """Both releases, on a stage that is up."""
    stories = [bad_release(stage), good_release(stage)]
    stage.console.rule()
    stage.console.print(summary("Two releases", [story.result for story in stories]))
    return stories


def main() -> None:
    """Command line of the demonstration."""
    command("A canary behind HAProxy: a bad release and a good one.", HOME, CanaryStage, both)


if __name__ == "__main__":
    main()

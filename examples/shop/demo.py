"""Three incidents in the shop, on a real Kafka: one repaired alone, one after an approval, one rightly left alone.

    python -m examples.shop.demo [--home FOLDER]

Brings everything up in a home of its own, breaks the shop three times, prints each incident's timeline from the log
and ends everything again. Exit code 1 when something did not happen; the message says what, and where the logs are.
"""

import argparse
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.table import Table

from examples.shop.fleet import PROJECT
from examples.shop.layout import Fault
from examples.shop.stage import NORMAL_RATE, Stage
from examples.shop.watch import NotSeenError, Told

HOME = PROJECT / ".autopilot" / "demo"
SUSPECT = "checkout"
SURGE_RATE = 56
APPROVER = "approver"
BLIND_FOR_S = 4
"""How long telemetry stays away after the incident was opened: time enough for something to go wrong."""

DETECTED_WITHIN_S, DECIDED_WITHIN_S, DONE_WITHIN_S, VERIFIED_WITHIN_S, CLOSED_WITHIN_S = 30, 15, 40, 45, 45

_ADVERSE = (
    "NoPlanFound", "PlanDenied", "PlanWithdrawn", "ExecutionFailed", "ExecutionRolledBack", "StepIndeterminate",
    "OutcomeRejected", "OutcomeInconclusive",
)  # fmt: skip
_ACTS = ("PlanProposed", "PlanAuthorized", "ExecutionStarted", "StepRequested", "StepStarted")


@dataclass(frozen=True)
class Result:
    """One line of the summary; times in milliseconds since the stage before, None where there was no such stage."""

    name: str
    incident_id: str
    outcome: str
    detected_ms: int | None
    decided_ms: int | None
    acted_ms: int | None
    verified_ms: int | None


class Incident:
    """One incident of the demonstration: it is provoked, followed on the log, and told."""

    def __init__(self, stage: Stage, title: str, provoke: Callable[[], None]) -> None:
        self._stage = stage
        self._log = stage.log
        self.title = title
        stage.console.rule(f"[bold]{title}")
        since = len(self._log.events)
        provoke()
        self.broken_at_ms = time.time_ns() // 1_000_000
        self._log.wait(
            "an incident about the checkout", lambda: bool(self._log.opened_since(since, SUSPECT)), DETECTED_WITHIN_S
        )
        self.incident_id = self._log.opened_since(since, SUSPECT)
        opened = self.told("IncidentOpened")
        stage.say(f"[bold]{self.incident_id}[/] {opened.payload.title}")

    def told(self, name: str) -> Told:
        """The incident's last event of that type."""
        return self._log.of_incident(self.incident_id, name)[-1]

    def wait(
        self, name: str, timeout_s: float, says: Callable[[Told], str], adverse: tuple[str, ...] = _ADVERSE
    ) -> Told:
        """Waits for an event of the incident and prints it; an `adverse` one ends the waiting."""
        self._log.wait(
            f"`{name}` in {self.incident_id}",
            lambda: bool(self._log.of_incident(self.incident_id, name)),
            timeout_s,
            lambda: self._against(adverse),
        )
        found = self.told(name)
        self._stage.say(f"{found.envelope.producer:9} {name}: {says(found)}")
        return found

    def repaired(self) -> None:
        """Follows an authorised plan to the incident's end."""
        self.wait("StepSucceeded", DONE_WITHIN_S, lambda e: f"{e.payload.step_id} took {e.payload.took_ms} ms")
        self.wait("ExecutionCompleted", DONE_WITHIN_S, lambda e: e.payload.execution_id)
        self.wait("OutcomeVerified", VERIFIED_WITHIN_S, lambda e: e.payload.outcome.reason)
        self.wait("IncidentClosed", CLOSED_WITHIN_S, lambda e: f"{e.payload.resolution}: {e.payload.reason}")

    def proposed(self, remedy: str) -> None:
        """Waits for the plan, which must be of `remedy`."""
        plan = self.wait("PlanProposed", DECIDED_WITHIN_S, lambda e: f"{e.payload.remedy}: {e.payload.summary}")
        if plan.payload.remedy != remedy:
            raise NotSeenError(f"the plan is `{plan.payload.remedy}`, expected `{remedy}`")

    def authorised(self) -> None:
        """Waits for the policy's signature."""
        self.wait("PlanAuthorized", DECIDED_WITHIN_S, lambda e: f"by {e.payload.decision.bundle}")

    def timeline(self) -> None:
        """Prints the whole of it from the log."""
        self._stage.autopilot.run("timeline", self.incident_id)

    def result(self, outcome: str) -> Result:
        """The summary's line."""
        signalled = self._at_ms("IncidentOpened")
        authorised, acted = self._at_ms("PlanAuthorized"), self._at_ms("ExecutionCompleted")
        return Result(
            name=self.title,
            incident_id=self.incident_id,
            outcome=outcome,
            detected_ms=_between(self.broken_at_ms, signalled),
            decided_ms=_between(signalled, authorised),
            acted_ms=_between(authorised, acted),
            verified_ms=_between(acted, self._at_ms("OutcomeVerified")),
        )

    def _at_ms(self, name: str) -> int | None:
        found = self._log.of_incident(self.incident_id, name)
        return found[-1].recorded_at_ms if found else None

    def _against(self, adverse: tuple[str, ...]) -> str:
        found = self._log.of_incident(self.incident_id, *adverse) if adverse else []
        if not found:
            return ""
        payload = found[0].payload
        reason = payload.outcome.reason if hasattr(payload, "outcome") else payload.reason
        return f"`{found[0].event.type}`: {reason}"


def bad_release(stage: Stage) -> Result:
    """A release whose price list has lost two items: rolled back at once, verified."""

    def provoke() -> None:
        stage.say("checkout v2 goes live; its price list has lost two of five items")
        stage.fleet.deploy(SUSPECT, "v2")

    incident = Incident(stage, "1. A bad release", provoke)
    incident.proposed("roll-back-release")
    incident.authorised()
    incident.repaired()
    release = stage.fleet.layout.current(SUSPECT).name
    if release != "v1":
        raise NotSeenError(f"checkout runs release `{release}`, expected `v1`")
    incident.timeline()
    return incident.result("rolled back, verified")


def saturation(stage: Stage) -> Result:
    """More load than two checkouts bear: more processes, once a person has agreed."""

    def provoke() -> None:
        stage.say(f"load rises from {NORMAL_RATE} to {SURGE_RATE} requests/s; two checkouts bear 40")
        stage.fleet.set_rate(SURGE_RATE)

    incident = Incident(stage, "2. More load than capacity", provoke)
    incident.proposed("scale-out")
    asked = incident.wait("ApprovalRequested", DECIDED_WITHIN_S, lambda e: e.payload.summary)
    stage.autopilot.run("approvals")
    stage.autopilot.run("approve", asked.payload.approval_id, "--as", APPROVER)
    incident.authorised()
    incident.repaired()
    running = len(stage.fleet.running(SUSPECT))
    if running != 4:
        raise NotSeenError(f"checkout has {running} processes, expected 4")
    incident.timeline()
    stage.fleet.set_rate(NORMAL_RATE)
    return incident.result("approved, scaled out, verified")


def telemetry_stop(stage: Stage) -> Result:
    """Telemetry stops while the service goes on: nothing may be done, and it must say why."""

    def provoke() -> None:
        stage.say("checkout's exporter falls silent; the service itself goes on")
        stage.fleet.switch_on(SUSPECT, Fault.MUTE)

    before = len(stage.log.events)
    incident = Incident(stage, "3. Telemetry stops", provoke)
    nothing = incident.wait("NoPlanFound", DECIDED_WITHIN_S, lambda e: e.payload.reason, adverse=())
    stage.say(f"a person should look at: {nothing.payload.look_at[0]}")
    if nothing.payload.reason != "telemetry_lost":
        raise NotSeenError(f"the reason is `{nothing.payload.reason}`, expected `telemetry_lost`")
    time.sleep(BLIND_FOR_S)
    if not stage.fleet.sells():
        raise NotSeenError("the shop does not sell: only its telemetry should have stopped")
    stage.say("the shop still sells; the exporter comes back")
    stage.fleet.switch_off(SUSPECT, Fault.MUTE)
    incident.wait(
        "IncidentClosed", CLOSED_WITHIN_S, lambda e: f"{e.payload.resolution}: {e.payload.reason}", adverse=()
    )
    acts = [told for told in stage.log.events[before:] if told.event.type in _ACTS]
    if acts:
        raise NotSeenError(f"telemetry was lost and yet there is `{acts[0].event.type}` by {acts[0].envelope.producer}")
    stage.say("no plan, no authorisation, no step: [bold]nothing was done[/]")
    incident.timeline()
    return incident.result("no action: telemetry lost")


def summary(results: list[Result]) -> Table:
    """What happened, in a table."""
    table = Table(title="Three incidents", title_justify="left")
    for column in ("incident", "id", "outcome"):
        table.add_column(column)
    for column in ("detected after", "decided after", "done after", "verified after"):
        table.add_column(column, justify="right")
    for one in results:
        times = (one.detected_ms, one.decided_ms, one.acted_ms, one.verified_ms)
        table.add_row(
            one.name, one.incident_id, one.outcome, *("-" if t is None else f"{t / 1000:.2f} s" for t in times)
        )
    return table


def _between(start: int | None, end: int | None) -> int | None:
    return None if start is None or end is None else end - start


def _interrupted(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def run(home: Path, console: Console) -> int:
    """The whole demonstration; the exit code."""
    began = time.monotonic()
    try:
        with Stage(home, console) as stage:
            up_s = time.monotonic() - began
            results = [bad_release(stage), saturation(stage), telemetry_stop(stage)]
            incidents_s = time.monotonic() - began - up_s
            console.rule()
            console.print(summary(results))
            console.print(f"up in {up_s:.0f} s, three incidents in {incidents_s:.0f} s", highlight=False)
    except (RuntimeError, OSError) as error:
        console.print(f"[bold red]failed:[/] {error}", highlight=False)
        console.print(f"logs: {home / 'platform' / 'logs'} and {home / 'shop' / 'logs'}", highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; everything was stopped", highlight=False)
        return 130
    console.print(f"done in {time.monotonic() - began:.0f} s; everything was stopped", highlight=False)
    return 0


def main() -> None:
    """Command line of the demonstration."""
    parser = argparse.ArgumentParser(description="Three incidents in the shop, on a real Kafka.")
    parser.add_argument("--home", type=Path, default=HOME, help="folder that is written anew (default: %(default)s)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupted)
    terminal = sys.stdout.isatty()
    console = Console(soft_wrap=not terminal, width=None if terminal else 160)
    sys.exit(run(arguments.home.resolve(), console))


if __name__ == "__main__":
    main()

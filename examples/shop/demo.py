"""Three incidents in the shop, on a real Kafka: one repaired alone, one after an approval, one rightly left alone.

    python -m examples.shop.demo [--home FOLDER]

Brings everything up in a home of its own, breaks the shop three times, prints each incident's timeline from the log
and ends everything again. Exit code 1 when something did not happen; the message says what, and where the logs are.
"""

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.table import Table

from examples.shop.fleet import PROCESSES, PROJECT
from examples.shop.incident import ACTS, Incident, Result
from examples.shop.layout import Fault
from examples.shop.stage import NORMAL_RATE, Stage
from examples.shop.watch import NotSeenError

HOME = PROJECT / ".autopilot" / "demo"
SUSPECT = "checkout"
SURGE_RATE = 54
APPROVER = "approver"
BLIND_FOR_S = 4
"""How long telemetry stays away after the incident was opened: time enough for something to go wrong."""


def bad_release(stage: Stage) -> Result:
    """A release whose price list has lost two items: rolled back at once, verified."""

    def provoke() -> None:
        stage.say("checkout v2 goes live; its price list has lost two of five items")
        stage.fleet.deploy(SUSPECT, "v2")

    incident = Incident(stage, "1. A bad release", provoke)
    incident.await_plan("roll-back-release")
    incident.await_authorisation()
    incident.await_end()
    release = stage.fleet.layout.current(SUSPECT).name
    if release != "v1":
        raise NotSeenError(f"checkout runs release `{release}`, expected `v1`")
    incident.print_timeline()
    return incident.result("rolled back, verified")


def saturation(stage: Stage) -> Result:
    """More load than two checkouts bear: more processes, once a person has agreed."""

    def provoke() -> None:
        stage.say(f"load rises from {NORMAL_RATE} to {SURGE_RATE} requests/s; two checkouts bear 40")
        stage.fleet.set_rate(SURGE_RATE)

    incident = Incident(stage, "2. More load than capacity", provoke)
    incident.await_plan("scale-out")
    approval_id = incident.await_approval_request()
    stage.autopilot.run("approvals")
    stage.autopilot.run("approve", approval_id, "--as", APPROVER)
    incident.await_authorisation()
    incident.await_end()
    running = len(stage.fleet.running(SUSPECT))
    if running != PROCESSES:
        raise NotSeenError(f"checkout has {running} processes, expected {PROCESSES}")
    incident.print_timeline()
    stage.fleet.set_rate(NORMAL_RATE)
    return incident.result("approved, scaled out, verified")


def telemetry_stop(stage: Stage) -> Result:
    """Telemetry stops while the service goes on: nothing may be done, and it must say why."""

    def provoke() -> None:
        stage.say("checkout's exporter falls silent; the service itself goes on")
        stage.fleet.switch_on(SUSPECT, Fault.MUTE)

    before = len(stage.log.events)
    incident = Incident(stage, "3. Telemetry stops", provoke)
    incident.await_no_plan("telemetry_lost")
    time.sleep(BLIND_FOR_S)
    if not stage.fleet.sells():
        raise NotSeenError("the shop does not sell: only its telemetry should have stopped")
    stage.say("the shop still sells; the exporter comes back")
    stage.fleet.switch_off(SUSPECT, Fault.MUTE)
    incident.await_close()
    acts = [told for told in stage.log.events[before:] if told.event.type in ACTS]
    if acts:
        raise NotSeenError(f"telemetry was lost and yet there is `{acts[0].event.type}` by {acts[0].envelope.producer}")
    stage.say("no plan, no authorisation, no step: [bold]nothing was done[/]")
    incident.print_timeline()
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

"""Three incidents in the shop, on a real Kafka: one repaired alone, one after an approval, one rightly left alone.

    python -m examples.shop.demo [--home FOLDER]

Brings everything up in a home of its own, breaks the shop three times, prints each incident's timeline from the log
and ends everything again. Exit code 1 when something did not happen; the message says what, and where the logs are.
"""

import time

from examples.shop.fleet import PROCESSES, PROJECT
from examples.shop.incident import ACTS, Incident, Result
from examples.shop.layout import Fault
from examples.shop.performance import command, summary
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


def play(stage: Stage) -> None:
    """The three incidents, one after the other."""
    results = [bad_release(stage), saturation(stage), telemetry_stop(stage)]
    stage.console.rule()
    stage.console.print(summary("Three incidents", results))


def main() -> None:
    """Command line of the demonstration."""
    command("Three incidents in the shop, on a real Kafka.", HOME, Stage, play)


if __name__ == "__main__":
    main()

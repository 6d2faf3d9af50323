"""Five incidents of two services on a real Kubernetes, among them a remedy that does not help and is taken back.

    python -m examples.kubernetes.demo [--home FOLDER]

Brings everything up in a home of its own: Kafka, the agents, a cluster of one node, the checkout and the kiosk in two
deployments each, load on their pods. What the autopilot sees comes from the cluster and from the load generators. Each
remedy is carried out in stages: on the canary or with one pod first, and on only once the gate was passed.

The services are domains of their own, so their incidents are told at the same time. Of the checkout: a memory limit
that kills, a bad image, more load than its pods bear. Of the kiosk: requests that are slow for another reason than
load, so that more pods do not help, and an image that cannot start. Prints each incident's timeline from the log and
ends everything again. Exit code 1 when something did not happen; the message says what, and where the logs are.
"""

from functools import partial

from autopilot.infra.effector.drivers.kubernetes_state import STUCK
from autopilot.projections.remedies import remedies
from autopilot.schemas.basis_points import percent
from examples.kubernetes.fleet import CANARY, CHECKOUT, DATABASE, KIOSK, KIOSK_CANARY, KIOSK_STABLE, STABLE
from examples.kubernetes.incidents import ServiceIncident, at_once, require
from examples.kubernetes.stage import NORMAL_RATE, ClusterStage
from examples.shop.fleet import PROJECT
from examples.shop.layout import Group
from examples.shop.performance import command, summary

HOME = PROJECT / ".autopilot" / "kubernetes-demo"
GOOD, BAD = "v1", "v2"
NOT_THERE = "v2"
"""A release of the kiosk of which nobody has pushed the image."""
ROLLOUTS = "kiosk-rollouts"
"""The objective over what the cluster says of rollouts."""
LIMIT, TOO_LOW = "64Mi", "16Mi"
SURGE_RATE = 52
QUICK, SLOW = "5ms", "700ms"
"""How long a look-up in the price database takes."""
APPROVER = "approver"
DONE_WITHIN_S = 300
IMAGE = "{.spec.template.spec.containers[0].image}"
MEMORY = "{.spec.template.spec.containers[0].resources.limits.memory}"
WANTED = "{.spec.replicas}"
REPLICAS = "{.status.readyReplicas}"


def memory_limit(stage: ClusterStage) -> ServiceIncident:
    """A memory limit below what the checkout needs: its pods are killed again and again; the limit is put back."""

    def provoke() -> None:
        stage.tell(CHECKOUT, f"somebody saves memory: it may use {TOO_LOW} instead of {LIMIT}")
        stage.fleet.limit_memory(CHECKOUT, TOO_LOW)

    incident = ServiceIncident(stage, CHECKOUT, "1. checkout: a memory limit that kills", provoke)
    _mended_alone(incident, "restore-memory-limit")
    _require_seen(stage, MEMORY, LIMIT, STABLE, CANARY)
    incident.outcome = "limit put back in two stages, verified"
    return incident


def bad_image(stage: ClusterStage) -> ServiceIncident:
    """An image whose price list has lost two items: the one before is put back, on the canary first."""

    def provoke() -> None:
        stage.tell(CHECKOUT, f"{BAD} is deployed; its price list has lost two of five items")
        stage.fleet.release(CHECKOUT, BAD)

    incident = ServiceIncident(stage, CHECKOUT, "2. checkout: a bad image", provoke)
    _mended_alone(incident, "roll-back-image")
    _require_seen(stage, IMAGE, f"localhost/{CHECKOUT}:{GOOD}", STABLE, CANARY)
    incident.outcome = "image put back in two stages, verified"
    return incident


def saturation(stage: ClusterStage) -> ServiceIncident:
    """More load than four pods bear: one pod more, then three, once a person has agreed."""

    def provoke() -> None:
        stage.tell(CHECKOUT, f"load rises from {NORMAL_RATE} to {SURGE_RATE} requests/s; four pods bear 40")
        stage.fleet.set_rate(SURGE_RATE)

    incident = ServiceIncident(stage, CHECKOUT, "3. checkout: more load than its pods bear", provoke)
    incident.await_plan("scale-out")
    _approve(stage, incident)
    incident.await_end(DONE_WITHIN_S)
    _require_seen(stage, REPLICAS, str(STABLE.processes), STABLE)
    stage.fleet.set_rate(NORMAL_RATE)
    incident.outcome = "approved, scaled out in two stages, verified"
    return incident


def slow_database(stage: ClusterStage) -> ServiceIncident:
    """The kiosk is slow, and not for load: more pods do not help, are taken away again, and a person is asked."""

    def provoke() -> None:
        stage.tell(KIOSK, f"its price database has lost an index: a look-up takes {SLOW} instead of {QUICK}")
        stage.fleet.slow_database(SLOW)

    incident = ServiceIncident(stage, KIOSK, "4. kiosk: more pods that do not help", provoke, expects_rejection=True)
    incident.await_plan("more-pods")
    _approve(stage, incident)
    verdict = incident.await_rejection(DONE_WITHIN_S)
    stage.tell(KIOSK, f"[bold]rejected[/]: {verdict.payload.outcome.reason}")
    said = incident.await_hand_over()
    _require_seen(stage, WANTED, str(KIOSK_STABLE.started), KIOSK_STABLE)
    _require_undone(stage, incident)
    dependency = DATABASE.partition("/")[2]
    hints = [hint for hint in said.payload.look_at if dependency in hint]
    require(bool(hints), f"nobody is told to look at {dependency}: {said.payload.look_at}")
    stage.tell(KIOSK, f"a person is told to look at: {hints[0]}; has the index built again")
    stage.fleet.slow_database(QUICK)
    incident.await_close()
    resolution = incident.only("IncidentClosed").resolution
    require(resolution == "escalated", f"the incident was closed as `{resolution}`, expected `escalated`")
    incident.outcome = "more pods rejected and taken back, verified; ended by a person"
    return incident


def image_that_cannot_start(stage: ClusterStage) -> ServiceIncident:
    """A release whose image nobody has pushed: its rollout gets stuck, and is taken back before a customer noticed."""

    def provoke() -> None:
        stage.tell(KIOSK, f"{NOT_THERE} is deployed; nobody has pushed its image")
        stage.fleet.release(KIOSK, NOT_THERE)

    incident = ServiceIncident(stage, KIOSK, "5. kiosk: an image that cannot start", provoke)
    _mended_alone(incident, "undo-rollout")
    plan = incident.only("PlanProposed")
    burning = plan.verification.slo_names
    require(burning == [ROLLOUTS], f"{burning} burned, expected {ROLLOUTS} alone: a customer noticed")
    rollouts = [step.expected["rollout"] for step in plan.steps]
    require(rollouts == [STUCK, STUCK], f"the rollouts were {rollouts}, expected {STUCK}")
    _require_seen(stage, IMAGE, f"localhost/{KIOSK}:{GOOD}", KIOSK_STABLE, KIOSK_CANARY)
    _require_seen(stage, REPLICAS, str(KIOSK_STABLE.started), KIOSK_STABLE)
    incident.outcome = "revision before put back in two stages, verified"
    return incident


def _mended_alone(incident: ServiceIncident, remedy: str) -> None:
    """Follows a remedy that nobody is asked for, to its end."""
    incident.await_plan(remedy)
    incident.await_authorisation()
    incident.await_end(DONE_WITHIN_S)


def _approve(stage: ClusterStage, incident: ServiceIncident) -> None:
    approval_id = incident.await_approval_request()
    stage.autopilot.run("approvals")
    stage.autopilot.run("approve", approval_id, "--as", APPROVER)
    incident.await_authorisation()


def _require_seen(stage: ClusterStage, path: str, expected: str, *groups: Group) -> None:
    """What the cluster says of these deployments must be what is expected."""
    for group in groups:
        seen = stage.fleet.seen(group, path)
        require(seen == expected, f"{group.name} has `{seen}`, expected `{expected}`")


def _require_undone(stage: ClusterStage, incident: ServiceIncident) -> None:
    """The log must tell of one plan, undone in the opposite order, of which less is thought than before."""
    plan, rollback = incident.only("PlanProposed"), incident.only("RollbackStarted")
    done = [step.step_id for step in plan.steps]
    require(rollback.step_ids == done[::-1], f"{rollback.step_ids} was undone, expected {done[::-1]}")
    context = (plan.remedy, plan.basis.context)
    sure = next(row for row in remedies(stage.log.events) if (row.remedy, row.context) == context)
    require(
        sure.rejected == 1 and sure.bound_bp < plan.confidence_bp, f"`{plan.remedy}` is thought of as before: {sure}"
    )
    before, now = percent(plan.confidence_bp), percent(sure.bound_bp)
    stage.tell(KIOSK, f"`{plan.remedy}` is trusted less: {before} before, {now} now")


def of_the_checkout(stage: ClusterStage) -> list[ServiceIncident]:
    """Its incidents, one after the other."""
    return [memory_limit(stage), bad_image(stage), saturation(stage)]


def of_the_kiosk(stage: ClusterStage) -> list[ServiceIncident]:
    """Its incidents, one after the other."""
    return [slow_database(stage), image_that_cannot_start(stage)]


def play(stage: ClusterStage) -> None:
    """The five incidents, and what the log tells of each."""
    stage.console.rule("[bold]Two services, each with its own incidents at the same time")
    incidents = at_once(partial(of_the_checkout, stage), partial(of_the_kiosk, stage))
    for incident in incidents:
        stage.console.rule(f"[bold]{incident.title}")
        incident.print_timeline()
    stage.console.rule()
    stage.console.print(summary("Five incidents on Kubernetes", [one.result(one.outcome) for one in incidents]))


def main() -> None:
    """Command line of the demonstration."""
    command("Five incidents on a real Kubernetes.", HOME, ClusterStage, play)


if __name__ == "__main__":
    main()

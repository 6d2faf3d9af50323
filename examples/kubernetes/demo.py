"""Three incidents on a real Kubernetes: a memory limit that kills, a bad image, more load than the pods bear.

    python -m examples.kubernetes.demo [--home FOLDER]

Brings everything up in a home of its own: Kafka, the agents, a cluster of one node, the checkout in two deployments,
load on its pods. What the autopilot sees comes from the cluster and from the load generator. Each remedy is carried out
in stages: on the canary or with one pod first, and on only once the gate was passed. Prints each incident's timeline
from the log and ends everything again. Exit code 1 when something did not happen; the message says what, and where the
logs are.
"""

from examples.kubernetes.fleet import CANARY, STABLE
from examples.kubernetes.stage import NORMAL_RATE, ClusterStage
from examples.shop.fleet import PROJECT
from examples.shop.incident import Incident, Result
from examples.shop.performance import command, summary
from examples.shop.watch import NotSeenError

HOME = PROJECT / ".autopilot" / "kubernetes-demo"
GOOD, BAD = "v1", "v2"
LIMIT, TOO_LOW = "64Mi", "16Mi"
SURGE_RATE = 52
APPROVER = "approver"
DONE_WITHIN_S = 90
IMAGE = "{.spec.template.spec.containers[0].image}"
MEMORY = "{.spec.template.spec.containers[0].resources.limits.memory}"
REPLICAS = "{.status.readyReplicas}"


def memory_limit(stage: ClusterStage) -> Result:
    """A memory limit below what the checkout needs: its pods are killed again and again; the limit is put back."""

    def provoke() -> None:
        stage.say(f"somebody saves memory: the checkout may use {TOO_LOW} instead of {LIMIT}")
        stage.fleet.limit_memory(TOO_LOW)

    incident = Incident(stage, "1. A memory limit that kills", provoke)
    _mended_alone(stage, incident, "restore-memory-limit", MEMORY, LIMIT)
    return incident.result("limit put back in two stages, verified")


def bad_image(stage: ClusterStage) -> Result:
    """An image whose price list has lost two items: the one before is put back, on the canary first."""

    def provoke() -> None:
        stage.say(f"checkout {BAD} is deployed; its price list has lost two of five items")
        stage.fleet.release(BAD)

    incident = Incident(stage, "2. A bad image", provoke)
    _mended_alone(stage, incident, "roll-back-image", IMAGE, f"localhost/checkout:{GOOD}")
    return incident.result("image put back in two stages, verified")


def _mended_alone(stage: ClusterStage, incident: Incident, remedy: str, path: str, expected: str) -> None:
    """Follows a remedy that nobody is asked for; in the end both deployments have what is expected."""
    incident.await_plan(remedy)
    incident.await_authorisation()
    incident.await_end(DONE_WITHIN_S)
    for group in (STABLE, CANARY):
        seen = stage.fleet.seen(group, path)
        if seen != expected:
            raise NotSeenError(f"{group.name} has `{seen}`, expected `{expected}`")
    incident.print_timeline()


def saturation(stage: ClusterStage) -> Result:
    """More load than four pods bear: one pod more, then three, once a person has agreed."""

    def provoke() -> None:
        stage.say(f"load rises from {NORMAL_RATE} to {SURGE_RATE} requests/s; four pods bear 40")
        stage.fleet.set_rate(SURGE_RATE)

    incident = Incident(stage, "3. More load than the pods bear", provoke)
    incident.await_plan("scale-out")
    approval_id = incident.await_approval_request()
    stage.autopilot.run("approvals")
    stage.autopilot.run("approve", approval_id, "--as", APPROVER)
    incident.await_authorisation()
    incident.await_end(DONE_WITHIN_S)
    running = int(stage.fleet.seen(STABLE, REPLICAS))
    if running != STABLE.processes:
        raise NotSeenError(f"{STABLE.name} has {running} pods that are ready, expected {STABLE.processes}")
    incident.print_timeline()
    stage.fleet.set_rate(NORMAL_RATE)
    return incident.result("approved, scaled out in two stages, verified")


def play(stage: ClusterStage) -> None:
    """The three incidents, one after the other."""
    results = [memory_limit(stage), bad_image(stage), saturation(stage)]
    stage.console.rule()
    stage.console.print(summary("Three incidents on Kubernetes", results))


def main() -> None:
    """Command line of the demonstration."""
    command("Three incidents on a real Kubernetes.", HOME, ClusterStage, play)


if __name__ == "__main__":
    main()

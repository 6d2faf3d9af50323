"""What a cluster says of its deployments, as telemetry of the services that they are part of.

    python -m autopilot.infra.bridges.kubernetes --namespace shop --otlp http://127.0.0.1:4318/v1/metrics

Once a second it lists deployments and pods (it may do nothing else) and sends by OTLP, for each deployment under the
service that its label `app.kubernetes.io/name` names, with the attribute `k8s.deployment.name`:

    k8s.deployment.desired_pods, k8s.deployment.available_pods, k8s.deployment.unavailable_pods   gauges
    k8s.deployment.stuck            gauge, 1 while a rollout has exceeded its progress deadline
    k8s.deployment.waiting_pods     gauge, pods with a container that cannot be started, as `ImagePullBackOff` or
                                    `CrashLoopBackOff` say
    k8s.deployment.oom_killed_pods  gauge, pods with a container that was killed for its memory limit in the last 20 s
    k8s.container.restarts          count of containers that were started again
    k8s.container.oom_kills         count of those that were killed for their memory limit

Without `--kubeconfig` it is the service account of the pod that it runs in. It ends with SIGTERM.
"""

import argparse
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from autopilot.infra.bridges.otlp_client import Sample, send
from autopilot.infra.effector.drivers.kubernetes_client import KubernetesClient
from autopilot.infra.effector.drivers.kubernetes_state import STUCK, cannot_start, rollout_of, selects
from autopilot.infra.effector.port import TargetError

EVERY_S = 1.0
RECENT = timedelta(seconds=20)
SERVICE_LABEL = "app.kubernetes.io/name"
OOM_KILLED = "OOMKilled"

Object = dict[str, Any]


class Restarts:
    """How often containers were started again since they were last looked at, by pod and container.

    What had happened before the first round is nothing new; in later ones a pod that was not there before is.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], int] = {}
        self._first_round = True

    def since(self, pods: Iterable[Object]) -> tuple[int, int]:
        """Restarts and those among them after an OOM kill, of these pods."""
        restarts = kills = 0
        for pod in pods:
            for one in pod.get("status", {}).get("containerStatuses") or []:
                key = (pod["metadata"]["uid"], one["name"])
                more = max(0, _ends(one) - self._seen.get(key, _ends(one) if self._first_round else 0))
                self._seen[key] = _ends(one)
                restarts += more
                kills += more if _last_end(one) == OOM_KILLED else 0
        return restarts, kills

    def end_round(self, uids: set[str]) -> None:
        """All pods were looked at; those that are not among these are gone."""
        self._first_round = False
        self._seen = {key: count for key, count in self._seen.items() if key[0] in uids}


def _ends(container: Object) -> int:
    """How often it has ended: it was started again so often, and once more when it has ended and waits."""
    return int(container.get("restartCount", 0)) + bool(container.get("state", {}).get("terminated"))


def _last_end(container: Object) -> str:
    return str(_end_of(container).get("reason", ""))


def _end_of(container: Object) -> Object:
    now: Object | None = container.get("state", {}).get("terminated")
    return now or container.get("lastState", {}).get("terminated") or {}


def was_oom_killed(pod: Object, now: datetime) -> bool:
    """Whether a container of the pod was killed for its memory limit not long ago."""
    ends = [_end_of(one) for one in pod.get("status", {}).get("containerStatuses") or []]
    times = [datetime.fromisoformat(end["finishedAt"]) for end in ends if end.get("reason") == OOM_KILLED]
    return any(now - time < RECENT for time in times)


class KubernetesBridge:
    """See the module."""

    def __init__(self, client: KubernetesClient, namespaces: Iterable[str], endpoint: str) -> None:
        self._client = client
        self._namespaces = tuple(namespaces)
        self._endpoint = endpoint
        self._restarts = Restarts()
        self._unsent: dict[str, tuple[int, int]] = {}
        self._log = structlog.get_logger("autopilot.bridge.kubernetes")

    def run(self, stop: threading.Event) -> None:
        """Tells until `stop` is set."""
        due = time.monotonic()
        while not stop.is_set():
            try:
                self.turn()
            except TargetError as error:
                self._log.warning("the cluster cannot be read", error=str(error))
            due = max(due + EVERY_S, time.monotonic())
            stop.wait(due - time.monotonic())

    def turn(self) -> None:
        """Looks once and tells it. Raises `TargetError` when the cluster cannot be read."""
        if send(self._endpoint, self.samples()):
            self._unsent.clear()
        else:
            self._log.warning("telemetry was not taken", endpoint=self._endpoint)

    def samples(self) -> dict[str, list[Sample]]:
        """What is to be told now, by service; counts are those since the last that were taken."""
        samples: dict[str, list[Sample]] = {}
        uids: set[str] = set()
        for namespace in self._namespaces:
            pods = self._client.listed("pods", namespace)
            uids |= {pod["metadata"]["uid"] for pod in pods}
            for deployment in self._client.listed("deployments", namespace):
                service = deployment["metadata"].get("labels", {}).get(SERVICE_LABEL, "")
                if service:
                    samples.setdefault(service, []).extend(self._of(namespace, deployment, pods))
        self._restarts.end_round(uids)
        return samples

    def _of(self, namespace: str, deployment: Object, pods: Iterable[Object]) -> Iterator[Sample]:
        name, status = deployment["metadata"]["name"], deployment.get("status", {})
        mine, now = [pod for pod in pods if _is_of(pod, deployment)], datetime.now(UTC)
        restarts, kills = self._restarts.since(mine)
        before = self._unsent.get(f"{namespace}/{name}", (0, 0))
        counts = self._unsent[f"{namespace}/{name}"] = (before[0] + restarts, before[1] + kills)
        attributes = {"k8s.namespace.name": namespace, "k8s.deployment.name": name}
        levels = {
            "k8s.deployment.desired_pods": deployment["spec"].get("replicas", 1),
            "k8s.deployment.available_pods": status.get("availableReplicas", 0),
            "k8s.deployment.unavailable_pods": status.get("unavailableReplicas", 0),
            "k8s.deployment.waiting_pods": sum(map(cannot_start, mine)),
            "k8s.deployment.oom_killed_pods": sum(was_oom_killed(pod, now) for pod in mine),
            "k8s.deployment.stuck": int(rollout_of(deployment) == STUCK),
        }
        yield from (Sample(metric, attributes, float(value)) for metric, value in levels.items())
        yield Sample("k8s.container.restarts", attributes, float(counts[0]), delta=True)
        yield Sample("k8s.container.oom_kills", attributes, float(counts[1]), delta=True)


def _is_of(pod: Object, deployment: Object) -> bool:
    return selects(deployment["spec"]["selector"], pod["metadata"].get("labels") or {})


def main() -> None:
    """Command line of the bridge."""
    parser = argparse.ArgumentParser(description="Tells the autopilot what a Kubernetes cluster says of deployments.")
    parser.add_argument("--namespace", action="append", required=True, help="may be given several times")
    parser.add_argument("--otlp", required=True, help="where it sends to, such as http://127.0.0.1:4318/v1/metrics")
    parser.add_argument("--kubeconfig", type=Path, help="without one: the service account of the pod")
    parser.add_argument("--context", default="", help="of the kubeconfig")
    arguments = parser.parse_args()
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    client = KubernetesClient(arguments.kubeconfig, arguments.context, "autopilot-bridge")
    KubernetesBridge(client, arguments.namespace, arguments.otlp).run(stopped)


if __name__ == "__main__":
    main()

"""What the bridge tells of pods and rollouts, its counts of restarts, and samples as the receiver reads them."""

from datetime import UTC, datetime
from typing import Any

from autopilot.infra.bridges.kubernetes import KubernetesBridge, Restarts, was_oom_killed
from autopilot.infra.bridges.otlp_client import Sample, export_request
from autopilot.infra.bridges.otlp_metrics import translate
from autopilot.infra.effector.drivers.kubernetes_client import KubernetesClient
from autopilot.schemas.events.telemetry import SeriesKind

Object = dict[str, Any]
KILLED = {"reason": "OOMKilled", "finishedAt": "2026-01-01T12:00:00Z"}


def pod(restarts: int, uid: str = "1", ended: Object | None = None, now: Object | None = None) -> Object:
    status = {"name": "web", "restartCount": restarts, "lastState": {"terminated": ended} if ended else {}}
    status["state"] = {"terminated": now} if now else {"running": {}}
    return {"metadata": {"uid": uid}, "status": {"containerStatuses": [status]}}


def test_a_restart_is_counted_once() -> None:
    restarts = Restarts()
    assert restarts.since([pod(0), pod(0, "2")]) == (0, 0)
    assert restarts.since([pod(2, ended=KILLED), pod(1, "2", {"reason": "Error"})]) == (3, 2)
    assert restarts.since([pod(2, ended=KILLED), pod(1, "2", {"reason": "Error"})]) == (0, 0)


def test_a_container_that_has_ended_and_waits_counts_before_it_is_started_again() -> None:
    restarts = Restarts()
    restarts.since([pod(0)])
    assert restarts.since([pod(0, now=KILLED)]) == (1, 1)
    assert restarts.since([pod(1, ended=KILLED)]) == (0, 0)


def test_what_happened_before_the_first_round_is_not_new_and_later_a_new_pod_is() -> None:
    restarts = Restarts()
    assert restarts.since([pod(3)]) == (0, 0)
    restarts.end_round({"1"})
    assert restarts.since([pod(4), pod(2, "2")]) == (3, 0)


def test_what_is_gone_is_forgotten() -> None:
    restarts = Restarts()
    restarts.since([pod(3)])
    restarts.end_round(set())
    assert restarts.since([pod(3)]) == (3, 0)


def test_a_pod_was_killed_for_its_memory_for_twenty_seconds() -> None:
    moments = [datetime(2026, 1, 1, 12, 0, second, tzinfo=UTC) for second in (0, 19, 20)]
    assert [was_oom_killed(pod(1, ended=KILLED), now) for now in moments] == [True, True, False]
    assert not was_oom_killed(pod(1, ended={**KILLED, "reason": "Error"}), moments[0])


class OneDeployment(KubernetesClient):
    """A cluster with `shop/web` and these of its pods."""

    def __init__(self, *pods: Object, progress: str = "NewReplicaSetAvailable") -> None:
        self._pods = list(pods)
        self._progress = progress

    def listed(self, kind: str, namespace: str) -> list[Object]:
        if kind == "pods":
            return self._pods
        status = {"observedGeneration": 1, "conditions": [{"type": "Progressing", "reason": self._progress}]}
        meta = {"name": "web", "namespace": namespace, "generation": 1, "labels": {"app.kubernetes.io/name": "web"}}
        return [{"metadata": meta, "spec": {"selector": {"matchLabels": {"app": "web"}}}, "status": status}]


def told_of(client: KubernetesClient) -> dict[str, float]:
    samples = KubernetesBridge(client, ["shop"], "http://127.0.0.1:1/v1/metrics").samples()
    return {one.metric.removeprefix("k8s.deployment."): one.value for one in samples["web"]}


def waiting(reason: str, uid: str, *, of: str = "containerStatuses") -> Object:
    status = {"name": "web", "restartCount": 0, "state": {"waiting": {"reason": reason}}}
    return {"metadata": {"uid": uid, "labels": {"app": "web"}}, "status": {of: [status]}}


def test_pods_that_cannot_be_started_are_told_apart_from_those_that_are_just_starting() -> None:
    told = told_of(
        OneDeployment(
            waiting("ImagePullBackOff", "1"),
            waiting("CrashLoopBackOff", "2"),
            waiting("ErrImageNeverPull", "3", of="initContainerStatuses"),
            waiting("ContainerCreating", "4"),
            waiting("PodInitializing", "5"),
            {"metadata": {"uid": "6", "labels": {"app": "web"}}},
            waiting("ImagePullBackOff", "7") | {"metadata": {"uid": "7", "labels": {"app": "other"}}},
        )
    )
    assert told["waiting_pods"] == 3.0


def test_a_rollout_beyond_its_progress_deadline_is_told() -> None:
    late = waiting("ImagePullBackOff", "1")
    assert told_of(OneDeployment(late))["stuck"] == 0.0
    assert told_of(OneDeployment(late, progress="ProgressDeadlineExceeded"))["stuck"] == 1.0


def test_the_receiver_reads_what_is_sent() -> None:
    samples = {
        "web": [Sample("pods", {"k8s.deployment.name": "web"}, 3.0), Sample("restarts", {}, 2.0, delta=True)],
        "other": [Sample("pods", {}, 1.0)],
    }
    translated = translate(export_request(samples, 5_000_000_000), "bridge")
    assert (translated.rejected, translated.reasons) == (0, [])
    found = {
        (service, one.metric): (one.kind, one.attributes, one.timestamps_us, one.values)
        for service, batch in translated.batches
        for one in batch.series
    }
    assert found == {
        ("web", "pods"): (SeriesKind.GAUGE, {"k8s.deployment.name": "web"}, [5_000_000], [3.0]),
        ("web", "restarts"): (SeriesKind.DELTA, {}, [5_000_000], [2.0]),
        ("other", "pods"): (SeriesKind.GAUGE, {}, [5_000_000], [1.0]),
    }

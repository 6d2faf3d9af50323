"""What the Kubernetes driver does beyond what every driver does, at a real cluster with the role that ships."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from systems.kubernetes import (
    ABSENT,
    NAME,
    NAMESPACE,
    NODE,
    READY_WITHIN_S,
    TARGET,
    V1,
    V2,
    V3,
    Kubernetes,
    await_until,
    kubernetes,
    manifest,
)

from autopilot.infra.bridges.kubernetes import KubernetesBridge, Restarts
from autopilot.infra.effector.driver_file import read_drivers
from autopilot.infra.effector.drivers.kubernetes_client import KubernetesClient
from autopilot.infra.effector.port import (
    Applied,
    ConflictError,
    DeniedError,
    KeyedDriver,
    PartialError,
    PermanentError,
    TargetTimeoutError,
)
from autopilot.schemas.events.planner import Action
from examples.kubernetes.cluster import MANIFESTS

PATIENT_S = 600
"""Kubernetes' own progress deadline."""


def act(verb: str, target: str = TARGET, **parameters: str) -> Action:
    return Action(driver="kubernetes", verb=verb, target=target, parameters=parameters)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    with kubernetes(tmp_path_factory.mktemp("kubernetes")) as system:
        yield system


@pytest.fixture
def web(cluster: Kubernetes) -> Kubernetes:
    """Two pods of release v1."""
    cluster.reset()
    return cluster


def run(
    system: Kubernetes, verb: str, target: str = TARGET, timeout_s: float = READY_WITHIN_S, **parameters: str
) -> Applied:
    action = act(verb, target, **parameters)
    return system.driver.apply(action, system.driver.observe(target), f"key-{verb}-{parameters}", timeout_s)


def test_it_observes_what_is_declared_and_what_runs(web: Kubernetes) -> None:
    web.deploy(V2)
    state = dict(web.driver.observe(TARGET).state)
    first, second = (entry.partition("=")[2] for entry in state.pop("revisions").split(","))
    assert first != second
    assert state == {
        "release": V2,
        "previous_release": V1,
        "desired": "2",
        "running": "2",
        "unavailable": "0",
        "min": "1",
        "max": "4",
        "rollout": "complete",
        "revision": "2",
        "previous_revision": "1",
        "template": second,
        "memory_limit": "32Mi",
        "memory_limit_mib": "32",
        "previous_memory_limit_mib": "",
        "restart_key": "",
    }


# -- conflicts -------------------------------------------------------------------------------------------------------


def test_fields_of_a_manager_that_is_not_named_are_not_taken(web: Kubernetes) -> None:
    web.cluster.kubectl("scale", f"deployment/{NAME}", "-n", NAMESPACE, "--replicas=3")
    web.settle()
    with pytest.raises(ConflictError, match='conflict with "kubectl"'):
        run(web, "scale", count="2")
    assert web.driver.observe(TARGET).state["desired"] == "3"


def test_our_own_fields_are_ours_whatever_they_were_changed_by(web: Kubernetes) -> None:
    run(web, "set_image", image=V2)
    run(web, "rollback", revision="1")
    run(web, "scale", count="3")
    assert run(web, "set_image", image=V3).changed
    state = web.driver.observe(TARGET).state
    assert (state["release"], state["desired"], state["memory_limit"]) == (V3, "3", "32Mi")


def test_where_there_was_no_limit_there_is_none_again(web: Kubernetes) -> None:
    patch = '[{"op": "remove", "path": "/spec/template/spec/containers/0/resources"}]'
    web.cluster.kubectl("patch", f"deployment/{NAME}", "-n", NAMESPACE, "--type=json", "-p", patch)
    web.settle()
    before = web.driver.observe(TARGET).state
    assert run(web, "set_limit", memory="48Mi").after["memory_limit_mib"] == "48"
    after = web.driver.revert(act("set_limit", memory="48Mi"), before, "key", READY_WITHIN_S).after
    assert (before["memory_limit"], after["memory_limit"]) == ("", "")
    assert after["template"] == before["template"]


# -- rollouts that do not end ----------------------------------------------------------------------------------------


def test_a_rollout_beyond_its_progress_deadline_says_why(web: Kubernetes) -> None:
    _give_up_after(web, 2)
    before = web.driver.observe(TARGET).state
    with pytest.raises(PartialError, match="exceeded its progress deadline"):
        run(web, "set_image", image=ABSENT)
    await_until(lambda: _told(web, "waiting_pods") == 1.0)
    with pytest.raises(PermanentError, match=r"exceeded its progress deadline.*ErrImageNeverPull"):
        run(web, "set_image", image=ABSENT)
    state = web.driver.observe(TARGET).state
    assert (state["rollout"], state["running"]) == ("stuck", "2")
    _give_up_after(web, PATIENT_S)
    assert web.driver.revert(act("set_image", image=ABSENT), before, "key", READY_WITHIN_S).after["release"] == V1
    assert web.driver.observe(TARGET).state["rollout"] == "complete"


def test_a_rollout_that_is_stuck_is_told_by_the_bridge_and_rolled_back(web: Kubernetes) -> None:
    _give_up_after(web, 2)
    web.cluster.kubectl("set", "image", f"deployment/{NAME}", f"*={ABSENT}", "-n", NAMESPACE)
    await_until(lambda: web.driver.observe(TARGET).state["rollout"] == "stuck")
    await_until(lambda: _told(web, "waiting_pods") == 1.0)
    await_until(lambda: _told(web, "stuck") == 1.0)
    assert _told(web, "available_pods") == 2.0
    _give_up_after(web, PATIENT_S)
    after = run(web, "rollback").after
    assert (after["release"], after["rollout"], after["running"]) == (V1, "complete", "2")
    await_until(lambda: _told(web, "waiting_pods") == 0.0)
    assert (_told(web, "stuck"), _told(web, "available_pods")) == (0.0, 2.0)


def _give_up_after(web: Kubernetes, seconds: int) -> None:
    """Sets the progress deadline; the bridge tells of the deployment from now on."""
    patch = {
        "spec": {"progressDeadlineSeconds": seconds},
        "metadata": {"labels": {"app.kubernetes.io/name": "web"}},
    }
    web.cluster.kubectl("patch", f"deployment/{NAME}", "-n", NAMESPACE, "-p", json.dumps(patch))


def _told(web: Kubernetes, metric: str) -> float:
    reader = KubernetesClient(Path(web.cluster.credential("autopilot-bridge")), "", "bridge")
    told = KubernetesBridge(reader, [NAMESPACE], "http://127.0.0.1:1/v1/metrics").samples()
    return next(one.value for one in told["web"] if one.metric == f"k8s.deployment.{metric}")


def test_a_restart_that_was_cut_short_goes_on_under_its_key(web: Kubernetes) -> None:
    action, before = act("restart"), web.driver.observe(TARGET)
    web.cordon(True)
    with pytest.raises(TargetTimeoutError, match="did not end in time"):
        web.driver.apply(action, before, "key-1", 1.0)
    generation = web.generation()
    assert isinstance(web.driver, KeyedDriver)
    assert web.driver.done_under(action, "key-1") is None
    web.cordon(False)
    assert not web.driver.apply(action, before, "key-1", READY_WITHIN_S).changed
    assert web.generation() == generation


# -- nodes -----------------------------------------------------------------------------------------------------------


def test_a_drain_waits_for_a_disruption_budget_and_says_so(web: Kubernetes) -> None:
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": NAME}}},
    }
    web.cluster.kubectl("apply", "-f", "-", given=yaml.safe_dump(budget))
    try:
        await_until(lambda: _allowed(web) == "1")
        with pytest.raises(TargetTimeoutError, match=r"1 pods are still there.*disruption budget"):
            run(web, "drain", f"node/{NODE}", timeout_s=20.0)
    finally:
        web.cluster.kubectl("delete", "pdb", NAME, "-n", NAMESPACE)
    state = web.driver.observe(f"node/{NODE}").state
    assert (state["unschedulable"], state["evictable"]) == ("true", "1")


def _allowed(web: Kubernetes) -> str:
    return web.cluster.kubectl("get", "pdb", NAME, "-n", NAMESPACE, "-o", "jsonpath={.status.disruptionsAllowed}")


def test_a_pod_that_nothing_would_start_elsewhere_is_not_evicted(web: Kubernetes) -> None:
    web.cluster.kubectl("run", "alone", "-n", NAMESPACE, f"--image={V1}", "--image-pull-policy=Never")
    web.cluster.kubectl("wait", "--for=condition=Ready", "pod/alone", "-n", NAMESPACE, f"--timeout={READY_WITHIN_S}s")
    try:
        with pytest.raises(PermanentError, match=f"`{NAMESPACE}/alone` belongs to nothing"):
            run(web, "drain", f"node/{NODE}")
        assert web.driver.observe(f"node/{NODE}").state["unschedulable"] == "false"
    finally:
        web.cluster.kubectl("delete", "pod", "alone", "-n", NAMESPACE, "--now")


# -- least privilege and bounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "verb", "named"),
    [
        ("kube-system/coredns", "scale", "kube-system"),
        ("web", "scale", "NAMESPACE/DEPLOYMENT"),
        (f"node/{NODE}", "scale", "cannot be done"),
        (TARGET, "drain", "cannot be done"),
        ("node/other", "drain", "`other`"),
    ],
)
def test_what_the_settings_do_not_name_is_not_touched(web: Kubernetes, target: str, verb: str, named: str) -> None:
    with pytest.raises(PermanentError, match=named):
        web.driver.apply(act(verb, target, count="2"), web.driver.observe(TARGET), "key", 5.0)


def test_another_namespace_is_denied_by_the_cluster_also_when_the_settings_name_it(web: Kubernetes) -> None:
    with pytest.raises(DeniedError, match="403"):
        web.another(namespaces=["kube-system"]).observe("kube-system/anything")


def test_a_preview_is_denied_what_the_act_would_be_denied(web: Kubernetes) -> None:
    bridge = web.another(kubeconfig=web.cluster.credential("autopilot-bridge"))
    with pytest.raises(DeniedError):
        bridge.diff(act("scale", count="3"), web.driver.observe(TARGET))
    assert web.driver.observe(TARGET).state["desired"] == "2"


def _as_effector(web: Kubernetes) -> Any:
    return config.new_client_from_config(web.entry["kubeconfig"], persist_config=False)


@pytest.mark.parametrize("act_outside", ["secrets", "create", "delete", "exec", "delete_node"])
def test_the_role_that_ships_gives_no_more_than_the_verbs_need(web: Kubernetes, act_outside: str) -> None:
    api = _as_effector(web)
    core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
    outside = {
        "secrets": lambda: core.list_namespaced_secret(NAMESPACE),
        "create": lambda: apps.create_namespaced_deployment(NAMESPACE, manifest(V1, 1)),
        "delete": lambda: apps.delete_namespaced_deployment(NAME, NAMESPACE),
        "exec": lambda: core.connect_post_namespaced_pod_exec("any", NAMESPACE, command=["id"]),
        "delete_node": lambda: core.delete_node(NODE),
    }
    with pytest.raises(ApiException) as refused:
        outside[act_outside]()
    assert refused.value.status == 403


# -- threads, and the bridge -----------------------------------------------------------------------------------------


def test_several_threads_observe_at_once(web: Kubernetes) -> None:
    seen: list[str] = []
    threads = [
        threading.Thread(target=lambda: seen.extend(web.driver.observe(TARGET).state["release"] for _ in range(5)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [V1] * 30


def test_the_bridge_tells_of_deployments_by_what_it_may_list(web: Kubernetes) -> None:
    label = f"deployment/{NAME}"
    web.cluster.kubectl("label", label, "-n", NAMESPACE, "app.kubernetes.io/name=web", "--overwrite")
    reader = KubernetesClient(Path(web.cluster.credential("autopilot-bridge")), "", "bridge")
    told = KubernetesBridge(reader, [NAMESPACE], "http://127.0.0.1:1/v1/metrics").samples()
    levels = {one.metric: (one.value, one.attributes["k8s.deployment.name"]) for one in told["web"]}
    assert levels["k8s.deployment.desired_pods"] == (2.0, NAME)
    assert levels["k8s.deployment.available_pods"] == (2.0, NAME)
    assert levels["k8s.container.restarts"] == (0.0, NAME)
    assert Restarts().since(reader.listed("pods", NAMESPACE)) == (0, 0)


@pytest.mark.parametrize("file", sorted(MANIFESTS.glob("*.yaml")), ids=lambda file: file.stem)
def test_what_ships_for_a_cluster_is_taken_by_one(web: Kubernetes, file: Path) -> None:
    where = ["-n", NAMESPACE] if file.stem.endswith("-role") else []
    taken = web.cluster.kubectl("apply", "--dry-run=server", *where, "-f", str(file)).splitlines()
    assert taken
    assert all(line.endswith("(server dry run)") for line in taken)


def test_the_targets_that_ship_are_settings_of_the_driver(tmp_path: Path) -> None:
    config_map = next(yaml.safe_load_all((MANIFESTS / "effector.yaml").read_text()))
    path = tmp_path / "targets.yaml"
    path.write_text(config_map["data"]["targets.yaml"])
    assert list(read_drivers(path)) == ["kubernetes"]

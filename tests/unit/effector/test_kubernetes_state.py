"""What the Kubernetes driver reads from objects of the API: states, revisions, progress."""

from typing import Any

import pytest

from autopilot.infra.effector.drivers.kubernetes_client import selector_text
from autopilot.infra.effector.drivers.kubernetes_state import (
    bytes_of,
    complaints_of,
    deployment_state,
    is_evictable,
    node_state,
    revisions_in,
    rollout_of,
    selects,
    template_of,
)

Object = dict[str, Any]


def template(image: str = "web:v1", memory: str = "64Mi", **annotations: str) -> Object:
    limits = {"limits": {"memory": memory}} if memory else {}
    container = {"name": "web", "image": image, "resources": limits}
    return {"metadata": {"labels": {"app": "web"}, "annotations": annotations}, "spec": {"containers": [container]}}


def deployment(**counts: int) -> Object:
    status = {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}
    return {
        "metadata": {"generation": 3, "annotations": {"deployment.kubernetes.io/revision": "3"}},
        "spec": {"replicas": 2, "template": template()},
        "status": status | counts,
    }


def replica_set(revision: int, digest: str, of: Object) -> Object:
    labels = {"app": "web", "pod-template-hash": digest}
    return {
        "metadata": {"labels": labels, "annotations": {"deployment.kubernetes.io/revision": str(revision)}},
        "spec": {"template": {**of, "metadata": {**of["metadata"], "labels": labels}}},
    }


@pytest.mark.parametrize(
    ("quantity", "size"),
    [
        ("64Mi", 67108864),
        ("1G", 10**9),
        ("1024", 1024),
        ("1Ki", 1024),
        ("", None),
        ("-1Mi", None),
        ("1.5Gi", None),
        ("5Q", None),
    ],
)
def test_a_quantity_is_whole_bytes_or_none(quantity: str, size: int | None) -> None:
    assert bytes_of(quantity) == size


def test_what_ran_before_is_the_newest_that_was_another() -> None:
    sets = [
        replica_set(1, "aa", template("web:v0", "32Mi")),
        replica_set(2, "bb", template("web:v1", "32Mi")),
        replica_set(3, "cc", template("web:v1", "64Mi")),
    ]
    state = deployment_state(deployment(), sets, 1, 5)
    assert (state["release"], state["previous_release"]) == ("web:v1", "web:v0")
    assert (state["memory_limit_mib"], state["previous_memory_limit_mib"]) == ("64", "32")
    assert (state["template"], state["previous_revision"]) == ("cc", "2")
    assert revisions_in(state) == {"1": "aa", "2": "bb", "3": "cc"}


def test_a_template_is_put_back_without_its_hash() -> None:
    assert template_of(replica_set(1, "aa", template())) == template()


def test_of_several_containers_the_default_one_counts() -> None:
    several = template(**{"kubectl.kubernetes.io/default-container": "web"})
    several["spec"]["containers"].insert(0, {"name": "sidecar", "image": "proxy:9"})
    state = deployment_state({**deployment(), "spec": {"replicas": 2, "template": several}}, [], 1, 5)
    assert (state["release"], state["memory_limit"]) == ("web:v1", "64Mi")


def stuck() -> Object:
    late = deployment(availableReplicas=1)
    late["status"]["conditions"] = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
    return late


@pytest.mark.parametrize(
    ("seen", "rollout"),
    [
        (deployment(), "complete"),
        (deployment(replicas=3), "progressing"),
        (deployment(updatedReplicas=1), "progressing"),
        (deployment(observedGeneration=2), "progressing"),
        (stuck(), "stuck"),
    ],
    ids=["complete", "old pods are left", "not all are new", "not seen yet", "beyond its deadline"],
)
def test_how_far_a_rollout_is(seen: Object, rollout: str) -> None:
    assert rollout_of(seen) == rollout


def pod(status: Object | None = None, **meta: Any) -> Object:
    return {"metadata": {"name": "web-1", **meta}, "status": status or {"phase": "Running"}}


def test_pods_say_why_they_are_not_ready() -> None:
    waits = {"ready": False, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    killed = {"ready": False, "lastState": {"terminated": {"reason": "OOMKilled"}}}
    well = {"ready": True, "lastState": {"terminated": {"reason": "Error"}}}
    assert complaints_of([pod({"containerStatuses": [waits | killed, well]})]) == "CrashLoopBackOff, OOMKilled"


def test_pods_say_which_of_their_first_containers_keeps_them() -> None:
    first = {"ready": False, "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    then = {"ready": False, "state": {"waiting": {"reason": "PodInitializing"}}}
    status = {"initContainerStatuses": [first], "containerStatuses": [then]}
    assert complaints_of([pod(status)]) == "ImagePullBackOff, PodInitializing"


def test_a_drain_leaves_what_the_node_keeps_and_what_has_ended() -> None:
    kept = pod(ownerReferences=[{"kind": "DaemonSet"}])
    static = pod(annotations={"kubernetes.io/config.mirror": "1"})
    node = {"spec": {"unschedulable": True}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert [is_evictable(one) for one in (pod(), kept, static, pod({"phase": "Succeeded"}))] == [
        True,
        False,
        False,
        False,
    ]
    assert node_state(node, [pod(), kept]) == {"unschedulable": "true", "ready": "true", "evictable": "1"}


def test_a_selector_is_written_as_lists_take_it() -> None:
    expressions = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "old", "operator": "DoesNotExist"},
    ]
    selector = {"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": expressions}
    assert selector_text(selector) == "a=1,b=2,tier in (a,b),!old"


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "web", "tier": "a"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "shop"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["a"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, True),
        ({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_a_selector_takes_what_every_part_of_it_takes(selector: Object, selected: bool) -> None:
    assert selects(selector, {"app": "web"}) is selected

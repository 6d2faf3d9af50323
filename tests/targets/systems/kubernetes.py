"""A real cluster of one node with one deployment, `shop/web`, whose pods wait; made anew for each test."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config

from autopilot.infra.effector.drivers.kubernetes import KubernetesDriver, KubernetesSettings
from autopilot.infra.effector.drivers.kubernetes_client import APPLY, KubernetesClient
from autopilot.infra.effector.drivers.kubernetes_state import COMPLETE, rollout_of
from autopilot.infra.effector.port import Driver, MissingError
from examples.kubernetes.cluster import Cluster, ClusterError, built_binaries, image_archive

NAMESPACE, NAME, NODE = "shop", "web", "node-1"
TARGET = f"{NAMESPACE}/{NAME}"
V1, V2, V3, ABSENT = (f"localhost/web:{tag}" for tag in ("v1", "v2", "v3", "absent"))
DEPLOYER = "deployer"
"""Field manager of whoever deploys, from whom the autopilot may take fields over."""
READY_WITHIN_S = 180
_MEMORY = "32Mi"


class Kubernetes:
    """The cluster, and what a test does there as its administrator."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._client = KubernetesClient(cluster.kubeconfig, "", DEPLOYER)
        self._apps = client.AppsV1Api(config.new_client_from_config(str(cluster.kubeconfig), persist_config=False))
        self._made: tuple[int, tuple[str, ...], int | None] | None = None
        self.entry: dict[str, Any] = {
            "driver": "kubernetes",
            "kubeconfig": str(cluster.credential("autopilot-effector")),
            "namespaces": [NAMESPACE],
            "nodes": ["node-*"],
            "images": ["localhost/web:"],
            "max_replicas": 4,
            "max_memory_mib": 64,
            "takes_over_from": [DEPLOYER],
        }
        self.driver = self.another()

    def another(self, **settings: Any) -> Driver:
        """A driver with other settings."""
        entry = {name: value for name, value in self.entry.items() if name != "driver"}
        return KubernetesDriver(KubernetesSettings.model_validate(entry | settings))

    def reset(self, *, replicas: int = 2, releases: tuple[str, ...] = (V1,), cordoned: bool = False) -> None:
        """The deployment made anew, with a revision for each of the releases; the last one runs.

        One that nobody has touched since it was made so is left as it is.
        """
        self.cordon(False)
        if self._made != (replicas, releases, self._generation_or_none()):
            self.delete()
            for release in releases:
                self.deploy(release, replicas)
            self._made = (replicas, releases, self.generation())
        self.settle()
        self.cordon(cordoned)

    def deploy(self, release: str, replicas: int = 2, *, manager: str = DEPLOYER) -> None:
        """Deploys a release as a pipeline would, and waits until it runs."""
        self._apps.patch_namespaced_deployment(
            NAME, NAMESPACE, manifest(release, replicas), field_manager=manager, force=True, _content_type=APPLY
        )
        self.settle()

    def settle(self) -> None:
        """Waits for the end of the rollout."""
        await_until(lambda: rollout_of(self._client.deployment(NAMESPACE, NAME)) == COMPLETE)

    def delete(self) -> None:
        """Deletes the deployment, and waits until its pods are gone."""
        if self._generation_or_none() is not None:
            self._apps.delete_namespaced_deployment(NAME, NAMESPACE, propagation_policy="Foreground")
            await_until(lambda: self._generation_or_none() is None)

    def cordon(self, wanted: bool) -> None:
        """Cordons the node or ends that."""
        node = self._client.node(NODE)
        if bool(node["spec"].get("unschedulable")) != wanted:
            self.cluster.kubectl("cordon" if wanted else "uncordon", NODE)

    def generation(self) -> int:
        """How often the deployment's wanted state was changed, as the API server counts it."""
        return int(self._client.deployment(NAMESPACE, NAME)["metadata"]["generation"])

    def _generation_or_none(self) -> int | None:
        try:
            return self.generation()
        except MissingError:
            return None

    def writes(self, *resources: str) -> int:
        """What the effector's account has written to such resources, as the API server's audit tells it."""
        text = self.cluster.audit_log.read_text() if self.cluster.audit_log.exists() else ""
        whole_lines = text.splitlines(keepends=True)
        return sum(_is_write(json.loads(line), resources) for line in whole_lines if line.endswith("\n"))

    def unreachable(self) -> Path:
        """A credential for an address at which nobody listens."""
        config = yaml.safe_load(Path(self.entry["kubeconfig"]).read_text())
        config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
        path = self.cluster.folder / "unreachable.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path


@contextmanager
def kubernetes(folder: Path) -> Iterator[Kubernetes]:
    """The cluster for as long as the context lasts."""
    root = folder / "image"
    root.mkdir()
    (root / "wait").write_bytes((built_binaries() / "wait").read_bytes())
    (root / "wait").chmod(0o755)
    images = [
        image_archive(folder / f"{name.partition(':')[2]}.tar", name, root, "/wait", name) for name in (V1, V2, V3)
    ]
    with Cluster(images) as cluster:
        cluster.grant(NAMESPACE, nodes=True)
        yield Kubernetes(cluster)


def manifest(release: str, replicas: int) -> dict[str, Any]:
    """The deployment as a pipeline would apply it."""
    labels = {"app": NAME}
    container = {
        "name": NAME,
        "image": release,
        "imagePullPolicy": "Never",
        "resources": {"limits": {"memory": _MEMORY}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
            },
        },
    }


def _is_write(event: dict[str, Any], resources: tuple[str, ...]) -> bool:
    about = event["objectRef"]
    named = "/".join(part for part in (about["resource"], about.get("subresource", "")) if part)
    dry = "dryRun=All" in event["requestURI"]
    return named in resources and not dry and event["responseStatus"]["code"] < 300


def await_until(reached: Any, within_s: float = READY_WITHIN_S) -> None:
    """Waits until `reached()`. Raises `ClusterError` when the time is up."""
    deadline = time.monotonic() + within_s
    while not reached():
        if time.monotonic() > deadline:
            raise ClusterError(f"it did not come about within {within_s:.0f} s")
        time.sleep(0.1)

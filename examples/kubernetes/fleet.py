"""The checkout in a cluster of its own: its image built, its releases deployed, broken and scaled as people would."""

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from examples.kubernetes.cluster import Cluster, ClusterError, image_archive
from examples.shop.fleet import ShopFleet
from examples.shop.layout import Group
from examples.shop.processes import end, start

HERE = Path(__file__).parent
NAMESPACE = "shop"
STABLE = Group(f"{NAMESPACE}/checkout", "checkout", processes=7, started=3)
CANARY = Group(f"{NAMESPACE}/checkout-canary", "checkout", processes=2, started=1)
RELEASES = ("v1", "v2")
SELLS_WITHIN_S = 60
BRIDGE, EFFECTOR = "autopilot-bridge", "autopilot-effector"


class ClusterFleet(ShopFleet):
    """Two deployments of one service, and the bridge that tells what the cluster says of them."""

    def __init__(self, run: Path, otlp_endpoint: str) -> None:
        super().__init__(run, otlp_endpoint, (STABLE, CANARY))
        self._ending = ExitStack()
        self._cluster: Cluster | None = None

    @property
    def cluster(self) -> Cluster:
        """The cluster, once it is started."""
        if self._cluster is None:
            raise ClusterError("the cluster is not started")
        return self._cluster

    @property
    def targets_file(self) -> Path:
        """The effector's driver with its bounds."""
        return self.layout.root / "targets.yaml"

    # -- life --------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Builds the images, starts the cluster, and writes down the effector's target with its bounds."""
        shutil.rmtree(self.layout.root, ignore_errors=True)
        self.layout.logs.mkdir(parents=True)
        self.set_rate(0)
        self._cluster = self._ending.enter_context(Cluster(self._images()))
        self.cluster.grant(NAMESPACE)
        driver: dict[str, Any] = {
            "driver": "kubernetes",
            "kubeconfig": str(self.cluster.credential(EFFECTOR)),
            "namespaces": [NAMESPACE],
            "images": ["localhost/checkout:"],
            "max_replicas_of": {group.name: group.processes for group in self.groups},
            "max_memory_mib": 64,
            "takes_over_from": ["kubectl", "kubectl-set"],
        }
        self.targets_file.write_text(yaml.safe_dump({"drivers": [driver]}, sort_keys=False))

    def launch(self, _timeout_s: float = SELLS_WITHIN_S) -> None:
        """Deploys the first release, and starts the bridge."""
        self.cluster.kubectl("apply", "--server-side", "-f", str(HERE / "app" / "shop.yaml"))
        bridge = ["autopilot.infra.bridges.kubernetes", "--namespace", NAMESPACE, "--otlp", self._endpoint]
        command = [sys.executable, "-m", *bridge, "--kubeconfig", str(self.bridge_credential())]
        self._ending.callback(end, start(command, self.layout.logs / "bridge.log"))

    def await_selling(self, timeout_s: float = SELLS_WITHIN_S) -> None:
        """Waits until both deployments are rolled out."""
        for name in self._deployments():
            self.cluster.kubectl("rollout", "status", name, "-n", NAMESPACE, f"--timeout={timeout_s:.0f}s")

    def stop(self) -> None:
        """Ends the bridge and the cluster."""
        self._ending.close()

    # -- what happens to it ------------------------------------------------------------------------------------------

    def release(self, release: str) -> None:
        """Puts a release into use everywhere, as a delivery pipeline would."""
        for name in self._deployments():
            self.cluster.kubectl("set", "image", name, f"checkout=localhost/checkout:{release}", "-n", NAMESPACE)

    def limit_memory(self, memory: str) -> None:
        """Gives all pods another memory limit."""
        for name in self._deployments():
            self.cluster.kubectl("set", "resources", name, f"--limits=memory={memory}", "-n", NAMESPACE)

    def seen(self, group: Group, path: str) -> str:
        """A field of a deployment, by its JSONPath."""
        return self.cluster.kubectl("get", f"deployment/{_name(group)}", "-n", NAMESPACE, "-o", f"jsonpath={path}")

    def pods(self) -> list[str]:
        """The names of the pods that are there."""
        found = self.cluster.kubectl("get", "pods", "-n", NAMESPACE, "-o", "jsonpath={.items[*].metadata.name}")
        return found.split()

    def bridge_credential(self) -> Path:
        """A kubeconfig that may list what is there, and nothing else."""
        return self.cluster.credential(BRIDGE)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _deployments(self) -> list[str]:
        return [f"deployment/{_name(group)}" for group in self.groups]

    def _images(self) -> list[Path]:
        """One image for each release: the same program, another price list."""
        root = self.layout.root / "image"
        root.mkdir()
        environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
        build = ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(root / "checkout"), "."]
        subprocess.run(build, cwd=HERE / "app", env=environment, check=True)
        return [self._image(release, root) for release in RELEASES]

    def _image(self, release: str, root: Path) -> Path:
        shutil.copy(HERE / "app" / "releases" / release / "prices.json", root / "prices.json")
        archive = self.layout.root / f"{release}.tar"
        return image_archive(archive, f"localhost/checkout:{release}", root, "/checkout")


def _name(group: Group) -> str:
    return group.name.partition("/")[2]

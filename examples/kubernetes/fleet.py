"""A checkout and a kiosk in a cluster: images built, releases deployed, broken and scaled as people would."""

import os
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from autopilot.infra.platform.ports import free_port
from examples.kubernetes.cluster import Cluster, ClusterError, image_archive
from examples.shop.fleet import ShopFleet
from examples.shop.layout import Group, Layout
from examples.shop.processes import end, start

HERE = Path(__file__).parent
CHECKOUT, KIOSK = "checkout", "kiosk"
NAMESPACES = {CHECKOUT: "shop", KIOSK: "kiosk"}
STABLE = Group("shop/checkout", CHECKOUT, processes=7, started=3)
CANARY = Group("shop/checkout-canary", CHECKOUT, processes=2, started=1)
KIOSK_STABLE = Group("kiosk/kiosk", KIOSK, processes=4, started=2)
KIOSK_CANARY = Group("kiosk/kiosk-canary", KIOSK, processes=2, started=1)
RELEASES = {CHECKOUT: ("v1", "v2"), KIOSK: ("v1",)}
"""The images that there are, by service; they have the price lists of the same name."""
DATABASE = "kiosk/price-database"
NODE_ADDRESS = '{.items[0].status.addresses[?(@.type=="InternalIP")].address}'
ASKED_WITHIN_S = 60
SELLS_WITHIN_S = 180
BRIDGE, EFFECTOR = "autopilot-bridge", "autopilot-effector"


class ClusterFleet(ShopFleet):
    """Two deployments of each service, a database, and the bridge that tells what the cluster says of them."""

    def __init__(self, run: Path, otlp_endpoint: str) -> None:
        super().__init__(run, otlp_endpoint, (STABLE, CANARY, KIOSK_STABLE, KIOSK_CANARY))
        self._database_port = free_port()
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
        self.cluster.grant(*NAMESPACES.values())
        driver: dict[str, Any] = {
            "driver": "kubernetes",
            "kubeconfig": str(self.cluster.credential(EFFECTOR)),
            "namespaces": list(NAMESPACES.values()),
            "images": [f"localhost/{service}:" for service in NAMESPACES],
            "max_replicas_of": {group.name: group.processes for group in self.groups},
            "max_memory_mib": 64,
            "takes_over_from": ["kubectl", "kubectl-set"],
        }
        self.targets_file.write_text(yaml.safe_dump({"drivers": [driver]}, sort_keys=False))

    def launch(self, _timeout_s: float = SELLS_WITHIN_S) -> None:
        """Deploys the first releases, and starts the bridge."""
        for file in ("shop.yaml", "kiosk.yaml"):
            manifest = (HERE / "app" / file).read_text().replace("DATABASE_PORT", str(self._database_port))
            self.cluster.kubectl("apply", "--server-side", "-f", "-", given=manifest)
        namespaces = [part for namespace in NAMESPACES.values() for part in ("--namespace", namespace)]
        bridge = ["autopilot.infra.bridges.kubernetes", *namespaces, "--otlp", self._endpoint]
        command = [sys.executable, "-m", *bridge, "--kubeconfig", str(self.bridge_credential())]
        self._ending.callback(end, start(command, self.layout.logs / "bridge.log"))

    def await_selling(self, timeout_s: float = SELLS_WITHIN_S) -> None:
        """Waits until every deployment is rolled out."""
        for name in (DATABASE, *(group.name for group in self.groups)):
            self.cluster.kubectl("rollout", "status", *_deployment(name), f"--timeout={timeout_s:.0f}s")

    def stop(self) -> None:
        """Ends the bridge and the cluster."""
        self._ending.close()

    # -- what happens to it ------------------------------------------------------------------------------------------

    def release(self, service: str, release: str) -> None:
        """Puts a release of a service into use everywhere, as a delivery pipeline would."""
        for group in self._groups_of(service):
            image = f"{service}=localhost/{service}:{release}"
            self.cluster.kubectl("set", "image", *_deployment(group.name), image)

    def limit_memory(self, service: str, memory: str) -> None:
        """Gives all pods of a service another memory limit."""
        for group in self._groups_of(service):
            self.cluster.kubectl("set", "resources", *_deployment(group.name), f"--limits=memory={memory}")

    def slow_database(self, work: str) -> None:
        """Lets each look-up in the kiosk's price database take so long, such as `700ms`."""
        address = self.cluster.kubectl("get", "nodes", "-o", f"jsonpath={NODE_ADDRESS}")
        url = f"http://{address}:{self._database_port}/slow"
        form = urllib.parse.urlencode({"work": work}).encode()
        with urllib.request.urlopen(url, data=form, timeout=ASKED_WITHIN_S):
            pass

    def load_of(self, service: str) -> Layout:
        """The run folder of a service's load."""
        return self.layout if service == CHECKOUT else Layout(self.layout.root / service)

    def seen(self, group: Group, path: str) -> str:
        """A field of a deployment, by its JSONPath."""
        return self.cluster.kubectl("get", *_deployment(group.name), "-o", f"jsonpath={path}")

    def pods(self, service: str) -> list[str]:
        """The names of the pods of a service that are there."""
        where = ("-n", NAMESPACES[service], "-l", f"app={service}")
        return self.cluster.kubectl("get", "pods", *where, "-o", "jsonpath={.items[*].metadata.name}").split()

    def bridge_credential(self) -> Path:
        """A kubeconfig that may list what is there, and nothing else."""
        return self.cluster.credential(BRIDGE)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _groups_of(self, service: str) -> list[Group]:
        return [group for group in self.groups if group.service == service]

    def _images(self) -> list[Path]:
        """One image for each release: the same program, another price list."""
        root = self.layout.root / "image"
        root.mkdir()
        environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
        build = ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(root / "checkout"), "."]
        subprocess.run(build, cwd=HERE / "app", env=environment, check=True)
        return [self._image(service, release, root) for service in RELEASES for release in RELEASES[service]]

    def _image(self, service: str, release: str, root: Path) -> Path:
        shutil.copy(HERE / "app" / "releases" / release / "prices.json", root / "prices.json")
        archive = self.layout.root / f"{service}-{release}.tar"
        return image_archive(archive, f"localhost/{service}:{release}", root, "/checkout")


def _deployment(target: str) -> tuple[str, str, str]:
    """How `kubectl` is told which deployment a target is."""
    namespace, _, name = target.partition("/")
    return f"deployment/{name}", "-n", namespace

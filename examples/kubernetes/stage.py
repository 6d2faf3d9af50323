"""The stage in the cluster: the platform, the cluster with the checkout, the bridge and the load."""

from examples.kubernetes.fleet import HERE, ClusterFleet
from examples.shop.stage import Stage

NORMAL_RATE = 16


class ClusterStage(Stage):
    """See the module."""

    documents = HERE / "documents"
    rate = NORMAL_RATE
    ground = "Kubernetes"
    load_module = "examples.kubernetes.load"
    fleet: ClusterFleet

    def make_fleet(self, otlp_endpoint: str) -> ClusterFleet:
        """See `Stage.make_fleet`."""
        self.otlp_endpoint = otlp_endpoint
        return ClusterFleet(self.home / "shop", otlp_endpoint)

    def targets(self) -> dict[str, str]:
        """See `Stage.targets`."""
        return {"TARGETS": str(self.fleet.targets_file)}

    def load_options(self) -> list[str]:
        """See `Stage.load_options`."""
        return ["--kubeconfig", str(self.fleet.bridge_credential()), "--otlp", self.otlp_endpoint]

    def started_instances(self) -> set[tuple[str, str]]:
        """See `Stage.started_instances`."""
        return {("checkout", pod) for pod in self.fleet.pods()}

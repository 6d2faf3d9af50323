"""The stage in the cluster: the platform, the cluster with the checkout and the kiosk, the bridge, a load on each."""

from examples.kubernetes.fleet import CHECKOUT, HERE, KIOSK, NAMESPACES, ClusterFleet
from examples.shop.stage import Stage
from examples.shop.watch import Told

NORMAL_RATE = 16
"""Requests a second that four pods of the checkout bear easily."""
KIOSK_RATE = 12
COLOURS = {CHECKOUT: "yellow", KIOSK: "magenta"}


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

    def start_loads(self) -> None:
        """See `Stage.start_loads`."""
        super().start_loads()
        which = ["--service", KIOSK, "--namespace", NAMESPACES[KIOSK]]
        self.start_load(self.fleet.load_of(KIOSK), KIOSK_RATE, [*self.load_options(), *which])

    def started_instances(self) -> set[tuple[str, str]]:
        """See `Stage.started_instances`."""
        return {(service, pod) for service in NAMESPACES for pod in self.fleet.pods(service)}

    def about(self, told: Told) -> str:
        """See `Stage.about`."""
        return label(told.envelope.service)

    def announce(self, title: str) -> None:
        """See `Stage.announce`. Incidents of both services run at the same time, so there is no rule between them."""
        self.say(f"[bold]{title}[/]")

    def tell(self, service: str, text: str) -> None:
        """Says something about a service."""
        self.say(f"{label(service)}{text}")


def label(service: str) -> str:
    """A service's name as lines about it begin."""
    return f"[{COLOURS.get(service, 'white')}]{service:9}[/] "

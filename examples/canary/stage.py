"""The stage of the canary: checkout in two groups of processes, HAProxy before them, and load that comes through it."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from autopilot.infra.platform.ports import free_port
from examples.canary.balancer import BACKEND, Balancer
from examples.shop.fleet import ShopFleet
from examples.shop.layout import Group
from examples.shop.stage import Stage

HERE = Path(__file__).parent
STABLE = Group("checkout-stable", "checkout", processes=2, started=2, own_ports=True)
CANARY = Group("checkout-canary", "checkout", processes=1, started=0, own_ports=True)
IDLE_RATE = 4
"""Requests a second that nobody complains about: too few for an alert."""
BUSY_RATE = 60
LARGEST_STEP_PERCENT = 75


class CanaryFleet(ShopFleet):
    """Two groups of checkouts, each instance on a port of its own, behind HAProxy."""

    def __init__(self, run: Path, otlp_endpoint: str) -> None:
        super().__init__(run, otlp_endpoint, (STABLE, CANARY), HERE / "releases")
        self._entrance = free_port()

    @property
    def entrance(self) -> int:
        """Where HAProxy listens."""
        return self._entrance

    @property
    def targets_file(self) -> Path:
        """The effector's drivers with their bounds."""
        return self.layout.root / "targets.yaml"

    def prepare(self) -> None:
        """Also writes down the effector's targets."""
        super().prepare()
        ports = self.layout.ports()
        weights = {name: weight for group, weight in ((STABLE, 1), (CANARY, 0)) for name in group.instances}
        self.balancer = Balancer(
            self.layout.root / "haproxy",
            self.entrance,
            {name: (ports[name], weight) for name, weight in weights.items()},
        )
        drivers: list[dict[str, Any]] = [
            {
                "driver": "supervisord",
                "url": f"unix://{self.socket_file}",
                "releases_dir": str(self.layout.releases),
                "max_processes": {CANARY.name: 1},
            },
            {
                "driver": "haproxy",
                "url": self.balancer.url,
                "backends": [BACKEND],
                "min_serving": 1,
                "max_step_percent": LARGEST_STEP_PERCENT,
            },
        ]
        self.targets_file.write_text(yaml.safe_dump({"drivers": drivers}, sort_keys=False))

    def offer(self, release: str) -> None:
        """A release waits for its canary, as a delivery pipeline would leave it: the canary starts with it."""
        fresh = self.layout.releases / CANARY.name / ".current.new"
        fresh.unlink(missing_ok=True)
        os.symlink(release, fresh)
        fresh.replace(self.layout.releases / CANARY.name / "current")


class CanaryStage(Stage):
    """See the module."""

    documents = HERE
    rate = IDLE_RATE
    fleet: CanaryFleet

    @property
    def requests_file(self) -> Path:
        """Every request that was sent, one a line."""
        return self.fleet.layout.root / "requests.jsonl"

    def make_fleet(self, otlp_endpoint: str) -> CanaryFleet:
        """See `Stage.make_fleet`."""
        return CanaryFleet(self.home / "shop", otlp_endpoint)

    def targets(self) -> dict[str, str]:
        """See `Stage.targets`."""
        return {"TARGETS": str(self.fleet.targets_file)}

    def open_entrance(self, ending: ExitStack) -> None:
        """Starts HAProxy."""
        self.fleet.balancer.start()
        ending.callback(self.fleet.balancer.stop)

    def load_options(self) -> list[str]:
        """See `Stage.load_options`."""
        return ["--port", str(self.fleet.entrance), "--record", str(self.requests_file)]

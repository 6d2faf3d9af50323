"""Grounds: what the services of `bench/reaction.py` run on, each with what its own history tells of restarts.

Supervisord: each process writes down when it starts. Kubernetes: the API server's audit log tells when it accepted a
restart, to the microsecond, and containerd's log when a container ran; what the API itself tells of both is in seconds.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import parse_qs, urlsplit

import yaml

from examples.kubernetes.cluster import Cluster, are_built


class Mark(NamedTuple):
    """Something of a restart that a ground can tell the time of."""

    name: str
    times_us: Callable[[str], Sequence[int]]
    """When it came about for a service, microseconds since the epoch, oldest first."""


class Ground(Protocol):
    """What the services run on."""

    @property
    def name(self) -> str:
        """What it is, in a word."""
        ...

    @property
    def every_s(self) -> float:
        """How long after one service the next one may break."""
        ...

    @property
    def entry(self) -> Mapping[str, object]:
        """The entry of a targets file for its driver."""
        ...

    @property
    def marks(self) -> Sequence[Mark]:
        """What it can tell of a restart, in order: with the first the step is applied, with the last it has effect."""
        ...

    def target(self, service: str) -> str:
        """How its driver names what the service runs on."""
        ...


def await_marks(ground: Ground, names: Sequence[str], within_s: float) -> None:
    """Waits until every service has started. Raises `RuntimeError` when the time is up."""
    until = time.monotonic() + within_s
    while not all(ground.marks[-1].times_us(name) for name in names):
        if time.monotonic() > until:
            raise RuntimeError(f"{ground.name} has not started all of {len(names)} services within {within_s:.0f} s")
        time.sleep(0.1)


# -- supervisord -----------------------------------------------------------------------------------------------------

CONF = """
[unix_http_server]
file={root}/s.sock
[supervisord]
nodaemon=true
logfile={root}/supervisord.log
pidfile={root}/supervisord.pid
childlogdir={root}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{root}/s.sock
"""
PROGRAM = """
[program:{name}]
command=/bin/sh -c "date +%%s%%N >> {root}/{name}.starts; exec sleep 6000"
startsecs=0
"""


@dataclass(frozen=True)
class Supervisord:
    """A supervisord of the bench's own, one process for each service."""

    root: Path
    name: str = "supervisord"
    every_s: float = 1.5

    @property
    def entry(self) -> Mapping[str, object]:
        """See `Ground`."""
        return {"driver": "supervisord", "url": f"unix://{self.root}/s.sock"}

    @property
    def marks(self) -> Sequence[Mark]:
        """See `Ground`."""
        return (Mark("process restarted", self.starts_us),)

    def target(self, service: str) -> str:
        """See `Ground`."""
        return service

    def starts_us(self, service: str) -> list[int]:
        """When the service's process started, by its own account."""
        file = self.root / f"{service}.starts"
        return [int(line) // 1_000 for line in file.read_text().split()] if file.exists() else []


@contextmanager
def supervisord(names: Sequence[str]) -> Iterator[Supervisord]:
    """Starts it with its processes, and ends both. A unix socket's path must be short, so the folder's is."""
    ground = Supervisord(Path(tempfile.mkdtemp(prefix="re")))
    conf = ground.root / "supervisord.conf"
    programs = [PROGRAM.format(name=name, root=ground.root) for name in names]
    conf.write_text(CONF.format(root=ground.root) + "".join(programs))
    command = [sys.executable, "-W", "ignore", "-m", "supervisor.supervisord", "-c", str(conf)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        await_marks(ground, names, within_s=60)
        yield ground
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(ground.root)


# -- Kubernetes ------------------------------------------------------------------------------------------------------

NAMESPACE = "bench"
IMAGE = "localhost/wait:1"
"""The cluster's own waiting program, which it has for the sandboxes of pods."""
EFFECTOR = "autopilot-effector"
ROLLED_OUT_WITHIN_S = 180
CREATED = re.compile(r'CreateContainer .*?[Nn]ame:[\\"]*([^\\",]+).* returns container id \\"(\w+)\\"')
RUNS = re.compile(r'^time="([^"]+)".*msg="StartContainer for \\"(\w+)\\" returns successfully"')


@dataclass(frozen=True)
class Kubernetes:
    """A cluster of one node, one deployment of one pod for each service. `root` is the cluster's folder."""

    root: Path
    name: str = "Kubernetes"
    every_s: float = 3.0
    """A pod that starts and one that ends take the two cores about a second."""

    @property
    def entry(self) -> Mapping[str, object]:
        """See `Ground`. The credential is that of the role which ships with the autopilot."""
        credential = self.root / f"{EFFECTOR}.kubeconfig"
        return {"driver": "kubernetes", "kubeconfig": str(credential), "namespaces": [NAMESPACE]}

    @property
    def marks(self) -> Sequence[Mark]:
        """See `Ground`."""
        return (
            Mark("restart accepted by the API server", self.accepted_us),
            Mark("new pod's container running", self.runs_us),
        )

    def target(self, service: str) -> str:
        """See `Ground`."""
        return f"{NAMESPACE}/{service}"

    def accepted_us(self, service: str) -> list[int]:
        """When the API server had answered a write to the service's deployment, by its audit log; dry runs left out."""
        log = self.root / "audit.log"
        events = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return [
            _microseconds(event["stageTimestamp"])
            for event in events
            if event["objectRef"]["resource"] == "deployments"
            and event["objectRef"]["name"] == service
            and event["responseStatus"]["code"] < 300
            and "dryRun" not in parse_qs(urlsplit(event["requestURI"]).query)
        ]

    def runs_us(self, service: str) -> list[int]:
        """When a container of the service was started, by containerd's log. The container is named as the service."""
        lines = (self.root / "containerd.log").read_text().splitlines()
        created = {found[2] for line in lines if (found := CREATED.search(line)) and found[1] == service}
        running = [found for line in lines if (found := RUNS.search(line))]
        return [_microseconds(found[1]) for found in running if found[2] in created]


@contextmanager
def kubernetes(names: Sequence[str]) -> Iterator[Kubernetes]:
    """Starts the cluster with its deployments, and ends both. Raises `ClusterError` where it cannot be started."""
    with Cluster() as cluster:
        cluster.grant(NAMESPACE)
        cluster.credential(EFFECTOR)
        cluster.kubectl("apply", "-f", "-", given=yaml.safe_dump_all([_deployment(name) for name in names]))
        within = f"--timeout={ROLLED_OUT_WITHIN_S}s"
        cluster.kubectl("wait", "-n", NAMESPACE, "--for=condition=Available", "deployment", "--all", within)
        ground = Kubernetes(cluster.folder)
        await_marks(ground, names, within_s=10)
        yield ground


def why_no_kubernetes() -> str:
    """Why there can be no cluster, in words; empty when nothing is known that stands against one."""
    if os.geteuid() != 0:
        return "needs root"
    return "" if are_built() else "not built (infra/targets/kubernetes/build.sh)"


def _deployment(name: str) -> dict[str, object]:
    labels = {"app.kubernetes.io/name": name}
    container = {"name": name, "image": IMAGE, "imagePullPolicy": "Never"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def _microseconds(text: str) -> int:
    """Microseconds since the epoch of a time as Go writes it, nanoseconds left out."""
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000)

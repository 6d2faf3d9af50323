"""A Kubernetes cluster of one node for as long as a `with` lasts, and credentials for who acts there.

    with Cluster(images=[archive]) as cluster:
        cluster.kubectl("get", "nodes")

`infra/targets/kubernetes/up.sh` starts it and builds what is missing; it ends with this process at the latest.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[2]
SCRIPTS = PROJECT / "infra" / "targets" / "kubernetes"
MANIFESTS = PROJECT / "infra" / "k8s"
ACCOUNTS = "autopilot"
"""Namespace of the autopilot's service accounts."""
TOKEN_FOR = "8h"


class ClusterError(RuntimeError):
    """The cluster did not do what it was asked; the message says what it said."""


class Cluster:
    """See the module."""

    def __init__(self, images: Sequence[Path] = ()) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ap-k8s-"))
        self._images = images
        self._kubectl = ""

    @property
    def kubeconfig(self) -> Path:
        """Of the cluster's administrator."""
        return self.folder / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """What service accounts have written, one JSON object in a line."""
        return self.folder / "audit.log"

    def __enter__(self) -> "Cluster":
        """Starts it. What is done and how far it is goes to standard error."""
        self._kubectl = str(built_binaries() / "kubectl")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it."""
        self.stop()

    def start(self) -> None:
        """Starts the cluster anew."""
        _output(SCRIPTS / "up.sh", str(self.folder), "--owner", str(os.getpid()), *map(str, self._images))

    def stop(self) -> None:
        """Ends the cluster and removes its folder."""
        subprocess.run([SCRIPTS / "down.sh", str(self.folder)], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def kubectl(self, *arguments: str, given: str = "") -> str:
        """What `kubectl` says, as administrator. Raises `ClusterError` when it fails."""
        command = [self._kubectl, "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClusterError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def grant(self, *namespaces: str, nodes: bool = False) -> None:
        """Makes the namespaces, the autopilot's accounts and their roles there, from the files that ship with it."""
        self.kubectl("apply", "-f", str(MANIFESTS / "accounts.yaml"))
        for namespace in namespaces:
            self.kubectl("create", "namespace", namespace)
            for role in ("effector-role.yaml", "bridge-role.yaml"):
                self.kubectl("apply", "-n", namespace, "-f", str(MANIFESTS / role))
        if nodes:
            self.kubectl("apply", "-f", str(MANIFESTS / "effector-nodes.yaml"))

    def credential(self, account: str) -> Path:
        """A kubeconfig for a service account of the autopilot, with a token that ends."""
        token = self.kubectl("create", "token", account, "-n", ACCOUNTS, "--duration", TOKEN_FOR)
        config: dict[str, Any] = yaml.safe_load(self.kubeconfig.read_text())
        config["users"] = [{"name": "admin", "user": {"token": token}}]
        path = self.folder / f"{account}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config))
        return path


def image_archive(out: Path, name: str, folder: Path, *command: str) -> Path:
    """Makes a container image from a folder, see `infra/targets/kubernetes/image.sh`."""
    _output(SCRIPTS / "image.sh", str(out), name, str(folder), *command)
    return out


def built_binaries() -> Path:
    """The folder of the cluster's binaries; they are built when they are not there."""
    return Path(_output(SCRIPTS / "build.sh"))


def are_built() -> bool:
    """Whether the cluster's binaries are there."""
    return subprocess.run([SCRIPTS / "build.sh", "--check"], stdout=subprocess.DEVNULL, check=False).returncode == 0


def _output(script: Path, *arguments: str) -> str:
    done = subprocess.run([script, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{script.name} ended with {done.returncode}")
    return done.stdout.strip()

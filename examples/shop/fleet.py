"""The shop's processes under a real supervisord: written down, started, deployed to, broken and stopped.

    python -m examples.shop.fleet --run RUN_FOLDER --otlp http://127.0.0.1:4318/v1/metrics

Each service is a supervisord group of four processes of which two are started, so that there is room to scale; other
demonstrations have other groups and releases.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any
from xmlrpc.client import Error as RpcError
from xmlrpc.client import ServerProxy

from psutil import NoSuchProcess, Process
from supervisor.xmlrpc import SupervisorTransport

from examples.shop.layout import SHOP, Fault, Group, Layout

SOURCE = Path(__file__).parent
PROJECT = SOURCE.parent.parent
PROCESSES = SHOP[0].processes
STARTED = SHOP[0].started
ENDS_WITHIN_S = 60
MAX_SOCKET_PATH = 100
"""A unix socket's path may be 107 bytes long; beyond this the socket goes to the temporary folder."""

_HEAD = """\
[supervisord]
nodaemon=true
logfile={logs}/supervisord.log
pidfile={root}/supervisord.pid
childlogdir={logs}

[unix_http_server]
file={sock}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
_PROGRAM = """
[program:{group}]
command={python} -m examples.shop.service --service {service} --group {group} --instance %(process_num)d --run {root}
directory={project}
process_name={group}-%(process_num)d
numprocs={processes}
numprocs_start=1
autostart=false
autorestart=true
startsecs=2
startretries=1000
stopsignal=TERM
stopwaitsecs=6
redirect_stderr=true
stdout_logfile={logs}/{group}-%(process_num)d.log
stdout_logfile_maxbytes=1MB
stdout_logfile_backups=1
"""


class FleetError(RuntimeError):
    """The fleet did not do what it was asked; the message names the log to look at."""


class ShopFleet:
    """A running fleet, or one that is about to run."""

    def __init__(
        self, run: Path, otlp_endpoint: str, groups: Sequence[Group] = SHOP, releases: Path = SOURCE / "releases"
    ) -> None:
        self.layout = Layout(run.resolve())
        self.groups = groups
        self._release_source = releases
        self._endpoint = otlp_endpoint
        self._supervisord: subprocess.Popen[bytes] | None = None
        self._places: list[socket.socket] = []

    @property
    def socket_file(self) -> Path:
        """Where supervisord listens."""
        beside = self.layout.root / "supervisor.sock"
        if len(os.fsencode(beside)) <= MAX_SOCKET_PATH:
            return beside
        name = hashlib.sha256(os.fsencode(self.layout.root)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"shop-{os.getuid()}-{name}.sock"

    def ask(self, method: str, *arguments: object) -> Any:
        """Asks supervisord through its own interface."""
        transport = SupervisorTransport(None, None, f"unix://{self.socket_file}")
        with ServerProxy("http://127.0.0.1", transport=transport) as server:
            return getattr(server.supervisor, method)(*arguments)

    # -- life --------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Writes the run folder anew: the first releases, no faults, no load, free ports."""
        root = self.layout.root
        if self._answers():  # one that outlived a demonstration that was killed: it is in our folder, so it is ours
            self._end_left_over()
        shutil.rmtree(root, ignore_errors=True)
        for folder in (root / "faults", root / "serving", self.layout.logs):
            folder.mkdir(parents=True)
        for group in self.groups:
            shutil.copytree(self._release_source / group.service, self.layout.releases / group.name)
            (self.layout.releases / group.name / "current").symlink_to("v1")
        ports = [name for group in self.groups for name in group.ports]
        self._leave_places()
        self._places = _places(len(ports))
        numbers = [place.getsockname()[1] for place in self._places]
        (root / "ports.json").write_text(json.dumps(dict(zip(ports, numbers, strict=True))))
        (root / "otlp").write_text(self._endpoint + "\n")
        self.set_rate(0)
        values = {"root": root, "logs": self.layout.logs, "sock": self.socket_file, "project": PROJECT}
        programs = "".join(
            _PROGRAM.format(
                group=group.name, service=group.service, python=sys.executable, processes=group.processes, **values
            )
            for group in self.groups
        )
        (root / "supervisord.conf").write_text(_HEAD.format(**values) + programs)

    def launch(self, timeout_s: float = 120) -> None:
        """Starts supervisord and of each group the processes that are wanted at first."""
        conf = self.layout.root / "supervisord.conf"
        with (self.layout.logs / "supervisord.out").open("ab") as log:
            self._supervisord = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(conf)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=PROJECT,
            )
        self._await(self._answers, timeout_s, "supervisord does not answer")
        for group in reversed(self.groups):
            for instance in group.instances[: group.started]:
                self.ask("startProcess", f"{group.name}:{instance}", False)

    def await_selling(self, timeout_s: float = 180) -> None:
        """Waits until every started process serves and the shop sells."""
        files = [self.layout.serving_file(group.name, n + 1) for group in self.groups for n in range(group.started)]
        self._await(lambda: all(file.exists() for file in files) and self.sells(), timeout_s, "the shop does not sell")

    def stop(self) -> None:
        """Ends supervisord, which ends its processes first."""
        self._leave_places()
        if self._supervisord is None:
            return
        if self._supervisord.poll() is None:
            self._supervisord.send_signal(signal.SIGTERM)
        try:
            self._supervisord.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._supervisord.kill()
            self._supervisord.wait()
        self._supervisord = None

    @property
    def entrance(self) -> int:
        """The port on which customers come in."""
        return self.layout.ports()["frontend"]

    def sells(self) -> bool:
        """Whether the shop answers on the way through all of its services."""
        try:
            with socket.create_connection(("127.0.0.1", self.entrance), timeout=2) as connection:
                connection.sendall(b"GET /?item=apple HTTP/1.0\r\n\r\n")
                return b" 200 " in connection.makefile("rb").readline()
        except OSError:
            return False

    # -- what happens to it ------------------------------------------------------------------------------------------

    def deploy(self, service: str, release: str) -> None:
        """Puts a release into use as a delivery pipeline would: switch the link, then restart one process at a time."""
        folder = self.layout.releases / service
        if not (folder / release).is_dir():
            raise FleetError(f"{service} has no release `{release}` in {folder}")
        _point(folder / "previous", (folder / "current").readlink())
        _point(folder / "current", Path(release))
        for process in self.running(service):
            serving = self.layout.serving_file(service, int(process.rpartition("-")[2]))
            self.ask("stopProcess", process)
            serving.unlink(missing_ok=True)
            self.ask("startProcess", process, False)
            self._await(serving.exists, 180, f"{process} does not serve release {release}")

    def running(self, service: str) -> list[str]:
        """The service's processes that run, as `group:process`."""
        infos = [info for info in self.ask("getAllProcessInfo") if info["group"] == service]
        return [f"{info['group']}:{info['name']}" for info in infos if info["statename"] in ("RUNNING", "STARTING")]

    def switch_on(self, service: str, fault: Fault) -> None:
        """Switches a fault on."""
        self.layout.fault_file(service, fault).touch()

    def switch_off(self, service: str, fault: Fault) -> None:
        """Switches a fault off."""
        self.layout.fault_file(service, fault).unlink(missing_ok=True)

    def set_rate(self, requests_per_s: float) -> None:
        """Sets the load."""
        self.layout.rate_file.write_text(f"{requests_per_s}\n")

    # -- inside ------------------------------------------------------------------------------------------------------

    def _answers(self) -> bool:
        try:
            return bool(self.ask("getState")["statename"] == "RUNNING")
        except (OSError, HTTPException, RpcError):
            return False

    def _end_left_over(self) -> None:
        pid = self.ask("getPID")
        self.ask("shutdown")
        with suppress(NoSuchProcess):
            Process(pid).wait(ENDS_WITHIN_S)

    def _leave_places(self) -> None:
        for place in self._places:
            place.close()

    def _await(self, done: Callable[[], bool], timeout_s: float, complaint: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            if self._supervisord is None or self._supervisord.poll() is not None:
                raise FleetError(f"supervisord ended: see {self.layout.logs / 'supervisord.out'}")
            if time.monotonic() > deadline:
                raise FleetError(f"{complaint} within {timeout_s:.0f} s: see {self.layout.logs}")
            time.sleep(0.05)


def _point(link: Path, to: Path) -> None:
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(to)
    fresh.rename(link)


def _places(count: int) -> list[socket.socket]:
    """Free ports below the range from which the kernel takes those of outgoing connections.

    Nobody else gets them but who shares them (`SO_REUSEPORT`), as the services do; here nobody listens.
    """
    found: list[socket.socket] = []
    for port in range(18_080, 32_000):
        place = socket.socket()
        try:
            place.bind(("127.0.0.1", port))
        except OSError:
            place.close()
            continue
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found.append(place)
        if len(found) == count:
            return found
    for place in found:
        place.close()
    raise FleetError("no free ports between 18080 and 32000")


def main() -> None:
    """Runs the fleet until it is interrupted."""
    parser = argparse.ArgumentParser(description="The shop under supervisord.")
    parser.add_argument("--run", type=Path, required=True, help="folder that is written anew")
    parser.add_argument("--otlp", required=True, help="where the services send their metrics")
    arguments = parser.parse_args()
    fleet = ShopFleet(arguments.run, arguments.otlp)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    fleet.prepare()
    try:
        fleet.launch()
        fleet.await_selling()
        print(f"the shop sells on port {fleet.entrance}; Ctrl-C ends it", flush=True)
        stopped.wait()
    finally:
        fleet.stop()


if __name__ == "__main__":
    main()

"""A real supervisord with real processes, in a folder of its own."""

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autopilot.infra.effector.drivers.supervisord import SupervisordDriver, SupervisordSettings
from autopilot.infra.effector.port import TargetError
from autopilot.infra.platform.ports import free_port

CONF = """
[unix_http_server]
file={root}/s.sock
[inet_http_server]
port=127.0.0.1:{port}
username=effector
password=secret
[supervisord]
nodaemon=true
logfile={root}/supervisord.log
logfile_maxbytes=0
pidfile={root}/supervisord.pid
childlogdir={root}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[program:web]
command=/bin/sleep 6000
process_name=web_%(process_num)02d
numprocs=3
startsecs=0
autostart=false
[program:broken]
command=/bin/false
startsecs=5
startretries=0
autostart=false
[program:slow]
command=/bin/sh -c "sleep 6000"
startsecs=300
autostart=false
[program:half]
command=/bin/sh -c "test %(process_num)d -eq 0 -o -e {root}/whole && exec sleep 6000"
process_name=half_%(process_num)02d
numprocs=2
startsecs=5
startretries=0
autostart=false
"""
UP_WITHIN_S = ENDS_WITHIN_S = 60.0
GROUPS = ("web", "broken", "slow", "half")
RELEASES = ("v1", "v2", "v3")


class Supervised:
    """A running supervisord. Groups: `web` (three processes), and `broken`, `slow` and `half`, which misbehave."""

    def __init__(self, root: Path, port: int) -> None:
        self.root = root
        self.port = port
        self.entry: dict[str, Any] = {
            "driver": "supervisord",
            "url": f"unix://{root}/s.sock",
            "releases_dir": str(root / "releases"),
            "max_processes": {"broken": 1},
        }
        settings = {name: value for name, value in self.entry.items() if name != "driver"}
        self.driver = SupervisordDriver(SupervisordSettings.model_validate(settings))

    @property
    def log(self) -> str:
        """What supervisord itself wrote down."""
        return (self.root / "supervisord.log").read_text()

    def changes(self, group: str) -> int:
        """How often a process of the group was started or stopped, by what supervisord itself wrote down."""
        return len(re.findall(rf" (?:spawned: '|stopped: ){group}(?:_\d+)?\b", self.log))


@contextmanager
def supervised() -> Iterator[Supervised]:
    """Starts a supervisord, and stops it and its processes. A unix socket's path must be short, so the folder's is."""
    root = Path(tempfile.mkdtemp(prefix="sv"))
    for group in GROUPS:
        for release in RELEASES:
            (root / "releases" / group / release).mkdir(parents=True)
    (root / "releases" / "web" / "current").symlink_to("v1")
    port = free_port()
    conf = root / "supervisord.conf"
    conf.write_text(CONF.format(root=root, port=port))
    command = [sys.executable, "-W", "ignore", "-m", "supervisor.supervisord", "-n", "-c", str(conf)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        running = Supervised(root, port)
        _await_up(running, process)
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(ENDS_WITHIN_S)
        shutil.rmtree(root)


def _await_up(running: Supervised, process: "subprocess.Popen[bytes]") -> None:
    """It listens everywhere before it answers anywhere."""
    until = time.monotonic() + UP_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        try:
            running.driver.observe("web")
        except TargetError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(running.log)

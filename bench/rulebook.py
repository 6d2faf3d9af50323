"""ansible-rulebook beside the loop: the same restart of a supervised process, on a webhook.

It is measured when it is installed in `ansible-rulebook/venv` of `AUTOPILOT_CACHE`, by default `~/.cache/autopilot`:

    python -m venv ~/.cache/autopilot/ansible-rulebook/venv
    ~/.cache/autopilot/ansible-rulebook/venv/bin/pip install ansible-rulebook ansible-core ansible-runner

It needs Java 17. The rule matches what is posted and runs a playbook whose one task is `supervisorctl restart`.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx

from autopilot.infra.platform.ports import answers, free_port

TRIALS = 20
START_S = 90
WAIT_S = 60
RULEBOOK = """
- name: restart what is broken
  hosts: localhost
  sources:
    - {source}:
        host: 127.0.0.1
        port: {port}
  rules:
    - name: errors
      condition: event.payload.status == "broken"
      action:
        run_playbook:
          name: {playbook}
          extra_vars:
            service: "{{{{ event.payload.service }}}}"
"""
PLAYBOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.command: {python} -W ignore -m supervisor.supervisorctl -c {conf} restart {{{{ service }}}}
"""


def _program(name: str) -> Path:
    cache = Path(os.environ.get("AUTOPILOT_CACHE", str(Path.home() / ".cache" / "autopilot")))
    return cache / "ansible-rulebook" / "venv" / "bin" / name


def is_installed() -> bool:
    """Whether it is where the module says."""
    return _program("ansible-rulebook").exists()


def version() -> str:
    """Its name and version."""
    told = subprocess.run([_program("ansible-rulebook"), "--version"], capture_output=True, text=True, check=False)
    lines = told.stdout.split()
    return " ".join(lines[:2]).replace("[", "").replace("]", "")


def waits_ms(root: Path, names: Sequence[str], starts_us: Callable[[str], list[int]]) -> list[float]:
    """Milliseconds from the webhook to the restarted process, for each service in turn; those that were restarted."""
    with _running(root) as url:
        found = []
        for name in names:
            posted_us = time.time_ns() // 1_000
            httpx.post(url, json={"service": name, "status": "broken"}, timeout=10).raise_for_status()
            started = _start_after(posted_us, partial(starts_us, name))
            if started:
                found.append((started - posted_us) / 1_000)
            time.sleep(0.5)
        return found


def _start_after(at_us: int, starts_us: Callable[[], list[int]]) -> int:
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        later = [one for one in starts_us() if one > at_us]
        if later:
            return later[0]
        time.sleep(0.01)
    return 0


@contextmanager
def _running(root: Path) -> Iterator[str]:
    port = free_port()
    folder = root / "rulebook"  # its own, for it copies the folder of the playbook whenever it runs one
    folder.mkdir()
    playbook, rules, inventory = folder / "restart.yml", folder / "rules.yml", folder / "inventory.yml"
    playbook.write_text(PLAYBOOK.format(python=sys.executable, conf=root / "supervisord.conf"))
    rules.write_text(RULEBOOK.format(source="eda.builtin.webhook", port=port, playbook=playbook))
    host = {"ansible_connection": "local", "ansible_python_interpreter": str(_program("python"))}
    inventory.write_text(json.dumps({"all": {"hosts": {"localhost": host}}}))
    bin_folder = _program("ansible-rulebook").parent
    command = [_program("ansible-rulebook"), "--rulebook", rules, "-i", inventory]
    environment = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("PYTHONPATH", None)
    with (root / "rulebook.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + START_S
        while not answers(port):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"ansible-rulebook has not come up: {(root / 'rulebook.log').read_text()[-2_000:]}")
            time.sleep(0.2)
        time.sleep(2)
        yield f"http://127.0.0.1:{port}/endpoint"
    finally:
        process.terminate()
        process.wait(30)

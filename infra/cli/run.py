"""`autopilot run`: one process in the foreground, apart from the other commands, so that it loads only itself."""

import signal
import threading
from typing import Annotated

import typer

from autopilot.infra.cli.output import refuse
from autopilot.infra.composition import OPTIONAL, PROCESSES, run_process
from autopilot.infra.settings import Settings

RUNNABLE = (*PROCESSES, *OPTIONAL)


def run(process: Annotated[str, typer.Argument(help=f"One of {', '.join(RUNNABLE)}.")]) -> None:
    """Run one process in the foreground until SIGTERM or SIGINT; its log goes to standard error as JSON.

    Example: autopilot run planner
    """
    if process not in RUNNABLE:
        refuse(f"process is `{process}`, expected one of {', '.join(RUNNABLE)}")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run_process(process, Settings(), stop)

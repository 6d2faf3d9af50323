"""How a demonstration is given: its stage is put up, it is played, and everything is ended again whatever happens."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeVar

from rich.console import Console
from rich.table import Table

from examples.shop.incident import Result
from examples.shop.stage import Stage

AnyStage = TypeVar("AnyStage", bound=Stage)


def run(
    home: Path, console: Console, stage_of: Callable[[Path, Console], AnyStage], play: Callable[[AnyStage], object]
) -> int:
    """The whole demonstration; the exit code."""
    began = time.monotonic()
    try:
        with stage_of(home, console) as stage:
            up_s = time.monotonic() - began
            play(stage)
            played_s = time.monotonic() - began - up_s
            console.print(f"up in {up_s:.0f} s, played in {played_s:.0f} s", highlight=False)
    except (RuntimeError, OSError) as error:
        console.print(f"[bold red]failed:[/] {error}", highlight=False)
        if too_busy := busy(os.getloadavg()[0], os.cpu_count() or 1):
            console.print(too_busy, highlight=False)
        console.print(f"logs: {home / 'platform' / 'logs'} and {home / 'shop' / 'logs'}", highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; everything was stopped", highlight=False)
        return 130
    console.print(f"done in {time.monotonic() - began:.0f} s; everything was stopped", highlight=False)
    return 0


def busy(load: float, processors: int) -> str:
    """What may have been the reason, when more wanted to run than there are processors; empty otherwise."""
    if load <= processors:
        return ""
    return (
        f"the machine is busy (load {load:.1f} on {processors} processors): the services may have been slow for that "
        "reason, and a remedy that does not help is rejected; try again when it is idle"
    )


def command(
    description: str,
    default_home: Path,
    stage_of: Callable[[Path, Console], AnyStage],
    play: Callable[[AnyStage], object],
) -> NoReturn:
    """Command line of a demonstration."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--home", type=Path, default=default_home, help="folder that is written anew (default: %(default)s)"
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupted)
    terminal = sys.stdout.isatty()
    console = Console(soft_wrap=not terminal, width=None if terminal else 160)
    sys.exit(run(arguments.home.resolve(), console, stage_of, play))


def summary(title: str, results: list[Result]) -> Table:
    """What happened, in a table."""
    table = Table(title=title, title_justify="left")
    for column in ("incident", "id", "outcome"):
        table.add_column(column)
    for column in ("detected after", "decided after", "done after", "verified after"):
        table.add_column(column, justify="right")
    for one in results:
        times = (one.detected_ms, one.decided_ms, one.acted_ms, one.verified_ms)
        table.add_row(
            one.name, one.incident_id, one.outcome, *("-" if t is None else f"{t / 1000:.2f} s" for t in times)
        )
    return table


def _interrupted(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)

"""`autopilot up`, `down`, `status`, `logs`, `config`: the processes of this home."""

import time
from pathlib import Path
from typing import Annotated

import typer

from autopilot.infra.cli.output import NO, AsJson, announce, print_json, print_table, refuse, uptime
from autopilot.infra.composition import PROCESSES
from autopilot.infra.platform.processes import tail
from autopilot.infra.settings import Settings, sources_of
from autopilot.infra.stack import KAFKA, REGISTRY, Part, Stack

FOLLOW_S = 0.25


def up(
    secure: Annotated[
        bool,
        typer.Option("--secure", help="TLS, a password for each process, access control lists; the home stays so."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start what is not running: Kafka, the registry, topics, agents, effector, clock and OTLP receiver.

    What runs with these settings goes on; what has died is started, and what a changed setting is about is restarted,
    each said with the reason. Data, keys and logs stay in the home folder between runs.
    Examples: autopilot up; autopilot up --secure; AUTOPILOT_KAFKA=broker:9092 autopilot up
    """
    settings = Settings(secure=True) if secure else Settings()
    if secure and not settings.embeds_kafka:
        refuse("`--secure` is for the embedded Kafka; for another one, `autopilot prepare` with AUTOPILOT_SECURE=true")
    _print_parts(Stack(settings, announce).up(), as_json)


def prepare(wait_s: Annotated[float, typer.Option("--wait", help="Seconds to wait for them.", min=0)] = 60) -> None:
    """Make keys, topics and contracts on a Kafka and a registry that others run; `up` does it by itself.

    Example: AUTOPILOT_KAFKA=broker:9092 AUTOPILOT_REGISTRY=http://registry:8080/apis/ccompat/v7 autopilot prepare
    """
    Stack(Settings(), announce).prepare(wait_s)


def down() -> None:
    """Stop the agents, then the registry, then Kafka. Data stays.

    Example: autopilot down
    """
    typer.echo("down" if Stack(Settings(), announce).down() else "nothing was up")


def status(as_json: AsJson = False) -> None:
    """Show each process with its state. Exit code 1 when something is not up.

    Example: autopilot status --json
    """
    parts = Stack(Settings(), announce).status()
    _print_parts(parts, as_json)
    if not all(part.is_well for part in parts):
        raise typer.Exit(NO)


def config(as_json: AsJson = False) -> None:
    """Show every setting with its value and where that came from. Secrets are not shown.

    Examples: autopilot config; AUTOPILOT_PARTITIONS=8 autopilot config --json
    """
    rows = sources_of(Settings())
    if as_json:
        print_json(rows)
    else:
        print_table(
            ("setting", "value", "from", "meaning"), ((r.variable, r.value, r.source, r.meaning) for r in rows), ""
        )


def logs(
    process: Annotated[str, typer.Argument(help="A process, `kafka` or `registry`; all without it.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing what is added.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="Lines to begin with.", min=0)] = 20,
) -> None:
    """Print the end of the processes' logs.

    Examples: autopilot logs planner -f; autopilot logs -n 5
    """
    known = (KAFKA, REGISTRY, *PROCESSES)
    if process and process not in known:
        refuse(f"process is `{process}`, expected one of {', '.join(known)}")
    folder = Settings().logs
    files = [folder / f"{name}.log" for name in ([process] if process else known)]
    present = [file for file in files if file.exists()]
    if not present and not follow:
        refuse(f"there is no log in `{folder}`; `autopilot up` writes them", NO)
    ends = {file: file.stat().st_size for file in present}
    for file in present:
        _print_lines(file, tail(file, lines) if lines else "", prefix=not process)
    while follow:
        time.sleep(FOLLOW_S)
        for file in files:
            ends[file] = _print_added(file, ends.get(file, 0), prefix=not process)


def _print_added(file: Path, start: int, *, prefix: bool) -> int:
    """Prints the whole lines that were added since `start`, and gives the position after them."""
    if not file.exists():
        return 0
    with file.open("rb") as handle:
        start = start if start <= file.stat().st_size else 0
        handle.seek(start)
        added = handle.read()
    whole = added.rfind(b"\n") + 1
    _print_lines(file, added[:whole].decode(errors="replace").rstrip("\n"), prefix=prefix)
    return start + whole


def _print_lines(file: Path, text: str, *, prefix: bool) -> None:
    for line in text.splitlines():
        typer.echo(f"{file.stem:<9} {line}" if prefix else line)


def _print_parts(parts: list[Part], as_json: bool) -> None:
    if as_json:
        print_json(parts)
        return
    print_table(
        ("process", "state", "pid", "up", "address"),
        ((p.name, p.state.lower(), p.pid or "", uptime(p.uptime_s) if p.pid else "", p.detail) for p in parts),
        "",
    )

"""What every command shares: settings, tables for people, JSON for programs, and refusals with an exit code.

Exit codes: 0 done; 1 the answer is no (findings, something is not up, nothing was found); 2 the command could not do
what was asked.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

NO, REFUSED = 1, 2
PIPED_WIDTH = 200
"""Columns of a table that goes into a file or another program rather than to a screen."""
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
AsPerson = Annotated[str, typer.Option("--as", metavar="NAME", help="Sign with this person's key.")]


def announce(line: str) -> None:
    """Says on standard error what is being done, for anything that takes more than two seconds."""
    Console(stderr=True).print(f"[dim]..[/dim] {line}", highlight=False)


@cache
def announce_once(line: str) -> None:
    """As `announce`, but what was said already is not said again."""
    announce(line)


def refuse(message: str, code: int = REFUSED) -> NoReturn:
    """Ends the command with a message on standard error."""
    typer.echo(message, err=True)
    raise typer.Exit(code)


def print_json(data: Any) -> None:
    """Prints plain data or dataclasses as JSON."""
    typer.echo(json.dumps(data, indent=2, default=_plain, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Prints a table, or `empty` when it would have no rows."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    if table.row_count:
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = PIPED_WIDTH
        console.print(table)
    else:
        typer.echo(empty)


def clock_time(at_ms: int) -> str:
    """A record time in UTC, to the millisecond, as people read it."""
    return datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%H:%M:%S.%f")[:-3]


def date_time(at_ms: int) -> str:
    """A record time in UTC, to the second."""
    return datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def duration(took_ms: int) -> str:
    """A duration as people read it."""
    if took_ms < 1_000:
        return f"{took_ms} ms"
    return f"{took_ms / 1_000:.1f} s" if took_ms < 120_000 else f"{took_ms // 60_000} min {took_ms // 1_000 % 60} s"


def uptime(up_s: int) -> str:
    """How long something has been up, as people read it: the two largest units."""
    if up_s < 120:
        return f"{up_s} s"
    if up_s < 2 * 3_600:
        return f"{up_s // 60} min"
    hours = up_s // 3_600
    return f"{hours} h {up_s // 60 % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else str(value)

"""A count of every request: how many each server answered and how many failed, between two moments."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from examples.canary.stage import CANARY

NOBODY = "(no answer)"


@dataclass(frozen=True)
class Count:
    """Requests that were sent within some time. Servers that answered none are not in it."""

    answered: Counter[str]
    failed: Counter[str]

    @property
    def total(self) -> int:
        """All requests."""
        return self.answered.total()

    @property
    def failures(self) -> int:
        """Those without an answer, or with one of 400 or more."""
        return self.failed.total()

    @property
    def by_canary(self) -> int:
        """Those that the canary answered."""
        return sum(count for server, count in self.answered.items() if server in CANARY.instances)

    @property
    def failures_elsewhere(self) -> int:
        """Failed requests that were not the canary's."""
        return sum(count for server, count in self.failed.items() if server not in CANARY.instances)

    def plus(self, other: "Count") -> "Count":
        """Both together."""
        return Count(self.answered + other.answered, self.failed + other.failed)


def count(file: Path, from_ms: int, until_ms: int) -> Count:
    """The requests sent from one moment, inclusive, until another."""
    return count_lines(file.read_text().splitlines(), from_ms, until_ms)


def count_lines(lines: Iterable[str], from_ms: int, until_ms: int) -> Count:
    """The same for the lines of such a file. A last line that is only half written is left out."""
    answered: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for line in lines:
        if not line.endswith("}"):
            continue
        request = json.loads(line)
        if from_ms <= request["sent_ms"] < until_ms:
            server = request["server"] or NOBODY
            answered[server] += 1
            failed[server] += not 200 <= request["status"] < 400
    return Count(answered, +failed)


def table(title: str, stages: Iterable[tuple[str, Count]]) -> Table:
    """The counts of several stages, one a line, and of all together."""
    counted = list(stages)
    servers = sorted({server for _, one in counted for server in one.answered})
    shown = Table(title=title, title_justify="left")
    shown.add_column("stage")
    for column in ("requests", "failed", *servers, "canary's share"):
        shown.add_column(column, justify="right")
    whole = Count(Counter(), Counter())
    for name, one in counted:
        shown.add_row(name, *_cells(one, servers))
        whole = whole.plus(one)
    shown.add_section()
    shown.add_row("all", *_cells(whole, servers))
    return shown


def _cells(one: Count, servers: Iterable[str]) -> list[str]:
    share = f"{100 * one.by_canary / one.total:.1f} %" if one.total else "-"
    each = (f"{one.answered[s]}" + (f" ({one.failed[s]} failed)" if one.failed[s] else "") for s in servers)
    return [str(one.total), str(one.failures), *each, share]

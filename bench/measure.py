"""Measuring: a figure has a name, a value, a unit, and a goal where one is stated.

These machines are shared and noisy. What is compared is therefore measured side by side in one run, and each rate is
the median of several rounds.
"""

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One figure; `value` is None when it was not measured. `goal` is what was aimed at, in words; empty if nothing."""

    name: str
    value: float | None
    unit: str
    goal: str = ""
    note: str = ""

    @property
    def text(self) -> str:
        """The value with three significant digits and thousands."""
        if self.value is None:
            return "not measured"
        if self.value >= 100:
            return f"{self.value:,.0f}"
        return f"{self.value:.3g}"


def rate(work: Callable[[], int], *, rounds: int = 5, least_s: float = 0.3) -> float:
    """Units of work a second: `work` does some and gives how many. Each round lasts at least `least_s`."""
    work()
    rates = []
    for _ in range(rounds):
        done, started = 0, time.perf_counter()
        while (took := time.perf_counter() - started) < least_s:
            done += work()
        rates.append(done / took)
    return statistics.median(rates)


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which `share` (0..1) of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def print_figures(title: str, figures: Iterable[Figure]) -> None:
    """A table of figures."""
    table = Table("figure", "value", "unit", "goal", "note", title=title, title_justify="left", title_style="bold")
    table.columns[1].justify = "right"
    for figure in figures:
        table.add_row(figure.name, figure.text, figure.unit, figure.goal, figure.note)
    Console().print(table)

"""How explanations, comparisons and backtests look on a terminal."""

from collections.abc import Iterable, Iterator, Sequence

import typer

from autopilot.infra.cli.output import print_table
from autopilot.policies.backtest import Backtest, FlippedDecision
from autopilot.policies.compare import Comparison
from autopilot.policies.explain import Explanation, Flip, Part
from autopilot.policies.facts import Value
from autopilot.policies.recorded import RecordedDecision

MOST_LISTED = 10
"""Decisions named for each difference."""


def print_explanation(title: str, decision: RecordedDecision | None, found: Explanation) -> None:
    """The verdict, each rule with its parts, and the changes that would turn it."""
    if decision is not None:
        typer.echo(f"{decision.decision_id}: plan {decision.plan_id} of incident {decision.incident_id},")
        typer.echo(f"decided under {decision.bundle}: {decision.ruling}")
        if decision.completed:
            typer.echo(f"recorded without {', '.join(decision.completed)}: their examples stand in")
    typer.echo(f"{title}: {found.ruling}, because {found.reason or 'of the rules below'}\n")
    for name in found.built_in:
        typer.echo(f"* {name}  built in, decided")
    for rule in found.rules:
        mark = "*" if rule.decided else "+" if rule.answer is True else "!" if isinstance(rule.answer, str) else " "
        typer.echo(f"{mark} {rule.rule}  {rule.effect}, {_answer(rule.answer)}{', decided' if rule.decided else ''}")
        if rule.imposes:
            typer.echo(f"    {'imposes':10}{rule.imposes}")
        for line in _tree(rule.condition, 2):
            typer.echo(line)
    typer.echo("\n* decided  + holds  ! gave an error\n")
    typer.echo("one change that would turn the verdict:")
    _print_flips(found.flips, "  none: it takes more than one fact")
    if found.eased:
        typer.echo("\none change that would leave the denial to fewer rules:")
        _print_flips(found.eased, "")


def print_comparison(titles: Sequence[str], found: Comparison, decisions: Sequence[RecordedDecision]) -> None:
    """The differences, largest first."""
    kind = "decisions" if decisions else "generated fact sets"
    typer.echo(f"{titles[0]} -> {titles[1]} on {found.rows} {kind}: {found.flipped} flip")
    for each in found.differences:
        change = f"{each.before} -> {each.after}" if each.flips else f"{each.before}, other obligations"
        typer.echo(f"\n{len(each.rows)}  {change}  by {', '.join(each.rules)}")
        typer.echo(f"    {each.reason}")
        for row in each.rows[:MOST_LISTED] if decisions else ():
            typer.echo(f"    {decisions[row].decision_id}  {decisions[row].incident_id}  {decisions[row].service}")
        if decisions and len(each.rows) > MOST_LISTED:
            typer.echo(f"    ... {len(each.rows) - MOST_LISTED} more")
        if not decisions:
            typer.echo(f"    such as {_values(each.facts)}")
    typer.echo(f"\nheld against the engine on {found.judged} different fact sets: no mismatch")


def print_backtest(found: Backtest, unaccepted: Sequence[FlippedDecision]) -> None:
    """The level, the flips, and how many are not accepted."""
    what = "plans" if found.judged == 0 and not found.completed else "decisions"
    typer.echo(f"{found.level} backtest of {found.candidate} on {found.decisions} {what}: {len(found.flips)} flip")
    if found.completed:
        typer.echo(f"some were recorded without {', '.join(found.completed)}: their examples stand in")
    open_keys = {flip.key for flip in unaccepted}
    print_table(
        ("incident", "plan", "service", "then", "now", "rules", "accepted", "note"),
        (
            (f.incident_id, f.plan_id, f.service, f.before, f.after, ", ".join(f.rules),
             "no" if f.key in open_keys else "yes", f.note)
            for f in found.flips
        ),
        "no flips",
    )  # fmt: skip
    typer.echo(f"{len(unaccepted)} not accepted")


def _print_flips(flips: Sequence[Flip], empty: str) -> None:
    rows = ((f"  {f.fact}", _value(f.before), _value(f.after), str(f.ruling), ", ".join(f.rules)) for f in flips)
    print_table(("  fact", "is", "would be", "verdict", "by"), rows, empty)


def _tree(part: Part, depth: int) -> Iterator[str]:
    seen = f"   [{_values(part.values.items())}]" if part.values else ""
    yield f"{'  ' * depth}{_answer(part.answer):10}{part.text}{seen}"
    for inner in part.parts:
        yield from _tree(inner, depth + 1)


def _answer(answer: bool | str) -> str:
    return f"error: {answer}" if isinstance(answer, str) else "holds" if answer else "does not"


def _values(values: Iterable[tuple[str, Value]]) -> str:
    return ", ".join(f"{name} = {_value(value)}" for name, value in values)


def _value(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int) else f'"{value}"'

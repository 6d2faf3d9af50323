"""`autopilot policy explain | diff | backtest | export`: policies over decisions that were made, or could be."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from autopilot.infra.cli.output import NO, REFUSED, AsJson, announce, print_json, refuse
from autopilot.infra.cli.policy_files import bundle_of, policies_of
from autopilot.infra.cli.policy_log import LIVE, ControlLog, LogPlace
from autopilot.infra.cli.policy_print import print_backtest, print_comparison, print_explanation
from autopilot.policies.backtest import Backtest, BacktestLevel, first_order
from autopilot.policies.bulk import MismatchError
from autopilot.policies.columns import FactTable
from autopilot.policies.compare import Comparison, compare
from autopilot.policies.explain import explained
from autopilot.policies.fact_sets import generated
from autopilot.policies.facts import BASELINE, FactError, FactSet
from autopilot.policies.recorded import RecordedDecision
from autopilot.streams.what_if import what_if

Bundles = Annotated[list[Path], typer.Option("--bundle", metavar="FILE", help="A bundle; again for several in force.")]
Old = Annotated[Path, typer.Argument(help="The bundle as it was.", exists=True, dir_okay=False)]
New = Annotated[Path, typer.Argument(help="The bundle as it would be.", exists=True, dir_okay=False)]
Id = Annotated[
    str, typer.Argument(help="Decision, plan or incident id, or the beginning of one; or a JSON facts file.")
]
Generated = Annotated[int, typer.Option("--generated", metavar="N", help="Compare on N generated fact sets instead.")]
Level = Annotated[BacktestLevel, typer.Option("--level", help="What is followed: each decision alone, or the log.")]
BaselineFile = Annotated[
    Path | None, typer.Option("--baseline", metavar="FILE", help="Flips that are accepted, as --accept writes them.")
]
Accept = Annotated[
    Path | None, typer.Option("--accept", metavar="FILE", help="Write the flips to this file: they are accepted.")
]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write them.")]


def explain(what: Id, bundle: Bundles, log: LogPlace = LIVE, as_json: AsJson = False) -> None:
    """Show why a decision is what it is: the rules with the values they saw, and what would turn it.

    A facts file may hold some facts alone; the others are those of a sound plan in a calm fleet. Of an incident the
    last decision is explained.
    Examples: autopilot policy explain inc-3f0a --bundle policies/bundles/default.yaml;
    autopilot policy explain facts.json --bundle shop.yaml --json
    """
    policies = policies_of(bundle)
    decision = None if Path(what).is_file() else _decision(ControlLog(log), what)
    facts = _facts_in(Path(what)) if decision is None else FactSet.of(decision.facts)
    explanation = explained(policies, facts)
    if as_json:
        print_json({"decision": decision, "facts": dict(facts.values), "explanation": explanation})
    else:
        print_explanation(policies.title, decision, explanation)


def diff(old: Old, new: New, log: LogPlace = LIVE, generate: Generated = 0, as_json: AsJson = False) -> None:
    """List the decisions on which two versions differ, grouped by the rules to which that is due.

    Exit code 1 when they differ.
    Examples: autopilot policy diff old.yaml new.yaml --log decisions.jsonl;
    autopilot policy diff old.yaml new.yaml --generated 100000
    """
    decisions: Sequence[RecordedDecision] = ()
    if generate:
        announce(f"making {generate} fact sets")
        table = generated([bundle_of(path).bundle for path in (old, new)], generate)
    else:
        decisions = ControlLog(log).decisions()
        table = FactTable.of_checked([decision.facts for decision in decisions])
    comparison = _compared(old, new, table)
    titles = tuple(bundle_of(path).bundle.title for path in (old, new))
    if as_json:
        print_json({"old": titles[0], "new": titles[1], **_labelled(comparison, decisions)})
    else:
        print_comparison(titles, comparison, decisions)
    if comparison.differences:
        raise typer.Exit(NO)


def backtest(
    bundle: Bundles,
    log: LogPlace = LIVE,
    level: Level = BacktestLevel.FIRST_ORDER,
    baseline: BaselineFile = None,
    accept: Accept = None,
    as_json: AsJson = False,
) -> None:
    """Try a candidate on recorded decisions: which would flip, each with its incident. A merge gate.

    Exit code 1 on flips that the baseline file does not accept, 2 when the log cannot be read.
    Examples: autopilot policy backtest --bundle candidate.yaml --log live --level sequential;
    autopilot policy backtest --bundle candidate.yaml --log decisions.jsonl --baseline accepted.json
    """
    accepted = _accepted(baseline)
    result = _backtested(bundle, ControlLog(log), level)
    unaccepted = result.unaccepted(accepted)
    if as_json:
        print_json({**asdict(result), "unaccepted": [flip.key for flip in unaccepted]})
    else:
        print_backtest(result, unaccepted)
    if accept is not None:
        keys = [flip.key for flip in result.flips]
        accept.write_text(json.dumps({"accepted": keys}, indent=2) + "\n", encoding="utf-8")
        announce(f"wrote {accept}")
    elif unaccepted:
        raise typer.Exit(NO)


def export(output: Output, log: LogPlace = LIVE) -> None:
    """Write every recorded decision with its facts to a file, one JSON object a line, for `diff` and `backtest`.

    Example: autopilot policy export -o decisions.jsonl --log live
    """
    decisions = ControlLog(log).decisions()
    output.write_text("".join(decision.line() + "\n" for decision in decisions), encoding="utf-8")
    typer.echo(f"wrote {len(decisions)} decisions to {output}")


def _backtested(bundle: Sequence[Path], log: ControlLog, level: BacktestLevel) -> Backtest:
    candidate = policies_of(bundle)
    if level is BacktestLevel.SEQUENTIAL:
        return what_if(candidate, *log.partitions(), log.run)
    try:
        return first_order(candidate, log.decisions())
    except MismatchError as error:
        refuse(f"error: {error}", REFUSED)


def _compared(old: Path, new: Path, table: FactTable) -> Comparison:
    try:
        return compare(policies_of([old]), policies_of([new]), table)
    except MismatchError as error:
        refuse(f"error: {error}", REFUSED)


def _labelled(comparison: Comparison, decisions: Sequence[RecordedDecision]) -> dict[str, object]:
    plain = asdict(comparison)
    for each in plain["differences"]:
        each["decisions"] = [decisions[row].decision_id for row in each["rows"]] if decisions else []
    return plain


def _accepted(baseline: Path | None) -> list[tuple[str, str, str]]:
    if baseline is None:
        return []
    try:
        return [(str(a), str(b), str(c)) for a, b, c in json.loads(baseline.read_text(encoding="utf-8"))["accepted"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        refuse(f"`{baseline}` is no file of accepted flips: {error}")


def _facts_in(path: Path) -> FactSet:
    try:
        return FactSet.of({**BASELINE, **json.loads(path.read_text(encoding="utf-8"))})
    except FactError as error:
        refuse(f"{path}: {error}")
    except (ValueError, TypeError) as error:
        refuse(f"{path}: not a JSON object of facts: {error}")


def _decision(log: ControlLog, what: str) -> RecordedDecision:
    """The last decision of that id. Ends the command when there is none, or when the beginning fits several."""
    found: dict[str, RecordedDecision] = {}
    for decision in log.decisions():
        for name in (decision.decision_id, decision.plan_id, decision.incident_id):
            if name.startswith(what):
                found[name] = decision
    if not found:
        refuse(f"no decision, plan or incident `{what}` was decided in {log.where}", NO)
    if what not in found and len(found) > 1:
        refuse(f"`{what}` is the beginning of {', '.join(sorted(found))}: say more of it")
    return found.get(what) or next(iter(found.values()))

"""`autopilot policy`: what authors of bundles need, without Kafka where it can be done without."""

from pathlib import Path
from typing import Annotated

import typer

from autopilot.infra.cli import policy_history
from autopilot.infra.cli.output import NO, AsJson, print_json, print_table, refuse
from autopilot.infra.cli.policy_files import bundle_of, cases_beside
from autopilot.policies.checks import Level, TestReport, run_tests
from autopilot.policies.checks import check as bundle_findings
from autopilot.policies.formatting import formatted
from autopilot.policies.mutation import GOAL_BP, MutationReport, mutation_run

app = typer.Typer(help="Policy bundles: check, test, explain, compare and try them.", no_args_is_help=True)
BundlePath = Annotated[Path, typer.Argument(help="A PolicyBundle in YAML.", exists=True, dir_okay=False)]
BundlePaths = Annotated[list[Path], typer.Argument(help="PolicyBundles in YAML.", exists=True, dir_okay=False)]
Cases = Annotated[
    Path | None, typer.Option("--cases", metavar="DIR", help="Where `*_test.yaml` files stand; beside the bundle.")
]
OnlyCheck = Annotated[bool, typer.Option("--check", help="Write nothing; exit code 1 when a file is not formatted.")]


@app.command()
def check(file: BundlePath, as_json: AsJson = False) -> None:
    """Load and compile a bundle and say what is doubtful about it. Exit code 1 when it must not rule.

    Types, unknown facts, rules that can never hold or never matter, params that no rule uses.
    Example: autopilot policy check examples/shop/policies/shop.yaml
    """
    findings = bundle_findings(bundle_of(file))
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            typer.echo(str(finding))
        typer.echo(f"{len(findings)} finding{'' if len(findings) == 1 else 's'}")
    if any(finding.level is Level.ERROR for finding in findings):
        raise typer.Exit(NO)


@app.command(name="test")
def run_own_tests(file: BundlePath, cases: Cases = None, as_json: AsJson = False) -> None:
    """Run a bundle's tests, its own and those beside it; show which rules and branches they cover.

    A branch is a part of a condition; tests should see each true and false. Exit code 1 when a test fails.
    Example: autopilot policy test examples/shop/policies/shop.yaml
    """
    ready = bundle_of(file).compiled
    report = run_tests(ready, cases_beside(file, cases, ready.bundle.name))
    if as_json:
        print_json(_summary(report))
    else:
        _print_report(report)
    if not report.passed:
        raise typer.Exit(NO)


@app.command()
def fmt(files: BundlePaths, only_check: OnlyCheck = False) -> None:
    """Write bundles in their canonical form: order of fields, indentation, blank lines. Comments stay.

    Examples: autopilot policy fmt shop.yaml; autopilot policy fmt --check policies/bundles/default.yaml
    """
    changed = []
    for file in files:
        bundle_of(file)
        text = file.read_text(encoding="utf-8")
        try:
            result = formatted(text)
        except ValueError as error:
            refuse(f"{file}: {error}")
        if result != text:
            changed.append(file)
            if not only_check:
                file.write_text(result, encoding="utf-8")
    for file in changed:
        typer.echo(f"{'not formatted' if only_check else 'formatted'}: {file}")
    typer.echo(f"{len(files) - len(changed)} of {len(files)} unchanged")
    if changed and only_check:
        raise typer.Exit(NO)


@app.command()
def mutate(file: BundlePath, cases: Cases = None, as_json: AsJson = False) -> None:
    """Change one thing at a time in a bundle and see whether its tests notice. Exit code 1 below 95 % noticed.

    Example: autopilot policy mutate policies/bundles/default.yaml
    """
    bundle = bundle_of(file).bundle
    report = mutation_run(bundle, cases_beside(file, cases, bundle.name))
    if as_json:
        print_json(_mutation_summary(report))
    else:
        for mutant in report.survivors:
            typer.echo(f"survived  {mutant}")
        typer.echo(f"{report.caught} of {report.total} mutants caught ({report.caught_bp / 100:g} %)")
        typer.echo(f"{len(report.alike)} more say the same as the bundle")
    if report.caught_bp < GOAL_BP:
        raise typer.Exit(NO)


for command in (policy_history.explain, policy_history.diff, policy_history.backtest, policy_history.export):
    app.command()(command)


def _print_report(report: TestReport) -> None:
    for result in report.results:
        typer.echo(f"{'fail' if result.failures else 'pass'}  {result.case.name}")
        for failure in result.failures:
            typer.echo(f"      {failure}")
    typer.echo("")
    print_table(("rule", "held in", "did not hold in"), ((c.rule, c.held, c.did_not) for c in report.coverage), "")
    missing = [each for each in report.branches if not each.complete]
    for each in missing:
        typer.echo(f"uncovered  {each.branch.rule}: `{each.branch.text}` is {each.missing}")
    typer.echo(
        f"\n{len(report.results)} tests; covered: {report.covered_bp / 100:g} % of the outcomes of"
        f" {len(report.coverage)} rules, {report.branches_covered_bp / 100:g} % of {len(report.branches)} branches"
    )


def _summary(report: TestReport) -> dict[str, object]:
    return {
        "passed": report.passed,
        "covered_bp": report.covered_bp,
        "branches_covered_bp": report.branches_covered_bp,
        "tests": [{"name": r.case.name, "failures": list(r.failures)} for r in report.results],
        "coverage": [{"rule": c.rule, "held": c.held, "did_not": c.did_not} for c in report.coverage],
        "branches": [
            {"rule": b.branch.rule, "text": b.branch.text, "held": b.held, "did_not": b.did_not}
            for b in report.branches
        ],
    }  # fmt: skip


def _mutation_summary(report: MutationReport) -> dict[str, object]:
    return {
        "bundle": report.bundle,
        "mutants": report.total,
        "caught": report.caught,
        "caught_bp": report.caught_bp,
        "survivors": [str(mutant) for mutant in report.survivors],
        "alike": [str(mutant) for mutant in report.alike],
    }

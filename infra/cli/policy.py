"""`autopilot policy`: check a bundle and run its own tests, without Kafka."""

from pathlib import Path
from typing import Annotated

import typer

from autopilot.infra.cli.output import NO, AsJson, print_json, print_table
from autopilot.policies.bundle_file import BundleError, BundleFile, parse_bundle
from autopilot.policies.checks import Level, TestReport, run_tests
from autopilot.policies.checks import check as bundle_findings

app = typer.Typer(help="Policy bundles: check and test them.", no_args_is_help=True)
BundlePath = Annotated[Path, typer.Argument(help="A PolicyBundle in YAML.", exists=True, dir_okay=False)]


@app.command()
def check(file: BundlePath, as_json: AsJson = False) -> None:
    """Load and compile a bundle and say what is doubtful about it. Exit code 1 when it must not rule.

    Example: autopilot policy check examples/shop/policies/shop.yaml
    """
    findings = bundle_findings(_bundle(file))
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            typer.echo(str(finding))
        typer.echo(f"{len(findings)} finding{'' if len(findings) == 1 else 's'}")
    if any(finding.level is Level.ERROR for finding in findings):
        raise typer.Exit(NO)


@app.command(name="test")
def run_own_tests(file: BundlePath, as_json: AsJson = False) -> None:
    """Run a bundle's own tests and show which of its rules they cover. Exit code 1 when one fails.

    Example: autopilot policy test examples/shop/policies/shop.yaml
    """
    report = run_tests(_bundle(file).compiled)
    if as_json:
        print_json(_summary(report))
    else:
        for result in report.results:
            typer.echo(f"{'fail' if result.failures else 'pass'}  {result.case.name}")
            for failure in result.failures:
                typer.echo(f"      {failure}")
        typer.echo("")
        rows = ((each.rule, each.held, each.did_not) for each in report.coverage)
        print_table(("rule", "held in", "did not hold in"), rows, "")
        typer.echo(f"{len(report.results)} tests, {report.covered_bp / 100:g} % of the rules' outcomes covered")
    if not report.passed:
        raise typer.Exit(NO)


def _bundle(file: Path) -> BundleFile:
    try:
        return parse_bundle(file.read_text(encoding="utf-8"), str(file))
    except BundleError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(NO) from None


def _summary(report: TestReport) -> dict[str, object]:
    return {
        "passed": report.passed,
        "covered_bp": report.covered_bp,
        "tests": [{"name": r.case.name, "failures": list(r.failures)} for r in report.results],
        "coverage": [{"rule": c.rule, "held": c.held, "did_not": c.did_not} for c in report.coverage],
    }

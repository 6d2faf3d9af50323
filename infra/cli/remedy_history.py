"""`autopilot remedies list`: for each remedy and context what came of it, the posterior and the autonomy in force."""

from collections.abc import Iterator
from typing import Annotated

import typer

from autopilot.infra.cli.output import AsJson, print_json, print_table
from autopilot.infra.cli.views import from_views, log_of
from autopilot.infra.settings import Settings
from autopilot.projections.remedies import Calibration, RemedyRow, calibration_of, remedies
from autopilot.schemas.basis_points import percent

WHOLE_BP = 10_000


def list_remedies(
    as_json: AsJson = False,
    calibration: Annotated[bool, typer.Option(help="Show stated confidence against outcomes as well.")] = False,
) -> None:
    """List what came of each remedy in each context, how sure it is now, and how far it may go there.

    `sure` is the posterior's mean and, after `>=`, its lower bound, which the next plan states as its confidence.
    `Brier` is the mean squared error of the confidence that plans have stated, 0 at best.
    Examples: autopilot remedies list; autopilot remedies list --calibration; autopilot remedies list --json
    """
    settings = Settings()
    rows = from_views(settings, lambda client: client.remedies().remedies, lambda: remedies(log_of(settings)))
    if as_json:
        print_json([_plain(row) for row in rows])
        return
    print_table(
        ("remedy", "context", "plans", "tried", "verified", "rejected", "unclear", "undone", "failed", "sure", "Brier",
         "autonomy", "by"),
        (_cells(row) for row in rows),
        "no remedy is in force; a document of kind RemedyCatalogue brings some",
    )  # fmt: skip
    if calibration:
        _print_calibration(calibration_of(rows))


def _plain(row: RemedyRow) -> dict[str, object]:
    scores = {"brier": row.calibration.brier, "brier_of_mean": row.calibration.brier_of_mean}
    return {**row.model_dump(mode="json"), **scores}


def _cells(row: RemedyRow) -> tuple[object, ...]:
    counts = (row.proposed, row.tried, row.verified, row.rejected, row.inconclusive, row.rolled_back, row.failed)
    sure = f"{percent(row.mean_bp)} >= {percent(row.bound_bp)}"
    level = row.autonomy or "not in the catalogue"
    wanted = f"{level} (proposed: {row.promotion})" if row.promotion else level
    return (
        row.remedy,
        row.context or "(not used)",
        *counts,
        sure,
        _score(row.calibration.brier),
        wanted,
        row.autonomy_by,
    )


def _print_calibration(found: Calibration) -> None:
    typer.echo(f"\n{found.judged} plans judged; Brier {_score(found.brier)}, of the mean {_score(found.brier_of_mean)}")
    print_table(("stated", "plans", "mean stated", "verified"), _bins(found), "no plan was judged yet")


def _bins(found: Calibration) -> Iterator[tuple[object, ...]]:
    for lower, (plans, verified, stated_bp) in sorted(found.bins.items(), key=lambda one: int(one[0])):
        share = percent(verified * WHOLE_BP // plans)
        yield f"from {percent(int(lower))}", plans, percent(stated_bp // plans), f"{verified} ({share})"


def _score(score: float | None) -> str:
    return "" if score is None else f"{score:.3f}"

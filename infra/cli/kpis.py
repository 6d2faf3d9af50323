"""`autopilot kpis`: the figures of the latest windows."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from autopilot.infra.cli.answering import answering_kafka
from autopilot.infra.cli.output import NO, AsJson, duration, print_json, print_table, refuse
from autopilot.infra.composition import registry_of
from autopilot.infra.settings import Settings
from autopilot.streams.kpis.windows import KpiWindow, latest, read_windows


def kpis(
    as_json: AsJson = False,
    every: Annotated[bool, typer.Option("--all", help="Every window that is kept, not the latest of each.")] = False,
    domain: Annotated[str, typer.Option("--domain", help="Only this domain.")] = "",
) -> None:
    """Show decisions, waits, outcomes and telemetry quality by domain and policy, over the latest minute and five.

    A window is shown once it has ended and something was counted in it. A dash means that nothing was measured.
    Examples: autopilot kpis; autopilot kpis --all --domain prod-eu --json
    """
    settings = Settings()
    known = read_windows(answering_kafka(settings), registry_of(settings), settings.run)
    wanted = [window for window in known if domain in ("", window.domain)]
    if domain and known and not wanted:
        there_are = ", ".join(sorted({window.domain for window in known}))
        refuse(f"domain is `{domain}`, of which no window is kept; there are some of {there_are}", NO)
    shown = wanted if every else latest(wanted)
    if as_json:
        print_json(shown)
        return
    columns = (
        "domain",
        "window (UTC)",
        "policy",
        "decided",
        "denied",
        "latency",
        "wait",
        "held",
        "judged",
        "helped",
        "quality",
    )
    print_table(columns, map(_line, shown), "no window has ended yet with anything in it")


def _line(window: KpiWindow) -> tuple[object, ...]:
    start, end = (datetime.fromtimestamp(us / 1_000_000, UTC) for us in (window.from_us, window.until_us))
    return (
        window.domain,
        f"{start:%Y-%m-%d %H:%M}-{end:%H:%M}",
        f"{window.bundle} {window.bundle_digest[7:15]}".strip() or "-",
        window.decisions,
        window.denied,
        _time(window.decision_latency_mean_ms),
        _time(window.approval_wait_mean_ms),
        _time(window.step_wait_mean_ms),
        window.outcomes,
        _share(window.success_bp),
        _share(window.quality_mean_bp),
    )


def _time(took_ms: int | None) -> str:
    return "-" if took_ms is None else duration(took_ms)


def _share(share_bp: int | None) -> str:
    return "-" if share_bp is None else f"{share_bp / 100:.1f} %"

"""`autopilot audit`: prove from the log alone that it is whole and that every step was allowed, and report on a period.

Exit codes of `verify`: 0 nothing is wrong, 1 there are violations, 2 the log or the archive could not be read.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from autopilot.infra.archive.folder import ArchiveFolder
from autopilot.infra.archive.manifest import ArchiveError
from autopilot.infra.cli.answering import answering_kafka
from autopilot.infra.cli.output import NO, AsJson, announce, date_time, print_json, print_table, refuse
from autopilot.infra.composition import registry_of
from autopilot.infra.keys import KeyFileError, public_key_of
from autopilot.infra.settings import Settings
from autopilot.infra.signers import SEALER
from autopilot.projections.compliance import Report, report_of
from autopilot.projections.compliance_page import as_html, as_markdown
from autopilot.schemas.contract import Topic
from autopilot.schemas.registry import SchemaRegistry
from autopilot.streams.audit.audit import Audit, AuditOptions, AuditReport
from autopilot.streams.audit.findings import Finding
from autopilot.streams.audit.source import LiveTopics, Source
from autopilot.streams.reader import read
from autopilot.streams.seal_file import Seal, SealFile
from autopilot.streams.seals import SealError

app = typer.Typer(help="Prove what the log says, and report on it.", no_args_is_help=True)

From = Annotated[str, typer.Option("--from", metavar="TIME", help="From this time on, such as 2026-03-01T08:00 (UTC).")]
To = Annotated[str, typer.Option("--to", metavar="TIME", help="Up to this time.")]
Against = Annotated[Path | None, typer.Option("--against", metavar="FILE", help="A seal file kept outside Kafka.")]
InArchive = Annotated[Path | None, typer.Option("--archive", metavar="DIR", help="An archive instead of the topics.")]
Keys = Annotated[list[str] | None, typer.Option("--key", metavar="BASE64", help="A public key that may seal.")]
ReportFile = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write .md, .html or .json.")]


@app.command()
def verify(
    since: From = "",
    until: To = "",
    against: Against = None,
    archive: InArchive = None,
    key: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Hold every record against its seals, and every step against its decision, signature and verdict.

    Says which record was altered, removed, put in or swapped, by topic, partition and offset; what lies past the last
    seal is said to be not yet protected. Exit code 1 when something is wrong, 2 when it could not be read.

    Examples: autopilot audit verify; autopilot audit verify --against /mnt/worm/seals.jsonl --json;
    autopilot audit verify --archive /backups/log
    """
    settings = Settings()
    from_ms, to_ms = _period(since, until)
    options = AuditOptions(
        run=settings.run,
        from_ms=from_ms,
        to_ms=to_ms,
        against=_seals(against) if against else None,
        sealers=[*(key or []), *_own_sealer(settings)],
    )
    try:
        source, registry = _source(settings, archive)
        report = Audit(source, registry, options, announce).run()
    except ArchiveError as error:
        refuse(f"error: {error}")
    if as_json:
        print_json(as_plain(report))
    else:
        _print(report)
    if report.violations:
        raise typer.Exit(NO)


@app.command()
def report(since: From = "", until: To = "", output: ReportFile = None, as_json: AsJson = False) -> None:
    """Report on a period: decisions by policy version, approvals, overrides, exceptions, halts; each with positions.

    Markdown on the terminal; the ending of --output says in which form it is written.
    Examples: autopilot audit report --from 2026-03-01 --to 2026-04-01 -o march.html; autopilot audit report --json
    """
    from_ms, to_ms = _period(since, until)
    if output is not None:
        _require_form(output)
    settings = Settings()
    kafka, registry = answering_kafka(settings), registry_of(settings)
    events = read(kafka, registry, str(Topic.LOG))
    letters = read(kafka, registry, str(Topic.DEAD_LETTERS))
    found = report_of(events, letters, from_ms=from_ms, to_ms=to_ms, run=settings.run)
    if output is not None:
        output.write_text(_FORMS[output.suffix](found), encoding="utf-8")
        typer.echo(f"wrote {output}")
    elif as_json:
        print_json(asdict(found))
    else:
        typer.echo(as_markdown(found))


def as_plain(report: AuditReport) -> dict[str, object]:
    """The report of `verify` for programs."""
    return {
        "ok": not report.violations,
        "seals": report.seals,
        "last_sealed_at_us": report.last_sealed_at_us,
        "partitions": [
            {
                "topic": part.partition.topic,
                "partition": part.partition.number,
                "first_offset": part.first,
                "end_offset": part.end,
                "records": part.records,
                "verified": part.verified,
            }
            for part in report.partitions
        ],
        "findings": [finding.as_json() for finding in report.findings],
    }


def _source(settings: Settings, archive: Path | None) -> tuple[Source, SchemaRegistry]:
    if archive is not None:
        folder = ArchiveFolder(archive)
        return folder, folder.schemas
    registry = registry_of(settings)
    return LiveTopics(answering_kafka(settings), registry), registry


def _print(report: AuditReport) -> None:
    print_table(
        ("partition", "offsets", "records", "verified"),
        ((p.partition, f"{p.first}..{p.end}", p.records, p.verified) for p in report.partitions),
        "nothing to audit",
    )
    sealed = f", the last at {date_time(report.last_sealed_at_us // 1_000)} UTC" if report.seals else ""
    typer.echo(f"\n{report.seals} seals{sealed}\n")
    _print_findings(report.violations, "no violation")
    if report.notes:
        typer.echo("\nworth knowing:")
        _print_findings(report.notes, "")


def _print_findings(findings: Sequence[Finding], empty: str) -> None:
    print_table(
        ("kind", "where", "records", "what"),
        ((f.kind, _where(f), f.records or "", f.detail) for f in findings),
        empty,
    )


def _where(finding: Finding) -> str:
    until = f"..{finding.last_offset}" if finding.last_offset > finding.position.offset else ""
    return f"{finding.position}{until}"


_FORMS: dict[str, Callable[[Report], str]] = {
    ".md": as_markdown,
    ".html": as_html,
    ".htm": as_html,
    ".json": lambda found: found.as_json() + "\n",
}


def _require_form(path: Path) -> None:
    """Refuses a file whose ending says no form, and a folder that is not there, before anything is read for it."""
    if path.suffix not in _FORMS:
        refuse(f"`{path}` ends in `{path.suffix}`, expected `.md`, `.html` or `.json`")
    if not path.parent.is_dir():
        refuse(f"there is no folder `{path.parent}` to write `{path.name}` into")


def _seals(path: Path) -> list[Seal]:
    if not path.exists():
        refuse(f"there is no seal file `{path}`")
    try:
        return SealFile(path).read()
    except SealError as error:
        refuse(f"`{path}`: {error}")


def _own_sealer(settings: Settings) -> list[str]:
    try:
        return [public_key_of(settings.keys, SEALER)]
    except KeyFileError:
        return []


def _period(since: str, until: str) -> tuple[int | None, int | None]:
    """Both ends in milliseconds; refuses a period that nothing can be in."""
    from_ms, to_ms = _milliseconds(since), _milliseconds(until)
    if from_ms is not None and to_ms is not None and to_ms <= from_ms:
        refuse(f"`--to` is `{until}`, expected a time after `--from`, which is `{since}`")
    return from_ms, to_ms


def _milliseconds(text: str) -> int | None:
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        refuse(f"time is `{text}`, expected one such as 2026-03-01 or 2026-03-01T08:00 (UTC)")
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1_000)

"""`autopilot archive` and `autopilot restore`: sealed records to files and back."""

from pathlib import Path
from typing import Annotated

import typer

from autopilot.infra.archive.archiver import Archiver
from autopilot.infra.archive.folder import ArchiveFolder
from autopilot.infra.archive.manifest import ArchiveError
from autopilot.infra.archive.restore import restore as restore_archive
from autopilot.infra.cli.answering import answering_kafka
from autopilot.infra.cli.output import NO, AsJson, announce, print_json, print_table, refuse
from autopilot.infra.composition import registry_of
from autopilot.infra.settings import Settings, admin_config
from autopilot.streams.audit.audit import Audit, AuditOptions

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The archive's folder.")]


def archive(
    folder: Folder,
    expire: Annotated[
        bool, typer.Option("--expire", help="Then delete the archived telemetry from Kafka; the log stays.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write what is sealed and not archived yet: the log as Avro, telemetry as Parquet, with the seals beside it.

    Each file is held against its seals before it counts. Run again, it goes on where it was. Exit code 1 when a topic
    is not what was sealed; `autopilot audit verify` says where.
    Examples: autopilot archive /backups/log; autopilot archive /backups/log --expire
    """
    settings = Settings()
    archiver = Archiver(
        admin_config(settings) if expire else answering_kafka(settings), registry_of(settings), folder, announce
    )
    try:
        files = archiver.archive()
    except ArchiveError as error:
        refuse(f"error: {error}", NO)
    kept = archiver.expire() if expire else {}
    if as_json:
        expired = [{"topic": p.topic, "partition": p.number, "first_offset": low} for p, low in kept.items()]
        print_json({"files": files, "kept_from": expired})
        return
    print_table(
        ("file", "offsets", "records"),
        ((file.name, f"{file.first_offset}..{file.next_offset}", file.records) for file in files),
        "nothing new is sealed",
    )
    for partition, low in kept.items():
        typer.echo(f"{partition} is kept in Kafka from offset {low} on")


def restore(folder: Folder, as_json: AsJson = False) -> None:
    """Bring an archive back into the empty topics of a fresh cluster, once it has been verified.

    Same partitions, order, keys, values and headers; offsets are new, `archived-offset` says the original one.
    Exit code 1 when the archive does not verify.
    Example: AUTOPILOT_KAFKA=fresh:9092 autopilot restore /backups/log
    """
    settings = Settings()
    try:
        source = ArchiveFolder(folder)
        report = Audit(source, source.schemas, AuditOptions(run=settings.run), announce).run()
        if report.violations:
            first = report.violations[0]
            announced = f"{first.position} {first.kind}: {first.detail}"
            refuse(f"the archive does not verify: {announced}; see `autopilot audit verify --archive {folder}`", NO)
        restored = restore_archive(source, admin_config(settings), announce)
    except ArchiveError as error:
        refuse(f"error: {error}")
    rows = [{"topic": p.topic, "partition": p.number, "records": n} for p, n in restored.records.items()]
    if as_json:
        print_json(rows)
    else:
        print_table(("topic", "partition", "records"), (tuple(row.values()) for row in rows), "the archive is empty")

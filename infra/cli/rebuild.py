"""`autopilot rebuild` and `autopilot projections`: the views, folded anew, and what they are known by."""

from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from autopilot.infra.cli.answering import answering_kafka
from autopilot.infra.cli.output import AsJson, print_json, print_table, refuse
from autopilot.infra.composition import api_url, registry_of
from autopilot.infra.settings import Settings
from autopilot.projections.catalogue import NAMES
from autopilot.projections.catalogue import projections as known_projections
from autopilot.projections.client import Client
from autopilot.projections.rebuild import Rebuilt
from autopilot.projections.rebuild import rebuild as rebuild_views
from autopilot.projections.shelf import RebuildUnderWayError


def rebuild(
    projection: Annotated[str, typer.Argument(help=f"One of {', '.join(NAMES)}; all without it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Fold the whole log again into new views, while the old ones are served, then serve those. Reads Kafka only.

    The digest is over all rows: folded from the same log it is the same, whenever and wherever that is done.
    Examples: autopilot rebuild; autopilot rebuild incidents --json
    """
    settings = Settings()
    known = known_projections(settings.partitions)
    if projection and projection not in known:
        refuse(f"projection is `{projection}`, expected one of {', '.join(known)}")
    wanted = [known[projection]] if projection else list(known.values())
    columns = (TextColumn("folding"), BarColumn(), MofNCompleteColumn(), TextColumn("offsets"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("folding", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        try:
            found = rebuild_views(
                answering_kafka(settings), registry_of(settings), settings.views, wanted, show, settings.run
            )
        except RebuildUnderWayError as error:
            refuse(str(error))
    if as_json:
        print_json(found)
    else:
        _print_rebuilt(found)


def _print_rebuilt(found: list[Rebuilt]) -> None:
    print_table(
        ("projection", "rows", "records", "took", "digest"),
        ((one.projection, f"{one.rows:,}", f"{one.records:,}", f"{one.took_s:.1f} s", one.digest) for one in found),
        "",
    )


def projections(as_json: AsJson = False) -> None:
    """Show each view that is served: version, generation, up to which offsets it is current, and its digest.

    Examples: autopilot projections; autopilot projections --json
    """
    url = api_url(Settings())
    try:
        with Client(url) as client:
            found = client.projections()
    except httpx.HTTPError as error:
        refuse(f"the query API at `{url}` does not answer ({error}); `autopilot up` starts it")
    if as_json:
        print_json(found)
        return
    print_table(
        ("projection", "version", "generation", "as of", "digest"),
        ((one.projection, one.version, one.generation, _offsets(one.as_of), one.digest) for one in found),
        "",
    )


def _offsets(as_of: dict[int, int]) -> str:
    return " ".join(f"{partition}:{offset}" for partition, offset in sorted(as_of.items()))

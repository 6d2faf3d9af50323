"""`autopilot dead-letters`: list what could not be handled, look at it, and drive it again."""

from typing import Annotated

import typer

from autopilot.infra.cli.output import NO, AsJson, date_time, print_json, print_table, refuse
from autopilot.infra.composition import publisher_of, registry_of
from autopilot.infra.dead_letters import DeadLetter, chosen, dead_letters, redrive
from autopilot.infra.settings import Settings, kafka_config

app = typer.Typer(help="Records that could not be handled.", no_args_is_help=True)
LetterId = Annotated[str, typer.Argument(help="Id of a dead letter, or the beginning of one.", metavar="ID")]


@app.command(name="list")
def list_letters(
    as_json: AsJson = False, limit: Annotated[int, typer.Option(help="Only the newest so many.", min=1)] = 50
) -> None:
    """List dead letters, newest last.

    Example: autopilot dead-letters list --limit 10
    """
    letters = sorted(_all(), key=lambda letter: letter.at_ms)[-limit:]
    if as_json:
        print_json([_summary(letter) for letter in letters])
        return
    print_table(
        ("id", "time (UTC)", "reader", "source", "class", "error"),
        (
            (x.letter_id[:13], date_time(x.at_ms), x.content.reader, x.source, x.content.error_class, x.error)
            for x in letters
        ),
        "no dead letter",
    )


@app.command()
def show(letter_id: LetterId, as_json: AsJson = False) -> None:
    """Show one dead letter whole: what was wrong, and the record's headers and bytes.

    Example: autopilot dead-letters show 3f0a9c2b
    """
    letter = _one(letter_id)
    content = letter.content
    headers = {name: value.decode(errors="replace") for name, value in content.headers.items()}
    detail = _summary(letter) | {"key": content.key.hex(), "headers": headers, "value": content.raw.hex()}
    if as_json:
        print_json(detail)
    else:
        print_table(("field", "value"), ((name, str(value)[:2_000]) for name, value in detail.items()), "")


@app.command(name="redrive")
def drive_again(
    letter_id: Annotated[str, typer.Argument(help="Id of a dead letter, or the beginning of one.", metavar="ID")] = "",
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> None:
    """Write dead letters' records again to where they came from, with key and headers, once the cause is mended.

    Examples: autopilot dead-letters redrive 3f0a9c2b; autopilot dead-letters redrive --all
    """
    if bool(letter_id) == everything:
        refuse("give either an ID or --all")
    letters = _all() if everything else [_one(letter_id)]
    publisher = publisher_of(Settings(), "dead-letters")
    try:
        count = redrive(publisher, letters)
    finally:
        publisher.close()
    typer.echo(f"{count} record{'' if count == 1 else 's'} written again")


def _all() -> list[DeadLetter]:
    settings = Settings()
    return list(dead_letters(kafka_config(settings), registry_of(settings)))


def _one(prefix: str) -> DeadLetter:
    found = {letter.letter_id: letter for letter in chosen(_all(), prefix)}
    if not found:
        refuse(f"no dead letter `{prefix}`; `autopilot dead-letters list` shows them", NO)
    if len(found) > 1:
        refuse(f"`{prefix}` is the beginning of {len(found)} ids: say more of it")
    return next(iter(found.values()))


def _summary(letter: DeadLetter) -> dict[str, object]:
    content = letter.content
    return {
        "id": letter.letter_id,
        "time_ms": letter.at_ms,
        "reader": content.reader,
        "source_topic": content.source_topic,
        "source_partition": content.source_partition,
        "source_offset": content.source_offset,
        "error_class": content.error_class,
        "field": content.field,
        "seen": content.value,
        "expected": content.expected,
        "bytes": len(content.raw),
    }

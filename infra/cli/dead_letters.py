"""`autopilot dead-letters`: list what could not be handled, look at it, and drive it again."""

from typing import Annotated

import typer

from autopilot.infra.cli.answering import answering_kafka
from autopilot.infra.cli.output import NO, AsJson, date_time, print_json, print_table, refuse
from autopilot.infra.composition import publisher_of, registry_of
from autopilot.infra.dead_letters import DeadLetter, Refusal, chosen, dead_letters, redrive, refusals
from autopilot.infra.settings import Settings

app = typer.Typer(help="Records that could not be handled.", no_args_is_help=True)
LetterId = Annotated[str, typer.Argument(help="Id of a dead letter, or the beginning of one.", metavar="ID")]


@app.command(name="list")
def list_letters(
    as_json: AsJson = False, limit: Annotated[int, typer.Option(help="Only the newest so many.", min=1)] = 50
) -> None:
    """List what could not be handled, newest last: a record once, whoever could not handle it and wherever it stands.

    Example: autopilot dead-letters list --limit 10
    """
    known = refusals(_all())
    found = known[-limit:]
    if as_json:
        print_json([_shown(refusal) for refusal in found])
        return
    print_table(
        ("id", "time (UTC)", "readers", "source", "class", "error"),
        (
            (
                x.first.letter_id[:13],
                date_time(x.first.at_ms),
                ", ".join(x.readers),
                x.first.source + (f" and {len(x.sources) - 1} more" if len(x.sources) > 1 else ""),
                x.first.content.error_class,
                x.first.error,
            )
            for x in found
        ),
        "no dead letter",
    )
    if len(known) > len(found):
        typer.echo(f"these are the newest {len(found)} of {len(known)}; --limit shows more", err=True)


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
    """Write records again to where they came from, with key and headers, once the cause is mended.

    A broadcast is written again everywhere, and a record that several readers could not handle once.

    Examples: autopilot dead-letters redrive 3f0a9c2b; autopilot dead-letters redrive --all
    """
    if bool(letter_id) == everything:
        refuse("give either an ID or --all")
    letters = _all() if everything else _of_same_record(_one(letter_id))
    publisher = publisher_of(Settings(), "dead-letters")
    try:
        count = redrive(publisher, letters)
    finally:
        publisher.close()
    typer.echo(f"{count} record{'' if count == 1 else 's'} written again")


def _all() -> list[DeadLetter]:
    settings = Settings()
    return list(dead_letters(answering_kafka(settings), registry_of(settings)))


def _of_same_record(letter: DeadLetter) -> list[DeadLetter]:
    return [one for refusal in refusals(_all()) if letter in refusal.letters for one in refusal.letters]


def _shown(refusal: Refusal) -> dict[str, object]:
    return _summary(refusal.first) | {"readers": refusal.readers, "sources": refusal.sources}


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

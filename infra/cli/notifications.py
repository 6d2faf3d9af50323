"""`autopilot notifications`: the channels by which people are told, and whether they work."""

import time
from typing import Annotated

import typer

from autopilot.infra.cli.output import NO, AsJson, announce, print_json, print_table, refuse
from autopilot.infra.notifier.channels import Channel, read_channels
from autopilot.infra.notifier.sending import Sent, sender_of
from autopilot.infra.notifier.state import Pending
from autopilot.infra.settings import Settings
from autopilot.schemas.events.notifications import NotificationRequested

app = typer.Typer(help="How people are told.", no_args_is_help=True)


@app.command()
def channels(as_json: AsJson = False) -> None:
    """List the channels of the file that AUTOPILOT_NOTIFICATIONS names, and what each takes.

    Example: autopilot notifications channels
    """
    known = _channels()
    if as_json:
        print_json(known)
        return
    print_table(
        ("channel", "kind", "reasons", "urgencies", "audiences", "domains", "tries", "not older than"),
        (
            (
                channel.name,
                channel.kind,
                *(
                    ", ".join(f) or "all"
                    for f in (channel.reasons, channel.urgencies, channel.audiences, channel.domains)
                ),
                channel.max_attempts,
                f"{channel.max_age_s:.0f} s",
            )
            for channel in known
        ),
        "no channel: set AUTOPILOT_NOTIFICATIONS to a file of them",
    )


@app.command(name="test")
def try_channels(
    channel: Annotated[str, typer.Argument(help="Name of a channel; all of them without one.", metavar="CHANNEL")] = "",
    as_json: AsJson = False,
) -> None:
    """Send one message to a channel, or to all, and say what each answered. Nothing is written to the log.

    Exit code 1 when one did not take it.
    Example: autopilot notifications test sre
    """
    wanted = [one for one in _channels() if channel in ("", one.name)]
    if not wanted:
        refuse(f"there is no channel `{channel}`; `autopilot notifications channels` lists them", NO)
    announce(f"sending to {', '.join(one.name for one in wanted)}")
    answers = {one.name: sender_of(one)(_message()) for one in wanted}
    rows = [(name, "taken" if isinstance(answer, Sent) else answer.reason) for name, answer in answers.items()]
    if as_json:
        print_json([{"channel": name, "answer": answer} for name, answer in rows])
    else:
        print_table(("channel", "answer"), rows, "")
    if not all(isinstance(answer, Sent) for answer in answers.values()):
        raise typer.Exit(NO)


def _channels() -> list[Channel]:
    path = Settings().notifications
    return read_channels(path) if path is not None else []


def _message() -> Pending:
    at_us = time.time_ns() // 1_000
    request = NotificationRequested(
        notification_id=f"ntf-test-{at_us}",
        reason="test",
        urgency="notice",
        title="A test of this channel",
        text="The autopilot tells people what they must know by this channel.\n$ autopilot status",
        incident_id="",
        audience="",
    )
    return Pending(request, "", "", at_us)

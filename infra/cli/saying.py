"""Saying what a person decides: where it goes, the options it takes, and what became of it."""

from typing import Annotated

import typer

from autopilot.infra.cli.answering import answering_kafka
from autopilot.infra.cli.output import NO, announce_once, refuse
from autopilot.infra.composition import registry_of
from autopilot.infra.governance import Cluster, Said, broadcast
from autopilot.infra.keys import load_key
from autopilot.infra.settings import Settings
from autopilot.schemas.contract import Payload

Comment = Annotated[str, typer.Option(help="Why.")]
Reason = Annotated[str, typer.Option("--reason", help="Why.")]


def cluster_of(settings: Settings) -> Cluster:
    """Where the settings' log is."""
    return Cluster(answering_kafka(settings), registry_of(settings), settings.partitions, announce_once)


def say(payload: Payload, person: str, done: str) -> None:
    """Broadcasts it with the person's signature and prints what became of it: `done`, or why it is refused."""
    settings = Settings()
    tell(broadcast(cluster_of(settings), load_key(settings.keys, person), payload), done)


def tell(said: Said, done: str) -> None:
    """Prints what became of it. Exit code 1 when it is refused."""
    if said.refused:
        refuse(f"refused: {said.refused} (event {said.event_id})", NO)
    places = ", ".join(f"{partition}@{offset}" for partition, offset in sorted(said.offsets.items()))
    typer.echo(f"{done}; event {said.event_id}, in force from {places} on")

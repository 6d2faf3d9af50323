"""Dead letters: what could not be handled, and how it is driven again to where it came from."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from autopilot.schemas.contract import Topic
from autopilot.schemas.events.runtime import DeadLettered
from autopilot.schemas.registry import SchemaRegistry
from autopilot.streams.mint import BROADCAST_KEY
from autopilot.streams.publisher import Publisher
from autopilot.streams.reader import read
from autopilot.streams.record import Outgoing

REDRIVEN = "redriven-from"
"""Header of a record that was driven again: the dead letter's id."""


@dataclass(frozen=True)
class DeadLetter:
    """One dead letter with its id and the time at which Kafka recorded it, in milliseconds since the epoch."""

    letter_id: str
    at_ms: int
    content: DeadLettered

    @property
    def source(self) -> str:
        """Where the record came from."""
        content = self.content
        return f"{content.source_topic}[{content.source_partition}]@{content.source_offset}"

    @property
    def error(self) -> str:
        """What is wrong, in a sentence."""
        content = self.content
        what = f"`{content.field}` is " if content.field else ""
        return f"{what}{content.value}, expected {content.expected}"


class Refusal(NamedTuple):
    """One record that could not be handled: a letter of each reader and, for a broadcast, of each partition."""

    letters: tuple[DeadLetter, ...]

    @property
    def first(self) -> DeadLetter:
        """The first letter, which stands for all."""
        return self.letters[0]

    @property
    def readers(self) -> list[str]:
        """Who could not handle it."""
        return sorted({letter.content.reader for letter in self.letters})

    @property
    def sources(self) -> list[str]:
        """Where it stands: one place, or those of a broadcast."""
        return sorted({letter.source for letter in self.letters})


def refusals(letters: Iterable[DeadLetter]) -> list[Refusal]:
    """The letters by record and error, in the order of the first: what was broadcast shows once."""
    found: dict[tuple[object, ...], list[DeadLetter]] = {}
    for letter in sorted(letters, key=lambda letter: letter.at_ms):
        content = letter.content
        record = content.raw if content.key == BROADCAST_KEY else letter.source
        found.setdefault((record, content.error_class, content.field), []).append(letter)
    return [Refusal(tuple(same)) for same in found.values()]


def dead_letters(kafka: Mapping[str, str], registry: SchemaRegistry) -> Iterator[DeadLetter]:
    """Every dead letter, each partition in order."""
    for recorded in read(kafka, registry, str(Topic.DEAD_LETTERS), types=(DeadLettered,)):
        if isinstance(recorded.payload, DeadLettered):
            yield DeadLetter(recorded.envelope.event_id, recorded.recorded_at_ms, recorded.payload)


def chosen(letters: Iterable[DeadLetter], prefix: str) -> list[DeadLetter]:
    """The letters whose id begins with `prefix`."""
    return [letter for letter in letters if letter.letter_id.startswith(prefix)]


def redriven(letter: DeadLetter) -> Outgoing:
    """The record as it was, for the partition that it came from, with one more header that says what it is."""
    content = letter.content
    return Outgoing(
        topic=content.source_topic,
        partition=content.source_partition,
        key=content.key,
        value=content.raw,
        headers={**content.headers, REDRIVEN: letter.letter_id.encode()},
    )


def redrive(publisher: Publisher, letters: Iterable[DeadLetter]) -> int:
    """Writes the letters' records again, each once, and returns how many, once the broker has them."""
    by_source = {letter.source: letter for letter in letters}
    for letter in by_source.values():
        publisher.send(redriven(letter))
    publisher.flush()
    return len(by_source)

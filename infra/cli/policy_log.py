"""Where recorded decisions come from: the live log, an archive of it, or a file that `policy export` wrote."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final

import typer

from autopilot.infra.archive.folder import ArchiveFolder
from autopilot.infra.archive.manifest import ArchiveError
from autopilot.infra.cli.answering import answering_kafka
from autopilot.infra.cli.output import announce, refuse
from autopilot.infra.composition import registry_of
from autopilot.infra.settings import Settings
from autopilot.policies.facts import FactError
from autopilot.policies.recorded import DECIDING, RecordedDecision, RecordedError, decisions_in, decisions_of_lines
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Event
from autopilot.schemas.errors import ContractError
from autopilot.schemas.identity import LIVE_RUN
from autopilot.streams.audit.source import LiveTopics, Source, is_log
from autopilot.streams.record import EVENT_TYPE, RUN, Record
from autopilot.streams.whole_reader import plain_record

LIVE: Final = "live"
LogPlace = Annotated[
    str, typer.Option("--log", metavar="WHERE", help="`live`, the folder of an archive, or a file of `policy export`.")
]


class ControlLog:
    """The control log of a cluster or of an archive: its decisions, and its records by partition."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.file = Path(where) if where != LIVE and Path(where).is_file() else None
        if self.file is None:
            self._source, self._codec = _source(where)

    def decisions(self) -> list[RecordedDecision]:
        """Every decision, in the order of the log. Ends the command when they cannot be read."""
        announce(f"reading decisions from {self.where}")
        try:
            if self.file is not None:
                with self.file.open(encoding="utf-8") as lines:
                    return list(decisions_of_lines(lines))
            return list(decisions_in(self._deciding()))
        except (ArchiveError, FactError, RecordedError) as error:
            refuse(f"{self.where}: {error}")

    def partitions(self) -> tuple[Codec, list[Iterable[Sequence[Record]]]]:
        """The partitions of the log, each as chunks of records, with the codec that reads them."""
        if self.file is not None:
            refuse(f"`{self.file}` holds decisions alone: a sequential backtest needs the whole log")
        announce(f"folding the log of {self.where}")
        return self._codec, [self._chunks(at) for at in range(len(self._bounds()))]

    @cached_property
    def run(self) -> str:
        """The run whose decisions these are: `live`, but for the archive of a simulation, which is of another."""
        if self.where == LIVE or self.file is not None:
            return LIVE_RUN
        records = (record for at in range(len(self._bounds())) for chunk in self._chunks(at) for record in chunk)
        runs = (record.headers.get(RUN, b"").decode() for record in records)
        return next((run for run in runs if run and not run.startswith("shadow:")), LIVE_RUN)

    def _bounds(self) -> list[tuple[int, int]]:
        return [bounds for partition, bounds in self._source.bounds().items() if is_log(partition)]

    def _chunks(self, at: int) -> Iterator[Sequence[Record]]:
        partition, (first, end) = [item for item in self._source.bounds().items() if is_log(item[0])][at]
        for batch in self._source.read(partition, first, end):
            yield [plain_record(partition, whole) for whole in batch]

    def _deciding(self) -> Iterator[Event[Payload]]:
        wanted = {model.event_type().encode() for model in DECIDING}
        for at in range(len(self._bounds())):
            for chunk in self._chunks(at):
                yield from self._events(record for record in chunk if record.headers.get(EVENT_TYPE) in wanted)

    def _events(self, records: Iterable[Record]) -> Iterator[Event[Payload]]:
        run = self.run.encode()
        for record in records:
            if record.headers.get(RUN, run) == run:
                try:
                    yield self._codec.decode(record.value)
                except ContractError:
                    continue


def _source(where: str) -> tuple[Source, Codec]:
    if where == LIVE:
        settings = Settings()
        registry = registry_of(settings)
        return LiveTopics(answering_kafka(settings), registry), Codec(registry)
    if not Path(where).is_dir():
        refuse(f"there is no `{where}`: write `live`, the folder of an archive, or a file of `autopilot policy export`")
    try:
        folder = ArchiveFolder(Path(where))
    except ArchiveError as error:
        refuse(f"error: {error}")
    return folder, Codec(folder.schemas)

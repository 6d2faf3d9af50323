"""`autopilot replay`: fold what was recorded again, and see that it gives the same.

It reads the topics or an archive, opens no producer and holds no key: it cannot act. Exit codes: 0 no divergence,
1 there are some, 2 the log or the archive could not be read.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from autopilot.agents.agent import Agent
from autopilot.agents.executor import Executor
from autopilot.agents.observer import Observer
from autopilot.agents.planner import Planner
from autopilot.agents.policy import PolicyAgent
from autopilot.agents.verifier import Verifier
from autopilot.infra.archive.folder import ArchiveFolder
from autopilot.infra.archive.manifest import ArchiveError
from autopilot.infra.cli.answering import answering_kafka
from autopilot.infra.cli.output import NO, AsJson, announce, print_json, print_table, refuse
from autopilot.infra.composition import registry_of
from autopilot.infra.settings import Settings
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Topic
from autopilot.schemas.envelope import Position
from autopilot.schemas.identity import LIVE_RUN
from autopilot.schemas.registry import SchemaRegistry
from autopilot.streams.audit.source import LiveTopics, Source
from autopilot.streams.code import code_digest
from autopilot.streams.fold import PartitionFold
from autopilot.streams.mint import Mint
from autopilot.streams.record import Record
from autopilot.streams.replay import Divergence, Recordings, Replayed, replay
from autopilot.streams.seals import Partition
from autopilot.streams.snapshots import Snapshot, SnapshotOf, load_every_latest
from autopilot.streams.whole_reader import plain_record

Agents = Annotated[list[str] | None, typer.Argument(metavar="[AGENT]...", help="Agents to replay; all five when none.")]
InArchive = Annotated[Path | None, typer.Option("--archive", metavar="DIR", help="An archive instead of the topics.")]
FromSnapshot = Annotated[bool, typer.Option("--from-snapshot", help="From each partition's newest snapshot on.")]
Most = Annotated[int, typer.Option("--most", metavar="N", help="Divergences to show.")]


def replay_command(
    agents: Agents = None,
    archive: InArchive = None,
    from_snapshot: FromSnapshot = False,
    most: Most = 5,
    as_json: AsJson = False,
) -> None:
    """Fold recorded partitions again and compare the outputs, byte for byte, with those that were recorded.

    The first divergences are shown with the event that caused them and every field that differs. What another bundle
    would have decided is `autopilot policy backtest`.

    Examples: autopilot replay; autopilot replay policy --json; autopilot replay --archive /backups/log
    """
    if archive is not None and from_snapshot:
        refuse("`--from-snapshot` is of the topics, expected without `--archive`: an archive has no snapshots")
    settings = Settings()
    source, registry = _opened(archive, settings)
    chosen = _chosen(agents, _partition_count(source))
    codec = Codec(registry)
    recordings = _recordings(source, codec, [agent.name for agent in chosen])
    snapshots = _snapshots(codec, settings) if from_snapshot else None
    results = [_replayed(agent, source, codec, recordings, snapshots) for agent in chosen]
    if as_json:
        print_json([_plain(result) for result in results])
    else:
        _print(results, {agent.name: code_digest(agent) for agent in chosen}, most)
    if any(result.divergences for result in results):
        raise typer.Exit(NO)


def _opened(archive: Path | None, settings: Settings) -> tuple[Source, SchemaRegistry]:
    if archive is None:
        registry = registry_of(settings)
        return LiveTopics(answering_kafka(settings), registry), registry
    try:
        folder = ArchiveFolder(archive)
    except ArchiveError as error:
        refuse(str(error))
    return folder, folder.schemas


def _partition_count(source: Source) -> int:
    return sum(partition.topic == Topic.LOG for partition in source.bounds())


def _chosen(names: Sequence[str] | None, partitions: int) -> list[Agent[Any]]:
    known: list[Agent[Any]] = [Observer(partitions), Planner(), PolicyAgent(), Executor(), Verifier()]
    by_name = {agent.name: agent for agent in known}
    for name in names or ():
        if name not in by_name:
            refuse(f"there is no agent `{name}`: one of {', '.join(by_name)}")
    return [by_name[name] for name in names] if names else known


def _recordings(source: Source, codec: Codec, agents: list[str]) -> Recordings:
    recordings = Recordings(codec, agents)
    for partition in source.bounds():
        announce(f"reading what was recorded on {partition.topic}[{partition.number}]")
        for chunk in _chunks(source, partition, 0):
            recordings.take(chunk)
    return recordings


def _replayed(
    agent: Agent[Any],
    source: Source,
    codec: Codec,
    recordings: Recordings,
    snapshots: Mapping[SnapshotOf, Snapshot] | None,
) -> Replayed:
    numbers = sorted(p.number for p in source.bounds() if p.topic == agent.reads)
    begins = _begins(agent, numbers, codec, snapshots or {})
    announce(f"replaying the {agent.name}" + ("" if snapshots is None else f" {starts_in_words(begins)}"))
    starts = {number: offset for number, (offset, _) in begins.items()}
    partitions = [_chunks(source, Partition(str(agent.reads), n), starts.get(n, 0)) for n in numbers]
    states = {number: state for number, (_, state) in begins.items()}
    return replay(agent, codec, partitions, recordings, lambda at: _at(source, at), states)


def _snapshots(codec: Codec, settings: Settings) -> Mapping[SnapshotOf, Snapshot]:
    """Every agent's: the topic is read once for all of them."""
    announce(f"reading the snapshots on {Topic.SNAPSHOTS}")
    return load_every_latest(answering_kafka(settings), codec)


def _begins(
    agent: Agent[Any], numbers: Sequence[int], codec: Codec, snapshots: Mapping[SnapshotOf, Snapshot]
) -> Mapping[int, tuple[int, bytes]]:
    """Partition -> where the agent begins there, and the state that it begins with, where it has one that fits."""
    found = {}
    for number in numbers:
        snapshot = snapshots.get(SnapshotOf(agent.name, str(agent.reads), number))
        if snapshot is not None and fits(agent, codec, snapshot):
            found[number] = (snapshot.manifest.next_offset, snapshot.state)
    return found


def fits(agent: Agent[Any], codec: Codec, snapshot: Snapshot) -> bool:
    """Whether the agent as it is can go on from the snapshot; says so when it cannot."""
    at, fold = snapshot.manifest, PartitionFold(agent, codec, Mint(codec, agent.name, 1), reads_run=LIVE_RUN)
    try:
        fold.load(snapshot.state, same_code=at.code_digest == code_digest(agent))
    except (ValueError, KeyError, TypeError):
        where = f"{at.source_topic}[{at.source_partition}]@{at.next_offset}"
        code = at.code_digest[:12]
        announce(f"the snapshot of the {agent.name} at {where} is of other code (`{code}`) and does not fit")
        return False
    return True


def starts_in_words(snapshots: Mapping[int, tuple[int, bytes]]) -> str:
    """Where each partition begins, for people."""
    if not snapshots:
        return "from the beginning: there is no snapshot to start from"
    begun = ", ".join(f"{number}@{offset}" for number, (offset, _) in sorted(snapshots.items()))
    return f"from its snapshots at {begun}; other partitions from the beginning"


def _chunks(source: Source, partition: Partition, start: int) -> Iterator[list[Record]]:
    _, end = source.bounds()[partition]
    for batch in source.read(partition, start, end):
        yield [plain_record(partition, whole) for whole in batch]


def _at(source: Source, at: Position) -> Record:
    partition = Partition(at.topic, at.partition)
    for batch in source.read(partition, at.offset, at.offset + 1):
        for whole in batch:
            return plain_record(partition, whole)
    raise LookupError(f"{at} could be read before and cannot now")


def _print(results: Sequence[Replayed], digests: Mapping[str, str], most: int) -> None:
    rows = [
        (r.agent, f"{r.records:,}", f"{r.outputs:,}", len(r.divergences), _epochs(r, digests[r.agent])) for r in results
    ]
    print_table(["agent", "records", "outputs", "divergences", "code"], rows, "no agent was replayed")
    shown = [divergence for result in results for divergence in result.divergences][:most]
    for divergence in shown:
        _print_divergence(divergence)


def _epochs(result: Replayed, present: str) -> str:
    if result.epochs <= {present}:
        return "as recorded"
    return f"other than recorded ({len(result.epochs)} epochs): a what-if"


def _print_divergence(divergence: Divergence) -> None:
    typer.echo(f"\n{divergence.agent}: {divergence.event_type} {divergence.event_id} {divergence.kind}")
    typer.echo(f"  because of {divergence.cause}")
    for field, old, new in divergence.fields:
        typer.echo(f"  {field}: recorded {old}, replayed {new}")


def _plain(result: Replayed) -> dict[str, Any]:
    return {**asdict(result), "epochs": sorted(result.epochs)}

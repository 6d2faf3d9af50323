"""Where recorded telemetry comes from: a file, a folder of files, an archive of the log, or a live topic."""

from pathlib import Path

import numpy as np

from autopilot.infra.archive.folder import ArchiveFolder
from autopilot.infra.archive.manifest import MANIFEST
from autopilot.infra.composition import registry_of
from autopilot.infra.settings import Settings, kafka_config
from autopilot.infra.simulate.files import Columns, InputError, read_recording
from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Topic
from autopilot.schemas.errors import ContractError
from autopilot.schemas.events.telemetry import TelemetryBatch
from autopilot.schemas.registry import SchemaRegistry
from autopilot.streams.audit.source import LiveTopics, Source
from autopilot.streams.in_process import InProcess
from autopilot.streams.record import EVENT_TYPE
from autopilot.streams.seals import WholeRecord
from autopilot.streams.simulation.recording import Recording, SeriesId

_BATCH = TelemetryBatch.event_type().encode()
Gathered = dict[SeriesId, tuple[list[int], list[float]]]


def recording_of(telemetry: str, columns: Columns) -> Recording:
    """The recording at a path or on the telemetry topic. Raises `InputError`, and `ArchiveError` for a bad archive."""
    path = Path(telemetry)
    if path.is_dir() and (path / MANIFEST).exists():
        folder = ArchiveFolder(path)
        return from_source(folder, folder.schemas, telemetry)
    if path.exists():
        return read_recording(path, columns)
    if telemetry == Topic.TELEMETRY:
        settings = Settings()
        registry = registry_of(settings)
        return from_source(LiveTopics(kafka_config(settings), registry), registry, telemetry)
    raise InputError(telemetry, 0, "--telemetry", telemetry, f"a file, a folder, an archive, or `{Topic.TELEMETRY}`")


def from_source(source: Source, registry: SchemaRegistry, name: str) -> Recording:
    """The telemetry among recorded events, by the samples' own times. What does not decode is left out and counted."""
    codec = Codec(registry)
    gathered: Gathered = {}
    left_out = 0
    for partition, (low, end) in source.bounds().items():
        if partition.topic != Topic.TELEMETRY:
            continue
        for records in source.read(partition, low, end):
            left_out += sum(not _take(record, codec, gathered) for record in records)
    if not gathered:
        raise InputError(name, 0, "telemetry", "no batch", "at least one recorded batch of samples")
    return _recording(gathered, left_out)


def from_records(runner: InProcess) -> Recording:
    """The telemetry that the agents of a finished run saw."""
    gathered: Gathered = {}
    for record in runner.topics[str(Topic.TELEMETRY)][0]:
        whole = WholeRecord(
            record.position.offset, record.timestamp_ms, record.key, record.value, (*record.headers.items(),)
        )
        _take(whole, runner.codec, gathered)
    return _recording(gathered, 0)


def _recording(gathered: Gathered, left_out: int) -> Recording:
    columns = {
        identity: (np.array(times, np.int64), np.array(values, np.float64))
        for identity, (times, values) in gathered.items()
    }
    return Recording.of(columns, left_out)


def _take(record: WholeRecord, codec: Codec, into: Gathered) -> bool:
    """Adds a record's samples; false for a batch that is none."""
    if dict(record.headers).get(EVENT_TYPE) != _BATCH:
        return True
    try:
        event = codec.decode(record.value)
    except ContractError:
        return False
    payload = event.payload
    if not isinstance(payload, TelemetryBatch):
        return False
    for one in payload.series:
        if len(one.timestamps_us) != len(one.values):
            return False
        attributes = tuple(sorted(one.attributes.items()))
        identity = SeriesId(event.envelope.service, one.metric, one.kind, one.unit, attributes)
        times, values = into.setdefault(identity, ([], []))
        times += one.timestamps_us
        values += one.values
    return True

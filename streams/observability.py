"""What the runtime says of itself by OpenTelemetry: a span for each handled event, and metrics of the worker.

Trace and span ids are derived from incident and event ids (`autopilot.schemas.identity`), so one incident is one
trace, whichever process looks at it, and the `traceparent` headers are the same in a replay. Without a configured
provider the API's no-op implementation makes all of this nearly free.
"""

import time
from collections.abc import Sequence
from contextvars import ContextVar

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags
from opentelemetry.util.types import AttributeValue

from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Draft, Output, Recorded
from autopilot.schemas.identity import span_id, trace_id

_METER = metrics.get_meter("autopilot.streams")
_TRACER = trace.get_tracer("autopilot.streams")

LAG = _METER.create_gauge("autopilot.lag", "{record}", "Records between the last handled one and the partition's end")
BATCH_SIZE = _METER.create_histogram("autopilot.batch.size", "{record}", "Records handled in one turn")
HANDLE_TIME = _METER.create_histogram("autopilot.handle.duration", "ms", "Time to fold the records of one turn")
TRANSACTION_TIME = _METER.create_histogram("autopilot.transaction.duration", "ms", "Time to commit one transaction")
END_TO_END = _METER.create_histogram(
    "autopilot.end_to_end.duration", "ms", "From the append of the oldest record of a turn to the commit of its outputs"
)
DEAD_LETTERS = _METER.create_counter("autopilot.dead_letters", "{record}", "Records put into dead-letters")
RESTARTS = _METER.create_counter("autopilot.worker.restarts", "{restart}", "Sessions ended by an error")


def now_ms() -> float:
    """A monotonic time in milliseconds, for durations only."""
    return time.perf_counter() * 1_000


_NEXT_IDS: ContextVar[tuple[int, int]] = ContextVar("autopilot_next_ids")


class DerivedIds(IdGenerator):
    """Gives the SDK the ids that the watch derived; to be given to the `TracerProvider`."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()

    def generate_trace_id(self) -> int:
        """The derived trace id, or a random one for spans that are not of an event."""
        ids = _NEXT_IDS.get(None)
        return ids[0] if ids else self._random.generate_trace_id()

    def generate_span_id(self) -> int:
        """The derived span id, or a random one for spans that are not of an event."""
        ids = _NEXT_IDS.get(None)
        return ids[1] if ids else self._random.generate_span_id()


class SpanWatch:
    """Watches a fold: one span for each handled event of an incident."""

    def __init__(self, agent: str, run: str) -> None:
        self._agent = agent
        self._run = run
        self._started_ns = 0

    def starting(self) -> None:
        """The agent is about to be called."""
        self._started_ns = time.time_ns()

    def handled(self, recorded: Recorded[Payload], outputs: Sequence[Output]) -> None:
        """The agent has handled `recorded` and made `outputs` of it."""
        drafts = [output for output in outputs if isinstance(output, Draft)]
        envelope = recorded.envelope
        incident = envelope.correlation_id or next((d.correlation_id for d in drafts if d.correlation_id), "")
        if not incident:
            return
        trace_number = int(trace_id(self._run, incident), 16)
        context = None
        if envelope.correlation_id and envelope.causation_id:
            context = _remote_parent(trace_number, int(span_id(envelope.producer, envelope.causation_id), 16))
        token = _NEXT_IDS.set((trace_number, int(span_id(self._agent, envelope.event_id), 16)))
        try:
            span = _TRACER.start_span(
                f"{self._agent} {recorded.event.type}",
                context=context,
                kind=SpanKind.CONSUMER,
                start_time=self._started_ns,
                attributes=_attributes(recorded, drafts, incident),
            )
        finally:
            _NEXT_IDS.reset(token)
        span.end()


def _attributes(recorded: Recorded[Payload], drafts: Sequence[Draft], incident: str) -> dict[str, AttributeValue]:
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": recorded.position.topic,
        "messaging.destination.partition.id": str(recorded.position.partition),
        "messaging.kafka.offset": recorded.position.offset,
        "autopilot.event_id": recorded.envelope.event_id,
        "autopilot.incident_id": incident,
        "autopilot.outputs": [draft.payload.event_type() for draft in drafts],
    }


def _remote_parent(trace_number: int, span_number: int) -> Context:
    parent = SpanContext(trace_number, span_number, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return trace.set_span_in_context(NonRecordingSpan(parent))

"""The observer: watches what services say about themselves, and says what a person on call would want to know.

It promises to raise an `slo_burn` signal as soon as the record that proves it is folded, or the tick that does; to say
`telemetry_lost` when required telemetry stops, and nothing about the objectives until it is back; to report quality
when it crosses a level; to answer measurement requests from bounded memory; and to summarise every five minutes. It
reads the telemetry topic and keeps the services of the fleet map whose key falls into the partition.
"""

from collections.abc import Callable, Sequence
from typing import Any

from autopilot.agents.observer.intake import Samples, rounds, shape_fault, take
from autopilot.agents.observer.measurement import (
    close_groups,
    is_due,
    open_groups,
    request_fault,
    summarise,
    take_measurement,
)
from autopilot.agents.observer.quality import half_window_us, report_change
from autopilot.agents.observer.series import MAX_SERIES
from autopilot.agents.observer.signals import Moment, judge, watch_telemetry, withdraw, withdraw_all
from autopilot.agents.observer.spread import additions
from autopilot.agents.observer.state import Memory, ObserverState, OpenRequest, ServiceState, declared, dump, load
from autopilot.schemas.configuration import Objective, Service
from autopilot.schemas.contract import Payload, Topic
from autopilot.schemas.envelope import Draft, Output, Recorded, Rejection
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.events.telemetry import MeasurementRequested, Series, TelemetryBatch
from autopilot.schemas.partition import partition_of

CLOCK_GAP_US = 30_000_000
"""When ticks are further apart than this the clock stood still, and nobody can say that services were silent."""

Handler = Callable[[ObserverState, Recorded[Any]], list[Output]]


class Observer:
    """The observing agent. `partitions` is the partition count of the telemetry topic."""

    name = "observer"
    reads = Topic.TELEMETRY

    def __init__(self, partitions: int = 1) -> None:
        self._partitions = partitions
        self._handlers: dict[type[Payload], Handler] = {
            TelemetryBatch: _telemetry,
            MeasurementRequested: _measurement,
            Tick: _tick,
            ConfigurationActivated: self._configuration,
        }
        self.handles: frozenset[type[Payload]] = frozenset(self._handlers)

    def initial_state(self) -> ObserverState:
        """See `Agent.initial_state`."""
        return ObserverState()

    def handle(self, state: ObserverState, recorded: Recorded[Payload]) -> tuple[ObserverState, Sequence[Output]]:
        """See `Agent.handle`."""
        return state, self._handlers[type(recorded.payload)](state, recorded)

    def handle_batch(
        self, state: ObserverState, batch: Sequence[Recorded[Payload]]
    ) -> tuple[ObserverState, Sequence[Sequence[Output]]]:
        """See `BatchingAgent.handle_batch`."""
        return state, [self._handlers[type(recorded.payload)](state, recorded) for recorded in batch]

    def dump_state(self, state: ObserverState) -> bytes:
        """See `Agent.dump_state`."""
        return dump(state)

    def load_state(self, data: bytes) -> ObserverState:
        """See `Agent.load_state`."""
        return load(data)

    def _configuration(self, state: ObserverState, recorded: Recorded[ConfigurationActivated]) -> list[Output]:
        """Takes over fleet map and objectives. Raises ValueError when the partition count is evidently wrong."""
        partition = recorded.position.partition
        if partition >= self._partitions:
            raise ValueError(f"an observer for {self._partitions} partitions was given partition {partition}")
        state.partition = partition
        state.configuration = state.configuration.with_activated(
            doc for doc in recorded.payload.documents if doc.kind in {"Fleet", "ServiceLevelObjectives"}
        )
        fleet = declared(state.configuration)
        state.fleet = frozenset(fleet)
        here = {name: found for name, found in fleet.items() if partition_of(name, self._partitions) == partition}
        moment = _moment(state, recorded)
        said: list[Output] = []
        for name in [name for name in state.services if name not in here]:
            said += withdraw_all(state.services.pop(name), f"`{name}` is no longer in the fleet map", moment)
        for service, objectives in here.values():
            said += _configure(state, service, objectives, moment)
        return said


def _moment(state: ObserverState, recorded: Recorded[Any]) -> Moment:
    return Moment(state.now_us, recorded.position, recorded.envelope.event_id)


def _configure(
    state: ObserverState, declared_service: Service, objectives: list[Objective], moment: Moment
) -> list[Draft]:
    name, domain = declared_service.name, declared_service.domain
    service = state.services.get(name)
    said: list[Draft] = []
    if service is None:
        service = ServiceState(name, declared_service.telemetry, objectives, Memory(domain, state.now_us))
        state.services[name] = service
    elif service.memory.domain != domain:
        said = withdraw_all(service, f"`{name}` moved to the domain `{domain}`", moment)
        service.memory.domain = domain
    unchanged = {o.name for o in objectives if o in service.objectives}
    changed = set(service.memory.signals) - unchanged
    said += withdraw(service, changed, "the objective was changed or removed", moment)
    service.contract, service.objectives = declared_service.telemetry, objectives
    service.replan(tidy=True)
    return said


def _service(state: ObserverState, recorded: Recorded[Any]) -> ServiceState | Rejection:
    name = recorded.envelope.service
    service = state.services.get(name)
    if service is not None:
        return service
    if name in state.fleet:
        return Rejection("service", f"`{name}` on partition {state.partition}", "on the partition of its key")
    return Rejection("service", f"`{name}`", "a service of the fleet map")


# -- telemetry ---------------------------------------------------------------------------------------------------------


def _telemetry(state: ObserverState, recorded: Recorded[TelemetryBatch]) -> list[Output]:
    service = _service(state, recorded)
    if isinstance(service, Rejection):
        return [service]
    fault = shape_fault(recorded.payload)
    if fault is not None:
        return [fault]
    now_us = state.now_us or recorded.envelope.occurred_at_us
    numbers, sent, refused = _recognise(service, recorded.payload.series, now_us)
    said: list[Output] = []
    if refused:
        said.append(Rejection("series", f"{refused} more than {MAX_SERIES} of `{service.name}`", "fewer series"))
    alarmed: set[int] = set()
    newest = -1
    for places in rounds(numbers):
        samples = take(service.table, [numbers[p] for p in places], [sent[p] for p in places], now_us)
        if len(samples.values):
            newest = max(newest, int(samples.timestamps_us.max()))
            alarmed.update(_add(service, samples))
    if newest >= 0:
        service.mark(recorded.position, newest)
    if alarmed:
        said += judge(service, sorted(alarmed), _moment(state, recorded))
    return said


def _recognise(service: ServiceState, series: list[Series], now_us: int) -> tuple[list[int], list[Series], int]:
    """The numbers of the series that have samples, these series, and how many there was no room for."""
    table = service.table
    sent = [one for one in series if one.timestamps_us]
    found = [table.number_of(one) for one in sent]
    fresh = [one for one, number in zip(sent, found, strict=True) if number is None]
    if fresh:
        table.register(fresh, now_us)
        service.replan()
        found = [table.number_of(one) for one in sent]
    numbers = [number for number in found if number is not None]
    if len(numbers) == len(sent):
        return numbers, sent, 0
    return numbers, [one for one, n in zip(sent, found, strict=True) if n is not None], len(sent) - len(numbers)


def _add(service: ServiceState, samples: Samples) -> list[int]:
    targets = service.plan.targets
    if targets is None:
        return []
    made = additions(service.plan, targets, samples)
    service.cells.add(made.cell, made.bucket, made.value, made.weight)
    return made.alarmed


# -- time --------------------------------------------------------------------------------------------------------------


def _tick(state: ObserverState, recorded: Recorded[Tick]) -> list[Output]:
    stood_still = 0 < state.now_us < recorded.payload.at_us - CLOCK_GAP_US
    state.now_us = recorded.payload.at_us
    moment = _moment(state, recorded)
    said: list[Output] = []
    for service in state.services.values():
        if stood_still:
            service.memory.known_since_us = state.now_us
            service.table.start_window(state.now_us)
        said += _pass_time(service, moment)
    return said


def _pass_time(service: ServiceState, moment: Moment) -> list[Draft]:
    now_us, memory = moment.now_us, service.memory
    memory.known_since_us = memory.known_since_us or now_us
    service.table.rotate(now_us, half_window_us(service.contract))
    said = watch_telemetry(service, moment)
    said += judge(service, range(len(service.plan.objectives)), moment)
    said += report_change(service, now_us)
    said += _take_due(service, moment)
    summary = summarise(service, now_us)
    closed = close_groups(service, now_us) if memory.groups else False
    if (summary and service.table.drop_idle(now_us)) or closed:
        service.replan(tidy=True)
    return said + summary


# -- measurements ------------------------------------------------------------------------------------------------------


def _measurement(state: ObserverState, recorded: Recorded[MeasurementRequested]) -> list[Output]:
    service = _service(state, recorded)
    if isinstance(service, Rejection):
        return [service]
    request = recorded.payload
    if any(open_one.request.measurement_id == request.measurement_id for open_one in service.memory.requests):
        return []
    fault = request_fault(service, request)
    if fault is not None:
        return [fault]
    service.memory.requests.append(OpenRequest(request=request, correlation_id=recorded.envelope.correlation_id))
    if request.groups and open_groups(service, request):
        service.replan()
    return [*_take_due(service, _moment(state, recorded))]


def _take_due(service: ServiceState, moment: Moment) -> list[Draft]:
    memory = service.memory
    due = [one for one in memory.requests if is_due(service, one.request, moment.now_us)]
    if due:
        memory.requests = [one for one in memory.requests if one not in due]
    return [take_measurement(service, one, moment) for one in due]

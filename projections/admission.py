"""Which records a projection is shown, and as what: those that the agents themselves would count.

What bears another run's header is passed by, what does not decode is (it is in dead letters), and what means nothing
without a signature is shown only with a valid one: a view that showed a forged approval would lie. The configuration in
force, and with it the signer list, is folded here for each partition, and so is the time. That signed words count once
is for each view to see: `autopilot.projections.hearing`.
"""

from collections.abc import Iterable, Mapping

from autopilot.schemas.codec import Codec
from autopilot.schemas.configuration import Configuration, Principal, Role
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Event, Recorded, Rejection
from autopilot.schemas.errors import ContractError
from autopilot.schemas.events.people import ApprovalGranted, ApprovalRejected, ConfigurationActivated
from autopilot.schemas.events.runtime import Tick
from autopilot.schemas.identity import LIVE_RUN
from autopilot.streams.fold import is_ahead
from autopilot.streams.record import EVENT_TYPE, RUN, Record
from autopilot.streams.trust import AUTHORITATIVE, SIGNED, SIGNS, check_activation, check_signature, signer_of

_OF_POLICY = SIGNS["policy"] & AUTHORITATIVE


class Admission:
    """Turns records into events.

    `configurations` is what is in force in each partition, `now_us` its last tick's time; they change as records come.
    """

    def __init__(
        self,
        codec: Codec,
        types: Iterable[type[Payload]],
        configurations: Mapping[int, Configuration],
        run: str = LIVE_RUN,
        now_us: Mapping[int, int] | None = None,
    ) -> None:
        self._codec = codec
        self._run = run.encode()
        wanted: set[type[Payload]] = {*types, ConfigurationActivated, Tick}
        self.wanted = frozenset(model.event_type().encode() for model in wanted)
        self.configurations = dict(configurations)
        self.now_us = dict(now_us or {})
        self.activated: set[int] = set()
        """Partitions whose configuration has changed; for whoever stores it, who clears this."""
        self._signers = {partition: c.signers() for partition, c in self.configurations.items()}

    def admit(self, record: Record) -> Recorded[Payload] | None:
        """The event, or None when it is not to be shown. For records whose type is `wanted`, in their order."""
        if record.headers.get(EVENT_TYPE) not in self.wanted or record.headers.get(RUN, self._run) != self._run:
            return None
        try:
            event = self._codec.decode(record.value)
        except ContractError:
            return None
        partition, kind, payload = record.position.partition, event.type, event.payload
        if type(payload) is Tick:
            self.now_us[partition] = time_after(self.now_us.get(partition, 0), payload, record)
        signed_by = None
        if kind in AUTHORITATIVE:
            signed_by = self._signer(record, event)
            if signed_by is None:
                return None
        elif kind in SIGNED:
            found = check_signature(record, kind, self._signers.get(partition, []))
            if isinstance(found, Rejection):
                return None
            signed_by = found
        return Recorded(record.position, event, signed_by, record.timestamp_ms)

    def _signer(self, record: Record, event: Event[Payload]) -> str | None:
        if isinstance(event.payload, ConfigurationActivated):
            return self._activate(record, event)
        known = self._signers.get(record.position.partition, [])
        signed_by = signer_of(record, event.type, [one for one in known if _may_sign(one, event.type)])
        if isinstance(event.payload, ApprovalGranted | ApprovalRejected) and signed_by != event.payload.approver:
            return None
        return signed_by

    def _activate(self, record: Record, event: Event[Payload]) -> str | None:
        activation, partition = event.payload, record.position.partition
        assert isinstance(activation, ConfigurationActivated)
        before = self.configurations.get(partition, Configuration())
        outcome = check_activation(record, Event(event.envelope, activation), before)
        if isinstance(outcome, Rejection):
            return None
        self.configurations[partition] = outcome
        self._signers[partition] = outcome.signers()
        self.activated.add(partition)
        return activation.author


def time_after(now_us: int, tick: Tick, record: Record) -> int:
    """The time after a tick: as for the agents one that is late changes nothing, nor one far ahead of its record."""
    return now_us if is_ahead(tick, record) else max(now_us, tick.at_us)


def _may_sign(principal: Principal, event_type: str) -> bool:
    """Whether their signature would count: an authorisation is the policy's alone to give."""
    return Role.POLICY in principal.roles or event_type not in _OF_POLICY

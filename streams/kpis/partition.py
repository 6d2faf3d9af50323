"""The KPIs of one partition of the log: records go in, changed rows and the events of ended windows come out.

What bears no signature that holds is not counted, by the signer list in force at that offset, and a copy of signed
words is not counted again: the rules of the agents. The list is kept with the rows, under no domain's name, and what
was heard in the row of its domain.

It is still pure: whoever drives it says the events, then keeps the row, in this order. If that is cut short, the record
is delivered again, the row is as before, and the same events with the same ids are said once more.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace

from autopilot.schemas.codec import Codec
from autopilot.schemas.configuration import Configuration
from autopilot.schemas.contract import Contract, Payload, optional
from autopilot.schemas.envelope import Draft, Event, Recorded, Rejection
from autopilot.schemas.errors import ContractError
from autopilot.schemas.events.kpis import KpiWindowClosed
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.identity import content_id
from autopilot.streams.errors import UnknownTrustError
from autopilot.streams.kpis.fold import HANDLERS, NO_ROW, DomainRow, Window, apply, pass_time
from autopilot.streams.mint import Mint
from autopilot.streams.record import EVENT_TYPE, RUN, Outgoing, Record
from autopilot.streams.repetition import Heard, check_repetition
from autopilot.streams.trust import (
    AUTHORITATIVE,
    as_far_as_trust,
    bears_policys_word,
    check_activation,
    check_signature,
)

PRODUCER = "kpis"

NO_DOMAIN = ""
"""Under which name a partition's `TrustRow` is kept."""
_ACTIVATED = ConfigurationActivated.event_type().encode()
_WANTED = frozenset(model.event_type().encode() for model in HANDLERS)


class TrustRow(Contract):
    """Whose signatures count in a partition. Every record before `next_offset` is applied.

    There is one from the partition's first record on: without one, what was read may hold the genesis.
    """

    next_offset: int = optional("The offset after the activation.", 0)
    configuration: Configuration = optional("What is in force, as far as signatures need it.", Configuration())


NO_TRUST = TrustRow()
"""That of a partition of which nothing was read yet: the next activation may be the genesis."""


def trust_of(kept: TrustRow | None, rows: Mapping[str, DomainRow], next_offset: int) -> TrustRow:
    """Whose signatures count, by what is kept of a partition that is read from `next_offset` on.

    Raises `UnknownTrustError` when that is not its begin and no `TrustRow` is kept: the genesis may be behind, and any
    list that came now would be taken for it.
    """
    if kept is None and (rows or next_offset):
        raise UnknownTrustError(
            f"counted up to offset {next_offset} without the signer list that is kept with the counts since, so that "
            "nobody knows whose signatures count"
        )
    return kept or NO_TRUST


@dataclass(frozen=True, slots=True)
class Change:
    """What one record came to for one domain: first `said` is to be written, then `row` is to be kept.

    A `TrustRow` is kept after the domains' rows of the same record and of those before it.
    """

    domain: str
    row: DomainRow | TrustRow
    said: list[Outgoing]


class PartitionKpis:
    """The rows of a partition's domains, and what each next record changes in them."""

    def __init__(
        self, partition: int, rows: Mapping[str, DomainRow], codec: Codec, mint: Mint, trust: TrustRow = NO_TRUST
    ) -> None:
        self._partition = partition
        self._codec = codec
        self._mint = mint
        self._run = mint.run.encode()
        self.rows = dict(rows)
        self._trust = trust
        self._signers = trust.configuration.signers()
        self._due_ms = self._next_due()

    def take(self, record: Record) -> list[Change]:
        """What `record` changes, by domain. The records of the partition come in order, some perhaps again."""
        at_ms = record.timestamp_ms
        if record.headers.get(RUN, self._run) != self._run or record.position.offset < self._trust.next_offset:
            return []
        name = record.headers.get(EVENT_TYPE)
        is_due = self._due_ms is not None and at_ms >= self._due_ms
        if name not in _WANTED and name != _ACTIVATED and not is_due:
            return []
        try:
            event = self._codec.decode(record.value)
        except ContractError:
            return []
        heard = self._heard(record, event) if name in _WANTED else None
        changes = self._fold(Recorded(record.position, event, None, at_ms), heard) if heard or is_due else []
        if isinstance(event.payload, ConfigurationActivated):
            changes += self._activate(record, Event(event.envelope, event.payload))
        return changes

    def _heard(self, record: Record, event: Event[Payload]) -> Heard | None:
        """What its domain has heard once this is; None when this does not count.

        What agents answer counts in the order of its causes, so that no time is asked for: ticks' nor the record's.
        """
        if event.type in AUTHORITATIVE and not bears_policys_word(record, event.type, self._signers):
            return None
        signed_by = check_signature(record, event.type, self._signers)
        if isinstance(signed_by, Rejection):
            return None
        heard = self.rows.get(event.envelope.domain, NO_ROW).heard
        if signed_by is None:
            return heard
        heard = deepcopy(heard)
        refused = check_repetition(record, event, signed_by, heard, record.timestamp_ms * 1_000)
        return heard if refused is None else None

    def _activate(self, record: Record, event: Event[ConfigurationActivated]) -> list[Change]:
        outcome = check_activation(record, event, self._trust.configuration)
        if isinstance(outcome, Rejection):
            return []
        self._trust = TrustRow(next_offset=record.position.offset + 1, configuration=as_far_as_trust(outcome))
        self._signers = self._trust.configuration.signers()
        return [Change(NO_DOMAIN, self._trust, [])]

    def _fold(self, recorded: Recorded[Payload], heard: Heard | None) -> list[Change]:
        """Counts it in its own domain if it counts, with what that has then heard, and lets time pass in the others."""
        own = recorded.envelope.domain if heard is not None else ""
        changes = []
        for domain in dict.fromkeys([*self.rows, own] if own else self.rows):
            before = self.rows.get(domain, NO_ROW)
            if domain == own:
                row, ended = apply(before, recorded)
                row = row if row is before else row.model_copy(update={"heard": heard})
            else:
                row, ended = pass_time(before, recorded.position.offset, recorded.recorded_at_ms)
            if row is not before:
                self.rows[domain] = row
                changes.append(Change(domain, row, [self._said(domain, window, recorded) for window in ended]))
        self._due_ms = self._next_due()
        return changes

    def _said(self, domain: str, window: Window, cause: Recorded[Payload]) -> Outgoing:
        """The event of an ended window, in the partition that it was counted in."""
        payload = KpiWindowClosed(
            from_us=window.start_ms * 1_000,
            until_us=window.end_ms * 1_000,
            window_ms=window.length_ms,
            bundle=window.policy.bundle,
            bundle_digest=window.policy.digest,
            figures=window.figures,
        )
        event = self._mint.outside_event(Draft(payload, domain), payload.until_us)
        envelope = event.envelope.model_copy(
            update={
                "event_id": self._identity(domain, window),
                "causation_id": cause.envelope.event_id,
                "cause_topic": cause.position.topic,
                "cause_partition": cause.position.partition,
                "cause_offset": cause.position.offset,
            }
        )
        return self._mint.record(replace(event, envelope=envelope), self._partition)

    def _identity(self, domain: str, window: Window) -> str:
        """The window's own: what was counted and which record ended it are no part of it."""
        place = (self._mint.run, self._partition, domain, window.length_ms, window.start_ms, window.policy.digest)
        return content_id(KpiWindowClosed.event_type(), "/".join(map(str, place)).encode())

    def _next_due(self) -> int | None:
        return min((row.due_ms for row in self.rows.values() if row.due_ms is not None), default=None)

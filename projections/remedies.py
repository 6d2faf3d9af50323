"""`remedies`: what came of each remedy in each context, how sure it is now, and how far it may go.

A context is a service and what was wrong with it, as the planner counts outcomes. Rows are of one partition alone: a
planner knows no more. A remedy of the catalogue has a row without a context as well, so that it shows before its use.
The posterior is the planner's own (`agents/planner/confidence.py`), under the prior that the catalogue now states.

Calibration sets what plans stated against what came of them: outcomes that were verified or rejected, by tenths of the
stated confidence, and the mean squared error (G. W. Brier, "Verification of forecasts expressed in terms of
probability", Monthly Weather Review 78, 1950). The stated confidence is a lower bound; the mean is scored beside it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from autopilot.agents.planner.confidence import WHOLE_BP, Tally, posterior
from autopilot.agents.policy.standing import remedies_of
from autopilot.projections.projection import Handler, Projection, folded
from autopilot.projections.rows import NOTE, Row, Rows
from autopilot.schemas.configuration import Remedy, RemedyCatalogue
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Recorded
from autopilot.schemas.events.executor import ExecutionFailed, ExecutionRolledBack, ExecutionStarted
from autopilot.schemas.events.governance import (
    GovernanceRefused,
    RemedyAutonomyChanged,
    RemedyAutonomyLowered,
    RemedyPromotionProposed,
)
from autopilot.schemas.events.people import ConfigurationActivated
from autopilot.schemas.events.planner import PlanProposed, PlanWithdrawn
from autopilot.schemas.events.policy import AuthorizationRevoked, PlanDenied
from autopilot.schemas.events.verifier import OutcomeInconclusive, OutcomeRejected, OutcomeVerified

POLICY: Final = "policy"
"""The producer whose word about autonomy is shown."""
DECISIONS_KEPT: Final = 10
_BIN_BP: Final = 1_000


class Calibration(BaseModel):
    """What plans stated against what came of them. Sums, in basis points, so that rows may be added up."""

    model_config = ConfigDict(frozen=True)

    judged: int = Field(default=0, description="plans whose outcome was verified or rejected")
    squares: int = Field(default=0, description="sum of the squared differences of stated confidence and outcome")
    mean_squares: int = Field(default=0, description="the same for the mean of the posterior instead of its bound")
    bins: dict[str, list[int]] = Field(
        default={}, description="by stated confidence from so many basis points on: plans, of them verified, sum stated"
    )

    @property
    def brier(self) -> float | None:
        """The Brier score of the stated confidence, 0 best and 1 worst; None when nothing was judged."""
        return self.squares / self.judged / WHOLE_BP**2 if self.judged else None

    @property
    def brier_of_mean(self) -> float | None:
        """The Brier score of the posterior's mean."""
        return self.mean_squares / self.judged / WHOLE_BP**2 if self.judged else None


class RemedyRow(BaseModel):
    """One remedy in one context; without a context, one remedy of the catalogue."""

    model_config = ConfigDict(frozen=True)

    remedy: str
    context: str = Field(description="service and what was wrong with it; empty for the catalogue's own row")
    service: str
    domain: str
    partition: int
    remedy_digest: str = Field(description="digest of its definition in force; empty when the catalogue has it no more")
    proposed: int = Field(description="plans proposed")
    tried: int = Field(description="executions begun")
    verified: int = Field(description="outcomes that were verified")
    rejected: int = Field(description="outcomes that were rejected")
    inconclusive: int = Field(description="outcomes of which it cannot be said")
    rolled_back: int = Field(description="executions that were undone")
    failed: int = Field(description="executions that ended without success and were not undone whole")
    mean_bp: int = Field(description="mean of the posterior")
    bound_bp: int = Field(description="its lower bound, which the next plan would state as confidence")
    autonomy: str = Field(description="how far it may go on the service now; empty when the catalogue has it no more")
    autonomy_by: str = Field(description="`catalogue`, a person, or `policy` when it was lowered")
    autonomy_declared: str = Field(description="what the catalogue declares")
    promotion: str = Field(description="a level that is proposed and not decided on; empty for none")
    calibration: Calibration


# -- fold --------------------------------------------------------------------------------------------------------------

_COUNTERS: Final = ("proposed", "tried", "verified", "rejected", "inconclusive", "rolled_back", "failed")


def _activated(rows: Rows, recorded: Recorded[ConfigurationActivated]) -> None:
    partition = recorded.position.partition
    parsed = [
        (doc.name, RemedyCatalogue.model_validate_json(doc.content))
        for doc in recorded.payload.documents
        if doc.kind == "RemedyCatalogue"
    ]
    if not parsed:
        return
    note = rows.get(_catalogue(partition)) or {}
    note |= {name: [_defined(*one) for one in remedies_of(catalogue.remedies).items()] for name, catalogue in parsed}
    rows.put(_catalogue(partition), note)
    if partition == 0:  # every partition is told the same: one of them shows it
        _show_catalogue(rows, note)
    _settle_all(rows, partition)


def _defined(name: str, found: tuple[Remedy, str]) -> Row:
    remedy, digest = found
    prior = [remedy.prior_successes_milli, remedy.prior_failures_milli]
    return {"remedy": name, "digest": digest, "autonomy": remedy.autonomy.value, "prior": prior}


def _show_catalogue(rows: Rows, note: Row) -> None:
    known = (rows.get(_index(0)) or {"keys": []})["keys"]
    named = sorted({one["remedy"] for catalogue in note.values() for one in catalogue})
    for key in known:
        row = rows.get(key)
        if row is not None and not row["context"] and row["remedy"] not in named:
            rows.delete(key)
    for remedy in named:
        _row_of(rows, 0, remedy, "", "", "")


def _proposed(rows: Rows, recorded: Recorded[PlanProposed]) -> None:
    plan, envelope = recorded.payload, recorded.envelope
    context = plan.basis.context
    row = _row_of(rows, recorded.position.partition, plan.remedy, context, envelope.service, envelope.domain)
    row["proposed"] += 1
    _keep(rows, row)
    stated = {"row": _key(row), "stated_bp": plan.confidence_bp, "mean_bp": plan.basis.mean_bp}
    rows.put(_plan(plan.plan_id), stated)


def _came_to_nothing(rows: Rows, recorded: Recorded[PlanWithdrawn | AuthorizationRevoked]) -> None:
    if isinstance(recorded.payload, AuthorizationRevoked) and recorded.payload.step_id:
        return  # it was begun: what becomes of it is told by the executor
    rows.delete(_plan(recorded.payload.plan_id))


def _denied(rows: Rows, recorded: Recorded[PlanDenied]) -> None:
    rows.delete(_plan(recorded.payload.decision.plan_id))


def _started(rows: Rows, recorded: Recorded[ExecutionStarted]) -> None:
    _count(rows, recorded.payload.plan_id, "tried")


def _ended_badly(rows: Rows, recorded: Recorded[ExecutionFailed | ExecutionRolledBack]) -> None:
    ended = recorded.payload
    if ended.execution_id:
        _count(rows, ended.plan_id, "failed" if isinstance(ended, ExecutionFailed) else "rolled_back")
    rows.delete(_plan(ended.plan_id))


def _judged(rows: Rows, recorded: Recorded[Any]) -> None:
    outcome = recorded.payload.outcome
    if outcome.phase != "remedy":
        return
    envelope, note = recorded.envelope, rows.get(_plan(outcome.plan_id))
    partition = recorded.position.partition
    row = _row_of(rows, partition, outcome.remedy, outcome.context, envelope.service, envelope.domain)
    verdict = _VERDICTS[type(recorded.payload)]
    row[verdict] += 1
    if note is not None and verdict != "inconclusive":
        row["calibration"] = _calibrated(row["calibration"], note, helped=verdict == "verified")
    if verdict != "rejected":  # what was rejected is undone yet
        rows.delete(_plan(outcome.plan_id))
    _keep(rows, row)


def _calibrated(before: Row, note: Row, *, helped: bool) -> Row:
    stated, came = note["stated_bp"], WHOLE_BP if helped else 0
    lower = str(min(stated, WHOLE_BP - 1) // _BIN_BP * _BIN_BP)
    plans, verified, sum_bp = before["bins"].get(lower, [0, 0, 0])
    return {
        "judged": before["judged"] + 1,
        "squares": before["squares"] + (stated - came) ** 2,
        "mean_squares": before["mean_squares"] + (note["mean_bp"] - came) ** 2,
        "bins": {**before["bins"], lower: [plans + 1, verified + helped, sum_bp + stated]},
    }


# -- autonomy ----------------------------------------------------------------------------------------------------------


def _changed(rows: Rows, recorded: Recorded[RemedyAutonomyChanged]) -> None:
    said, event_id = recorded.payload, recorded.envelope.event_id
    key = _autonomy(recorded.position.partition, said.remedy, said.service)
    _decide(rows, recorded, key, said.changed_by)
    rows.put(_said(event_id), {"of": key})


def _lowered(rows: Rows, recorded: Recorded[RemedyAutonomyLowered]) -> None:
    said = recorded.payload
    if recorded.envelope.producer == POLICY:
        _decide(rows, recorded, _autonomy(recorded.position.partition, said.remedy, said.service), POLICY)


def _decide(rows: Rows, recorded: Recorded[RemedyAutonomyChanged | RemedyAutonomyLowered], key: str, who: str) -> None:
    said, note = recorded.payload, rows.get(key) or {"decisions": [], "promotion": None}
    decided = {"id": recorded.envelope.event_id, "autonomy": said.autonomy, "digest": said.remedy_digest, "by": who}
    decisions = [*note["decisions"], decided]
    for old in decisions[:-DECISIONS_KEPT]:
        rows.delete(_said(old["id"]))
    rows.put(key, {**note, "decisions": decisions[-DECISIONS_KEPT:]})
    _settle_all(rows, recorded.position.partition)


def _refused(rows: Rows, recorded: Recorded[GovernanceRefused]) -> None:
    """The policy did not take a person's change: what stood before stands."""
    refused = recorded.payload.event_id
    said = rows.get(_said(refused)) if recorded.envelope.producer == POLICY else None
    if said is None:
        return
    note = rows.get(said["of"]) or {"decisions": [], "promotion": None}
    rows.put(said["of"], {**note, "decisions": [one for one in note["decisions"] if one["id"] != refused]})
    rows.delete(_said(refused))
    _settle_all(rows, recorded.position.partition)


def _promoted(rows: Rows, recorded: Recorded[RemedyPromotionProposed]) -> None:
    said = recorded.payload
    if recorded.envelope.producer != POLICY:
        return
    key = _autonomy(recorded.position.partition, said.remedy, said.service)
    note = rows.get(key) or {"decisions": [], "promotion": None}
    promotion = {"level": said.proposed, "digest": said.remedy_digest, "after": _last_id(note)}
    rows.put(key, {**note, "promotion": promotion})
    _settle_all(rows, recorded.position.partition)


def _last_id(note: Row) -> str:
    return str(note["decisions"][-1]["id"]) if note["decisions"] else ""


# -- rows --------------------------------------------------------------------------------------------------------------


def _row_of(rows: Rows, partition: int, remedy: str, context: str, service: str, domain: str) -> Row:
    named = {"remedy": remedy, "context": context, "service": service, "domain": domain, "partition": partition}
    found = rows.get(_key(named))
    if found is not None:
        return found
    row = {**named, **dict.fromkeys(_COUNTERS, 0), "calibration": Calibration().model_dump()}
    index = rows.get(_index(partition)) or {"keys": []}
    rows.put(_index(partition), {"keys": sorted({*index["keys"], _key(row)})})
    _keep(rows, row)
    return row


def _count(rows: Rows, plan_id: str, counter: str) -> None:
    note = rows.get(_plan(plan_id))
    row = rows.get(note["row"]) if note is not None else None
    if row is not None:
        row[counter] += 1
        _keep(rows, row)


def _settle_all(rows: Rows, partition: int) -> None:
    for key in (rows.get(_index(partition)) or {"keys": []})["keys"]:
        row = rows.get(key)
        if row is not None:
            _keep(rows, row)


def _keep(rows: Rows, row: Row) -> None:
    """Puts the row with all that follows from its counters, the catalogue and what was decided."""
    catalogues = sorted((rows.get(_catalogue(row["partition"])) or {}).items())
    defined = [one for _, catalogue in catalogues for one in catalogue if one["remedy"] == row["remedy"]]
    declared = defined[0] if defined else _UNDECLARED
    successes_milli, failures_milli = declared["prior"]
    now = posterior(successes_milli, failures_milli, Tally(row["verified"], row["rejected"]))
    row |= {"mean_bp": now.mean_bp, "bound_bp": now.bound_bp, "remedy_digest": declared["digest"]}
    row |= _autonomy_of(rows.get(_autonomy(row["partition"], row["remedy"], row["service"])), declared)
    rows.put(_key(row), row)


_UNDECLARED: Final[Row] = {"digest": "", "autonomy": "", "prior": [1_000, 1_000]}


def _autonomy_of(note: Row | None, declared: Row) -> Row:
    level, by, promotion = declared["autonomy"], "catalogue" if declared["autonomy"] else "", ""
    last = note["decisions"][-1] if note and note["decisions"] else None
    if last is not None and last["digest"] == declared["digest"]:
        level, by = last["autonomy"], last["by"]
    proposed = note["promotion"] if note else None
    if note and proposed and proposed["digest"] == declared["digest"] and proposed["after"] == _last_id(note):
        promotion = proposed["level"]
    return {"autonomy": level, "autonomy_by": by, "autonomy_declared": declared["autonomy"], "promotion": promotion}


def _key(row: Row) -> str:
    return f"{row['partition']:04}/{row['remedy']}/{row['context']}"


def _plan(plan_id: str) -> str:
    return f"{NOTE}plan/{plan_id}"


def _said(event_id: str) -> str:
    return f"{NOTE}said/{event_id}"


def _index(partition: int) -> str:
    return f"{NOTE}rows/{partition:04}"


def _catalogue(partition: int) -> str:
    return f"{NOTE}catalogue/{partition:04}"


def _autonomy(partition: int, remedy: str, service: str) -> str:
    return f"{NOTE}autonomy/{partition:04}/{remedy}@{service}"


_VERDICTS: Mapping[type[Payload], str] = {
    OutcomeVerified: "verified",
    OutcomeRejected: "rejected",
    OutcomeInconclusive: "inconclusive",
}
_HANDLERS: Mapping[type[Payload], Handler] = {
    ConfigurationActivated: _activated,
    PlanProposed: _proposed,
    PlanWithdrawn: _came_to_nothing,
    AuthorizationRevoked: _came_to_nothing,
    PlanDenied: _denied,
    ExecutionStarted: _started,
    ExecutionFailed: _ended_badly,
    ExecutionRolledBack: _ended_badly,
    **dict.fromkeys(_VERDICTS, _judged),
    RemedyAutonomyChanged: _changed,
    RemedyAutonomyLowered: _lowered,
    RemedyPromotionProposed: _promoted,
    GovernanceRefused: _refused,
}
REMEDIES = Projection("remedies", 1, _HANDLERS)


# -- reading -----------------------------------------------------------------------------------------------------------


def remedies(events: Iterable[Recorded[Payload]]) -> list[RemedyRow]:
    """Every remedy in every context. `events` must be in order within each partition."""
    return by_remedy(RemedyRow.model_validate(row) for row in folded(REMEDIES, events).shown())


def by_remedy(rows: Iterable[RemedyRow]) -> list[RemedyRow]:
    """The rows by remedy; the catalogue's own only where the remedy was never proposed."""
    known = list(rows)
    used = {row.remedy for row in known if row.context}
    shown = [row for row in known if row.context or row.remedy not in used]
    return sorted(shown, key=lambda row: (row.remedy, row.context, row.partition))


def calibration_of(rows: Iterable[RemedyRow]) -> Calibration:
    """The calibration of several rows together."""
    found = [row.calibration for row in rows]
    bins: dict[str, list[int]] = {}
    for lower, sums in (item for one in found for item in one.bins.items()):
        bins[lower] = [a + b for a, b in zip(bins.get(lower, [0, 0, 0]), sums, strict=True)]
    return Calibration(
        judged=sum(one.judged for one in found),
        squares=sum(one.squares for one in found),
        mean_squares=sum(one.mean_squares for one in found),
        bins=bins,
    )

"""The documents that people write: fleet, service level objectives, remedies, signers, calendar, risk budgets.

They are YAML on disk and canonical JSON in the log (`ConfigurationActivated`), so an agent folds them like any other
event. `PolicyBundle` is one more kind; its model is in `autopilot.policies`. Every model refuses unknown fields, and
`Configuration.of(documents)` is what agents keep.
"""

import json
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from autopilot.schemas.events.observer import Severity, SliKind
from autopilot.schemas.events.people import Document
from autopilot.schemas.events.planner import RiskClass
from autopilot.schemas.identity import digest_of
from autopilot.schemas.remedies import (
    Remedy,
    RemedyAction,
    RemedyCatalogue,
    RemedyConstraint,
    RemedyFlapping,
    RemedyGate,
    RemedyOperator,
    RemedyStep,
    RemedyVariable,
    RemedyVerification,
    VariableType,
)
from autopilot.schemas.written import Autonomy, Name, Written


class TargetRef(Written):
    """What the effector may act on for a service."""

    driver: Name
    target: str
    role: str = Field(default="", description="what it is for where a driver has several, such as `stable`, `canary`")


class TelemetryContract(Written):
    """What telemetry a service owes: the metrics that quality is judged on, and how often they come."""

    interval_ms: int = Field(default=10_000, ge=100)
    required_metrics: list[str] = Field(default=[])
    stale_after_ms: int = Field(default=60_000, ge=100)
    lost_after_ms: int = Field(default=120_000, ge=100)


class Service(Written):
    """One service of the fleet."""

    name: Name
    domain: Name
    tier: int = Field(ge=0, le=4, description="0 is the most important")
    owner: str
    environment: str = "production"
    autonomy: Autonomy = Autonomy.APPROVE
    instances: int = Field(default=1, ge=1, description="declared capacity, in instances")
    depends_on: list[Name] = Field(default=[])
    targets: list[TargetRef] = Field(default=[])
    telemetry: TelemetryContract = TelemetryContract()


class Domain(Written):
    """A unit of governance. `partition` pins it; without one its name is hashed."""

    name: Name
    partition: int | None = Field(default=None, ge=0)
    max_concurrent_executions: int = Field(default=0, ge=0, description="executions at a time; 0 for no limit")
    max_steps_per_minute: int = Field(default=0, ge=0, description="steps begun within a minute; 0 for no limit")


class Fleet(Written):
    """Which services there are, whose they are and where they are governed."""

    kind: Literal["Fleet"] = "Fleet"
    name: Name
    domains: list[Domain]
    services: list[Service]


class Selector(Written):
    """Series by metric name and by the attributes that must be equal; series that match are added up."""

    metric: str
    attributes: dict[str, str] = Field(default={})


class RatioIndicator(Written):
    """Bad (or good) events over all events."""

    type: Literal["ratio"] = "ratio"
    bad: Selector | None = None
    good: Selector | None = None
    total: Selector


class ThresholdIndicator(Written):
    """Each sample is one event, bad when its value is beyond a bound."""

    type: Literal["threshold"] = "threshold"
    metric: Selector
    bad_above: float | None = None
    bad_below: float | None = None


class BurnAlert(Written):
    """Fires when the burn rate is at or above the threshold over both windows (SRE workbook, chapter 5)."""

    severity: Severity = Severity.PAGE
    long_window_ms: int = Field(ge=100)
    short_window_ms: int = Field(ge=100)
    burn_rate_milli: int = Field(ge=1, description="burn rate in thousandths: 14400 is 14.4")
    min_events: int = Field(default=1, ge=1, description="events in the short window below which nothing fires")


class Objective(Written):
    """One service level objective."""

    name: Name
    service: Name
    sli: SliKind
    objective_bp: int = Field(ge=1, le=9_999, description="share of good events promised, basis points")
    indicator: Annotated[RatioIndicator | ThresholdIndicator, Field(discriminator="type")]
    alerts: list[BurnAlert]


class ServiceLevelObjectives(Written):
    """The objectives of a fleet."""

    kind: Literal["ServiceLevelObjectives"] = "ServiceLevelObjectives"
    name: Name
    objectives: list[Objective]


class BudgetUnit(StrEnum):
    """What a budget counts."""

    ACTIONS = "actions"
    """One for each plan that is authorised."""
    COST = "cost"
    """The plan's cost, in the catalogue's points."""
    FAILURES = "failures"
    """One for each execution that failed, was rolled back or did not help."""


class RiskBudget(Written):
    """How much may be risked in each domain within a rolling window; every domain has its own."""

    name: Name
    domains: list[Name] = Field(default=[], description="the domains that have it; all when empty")
    risk_classes: list[RiskClass] = Field(default=[], description="the risk classes that spend it; all when empty")
    unit: BudgetUnit = BudgetUnit.ACTIONS
    limit: int = Field(ge=0, description="most that may be spent within the window, in the unit")
    window_ms: int = Field(ge=1_000, le=2_592_000_000, description="at most 30 days")

    def covers(self, domain: str, risk_class: str) -> bool:
        """Whether a plan of that class in that domain is counted here."""
        return (not self.domains or domain in self.domains) and (
            not self.risk_classes or risk_class in self.risk_classes
        )


class RiskBudgets(Written):
    """The risk and failure budgets of a fleet."""

    kind: Literal["RiskBudgets"] = "RiskBudgets"
    name: Name
    budgets: list[RiskBudget]


class Role(StrEnum):
    """What a principal's signature is good for."""

    ADMINISTRATOR = "administrator"
    """May activate configuration of every kind, the signer list among them."""
    AUTHOR = "author"
    """May activate configuration, but not the signer list; may submit, review, activate and retire policy bundles."""
    REVIEWER = "reviewer"
    """May review policy bundles that others have written."""
    OPERATOR = "operator"
    """May halt and resume."""
    APPROVER = "approver"
    """May approve plans (the default approval group)."""
    BREAK_GLASS = "break_glass"
    """May have a waiting plan carried out against the bundles, loudly."""
    PLANNER = "planner"
    """May open and close incidents, propose plans and withdraw them: the planner agent's own key."""
    POLICY = "policy"
    """May authorise plans: the policy agent's own key."""
    EXECUTOR = "executor"
    """May ask for steps and say how an execution goes: the executor agent's own key."""
    EFFECTOR = "effector"
    """May say what was seen and done at targets: the effector's own key."""
    VERIFIER = "verifier"
    """May judge what came of an execution: the verifier agent's own key."""
    SEALER = "sealer"
    """May seal the log."""


class Principal(Written):
    """Someone or something whose signature counts."""

    name: Name
    public_key: str = Field(description="Ed25519 public key, 32 bytes in base64")
    roles: list[str] = Field(description="Of `Role`, or the name of an approval group")


class Signers(Written):
    """Whose signatures count, and for what."""

    kind: Literal["Signers"] = "Signers"
    name: Name
    signers: list[Principal]


class ChangeWindow(Written):
    """A weekly window in which changes are allowed, in the calendar's zone; `until` is exclusive."""

    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]]
    from_minute: int = Field(default=0, ge=0, le=1440)
    until_minute: int = Field(default=1440, ge=0, le=1440)


class Freeze(Written):
    """A time in which changes are not allowed in some domains; all domains when the list is empty."""

    from_us: int
    until_us: int
    domains: list[Name] = Field(default=[])
    reason: str


class Calendar(Written):
    """When changes are allowed."""

    kind: Literal["Calendar"] = "Calendar"
    name: Name
    utc_offset_minutes: int = Field(default=0, ge=-840, le=840, description="pinned: no zone database is consulted")
    change_windows: list[ChangeWindow]
    freezes: list[Freeze] = Field(default=[])


__all__ = [
    "KINDS",
    "Autonomy",
    "BudgetUnit",
    "BurnAlert",
    "Calendar",
    "ChangeWindow",
    "Configuration",
    "Domain",
    "Fleet",
    "Freeze",
    "Name",
    "Objective",
    "Principal",
    "RatioIndicator",
    "Remedy",
    "RemedyAction",
    "RemedyCatalogue",
    "RemedyConstraint",
    "RemedyFlapping",
    "RemedyGate",
    "RemedyOperator",
    "RemedyStep",
    "RemedyVariable",
    "RemedyVerification",
    "RiskBudget",
    "RiskBudgets",
    "Role",
    "Selector",
    "Service",
    "ServiceLevelObjectives",
    "Signers",
    "TargetRef",
    "TelemetryContract",
    "ThresholdIndicator",
    "VariableType",
    "Written",
    "canonical",
    "document",
]  # fmt: skip

KINDS: dict[str, type[Written]] = {
    "Fleet": Fleet,
    "ServiceLevelObjectives": ServiceLevelObjectives,
    "RemedyCatalogue": RemedyCatalogue,
    "Signers": Signers,
    "Calendar": Calendar,
    "RiskBudgets": RiskBudgets,
}
"""The kinds whose models are here; `PolicyBundle` is added where policies are read."""


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical(content: Any) -> str:
    """Canonical JSON of plain data: sorted keys, no insignificant space."""
    return _CANONICAL.encode(content)


def document(content: dict[str, Any]) -> Document:
    """The log's form of a document's plain data, which must have `kind` and `name`."""
    text = canonical(content)
    return Document(kind=content["kind"], name=content["name"], digest=digest_of(text), content=text)


def _founded(catalogue: RemedyCatalogue) -> RemedyCatalogue:
    """Each remedy with a goal bound to variables, operators and constraints, so that its digest is of these too."""
    parts = catalogue.model_dump(mode="json", include={"variables", "operators", "constraints"})
    rests_on = digest_of(canonical(parts))
    remedies = [r.model_copy(update={"rests_on": rests_on if r.goal else ""}) for r in catalogue.remedies]
    return catalogue.model_copy(update={"remedies": remedies})


class Configuration(Written):
    """The documents in force, of all kinds. Kept in agents' states; what it does not know it leaves as documents."""

    documents: dict[str, dict[str, Document]] = Field(default={})
    said_at_us: int = 0
    """When the last activation was said, by its author's clock; an earlier one is a repetition and does not count."""

    def with_activated(self, documents: Iterable[Document]) -> "Configuration":
        """The configuration after an activation: each kind that is present is replaced whole."""
        fresh: dict[str, dict[str, Document]] = {}
        for doc in documents:
            fresh.setdefault(doc.kind, {})[doc.name] = doc
        return Configuration(documents={**self.documents, **fresh}, said_at_us=self.said_at_us)

    def of_kind(self, kind: str) -> list[Document]:
        """The documents of a kind, by name."""
        return [doc for _, doc in sorted(self.documents.get(kind, {}).items())]

    def fleets(self) -> list[Fleet]:
        """The fleet documents, parsed."""
        return [Fleet.model_validate_json(doc.content) for doc in self.of_kind("Fleet")]

    def objectives(self) -> list[Objective]:
        """Every objective in force, in the documents' order."""
        parsed = (ServiceLevelObjectives.model_validate_json(d.content) for d in self.of_kind("ServiceLevelObjectives"))
        return [objective for slos in parsed for objective in slos.objectives]

    def catalogues(self) -> list[RemedyCatalogue]:
        """Every remedy catalogue in force; a remedy with a goal says what it rests on."""
        parsed = (RemedyCatalogue.model_validate_json(doc.content) for doc in self.of_kind("RemedyCatalogue"))
        return [_founded(catalogue) for catalogue in parsed]

    def remedies(self) -> list[Remedy]:
        """Every remedy in force, in the documents' order."""
        return [remedy for catalogue in self.catalogues() for remedy in catalogue.remedies]

    def signers(self) -> list[Principal]:
        """Every principal in force."""
        parsed = (Signers.model_validate_json(doc.content) for doc in self.of_kind("Signers"))
        return [signer for signers in parsed for signer in signers.signers]

    def budgets(self) -> list[RiskBudget]:
        """Every risk budget in force, in the documents' order."""
        parsed = (RiskBudgets.model_validate_json(doc.content) for doc in self.of_kind("RiskBudgets"))
        return [budget for budgets in parsed for budget in budgets.budgets]

    def calendar(self) -> Calendar | None:
        """The calendar in force: the first by name, or None."""
        docs = self.of_kind("Calendar")
        return Calendar.model_validate_json(docs[0].content) if docs else None

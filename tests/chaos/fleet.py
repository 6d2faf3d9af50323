"""A synthetic fleet whose services are files: cheap enough for hundreds of incidents, real enough to count effects.

A service's state is one JSON file, replaced atomically: its release and the one before. Release `bad` answers half of
its requests with errors. Every effect is appended to a history file, so that what happened can be counted without
asking anyone who took part.
"""

import json
import os
from pathlib import Path

from autopilot.schemas.configuration import (
    Autonomy,
    BurnAlert,
    Domain,
    Fleet,
    Objective,
    RatioIndicator,
    Remedy,
    RemedyAction,
    RemedyCatalogue,
    RemedyStep,
    RemedyVerification,
    Selector,
    Service,
    ServiceLevelObjectives,
    TargetRef,
    TelemetryContract,
    document,
)
from autopilot.schemas.events.observer import SliKind
from autopilot.schemas.events.people import Document
from autopilot.schemas.events.planner import RiskClass
from autopilot.schemas.events.telemetry import Series, SeriesKind, TelemetryBatch

DRIVER = "files"
REQUESTS = "http.server.request.count"
ERRORS = "http.server.error.count"


class FileFleet:
    """The services' files under one folder."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder = folder
        self.names = names
        self.history = folder / "history.jsonl"

    def create(self) -> None:
        """Every service on its good release."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in self.names:
            self.write(name, {"release": "good", "previous_release": "", "desired": "1", "running": "1"})

    def read(self, name: str) -> dict[str, str] | None:
        """A service's state, or None when there is no such service."""
        try:
            state: dict[str, str] = json.loads((self.folder / f"{name}.json").read_text())
        except FileNotFoundError:
            return None
        return state

    def write(self, name: str, state: dict[str, str]) -> None:
        """Replaces a service's state."""
        path = self.folder / f"{name}.json"
        draft = path.with_suffix(f".{os.getpid()}.new")
        draft.write_text(json.dumps(state))
        draft.replace(path)

    def break_(self, name: str) -> None:
        """Rolls out the bad release."""
        state = self.read(name) or {}
        self.write(name, {**state, "release": "bad", "previous_release": state.get("release", "good")})

    def is_bad(self, name: str) -> bool:
        """Whether the bad release is out."""
        return (self.read(name) or {}).get("release") == "bad"

    def telemetry(self, name: str, at_us: int) -> TelemetryBatch:
        """One second of the service's telemetry."""
        errors = 50.0 if self.is_bad(name) else 0.0
        series = [
            Series(
                metric=metric,
                kind=SeriesKind.DELTA,
                unit="1",
                attributes={"service.instance.id": f"{name}-0"},
                timestamps_us=[at_us],
                values=[value],
            )
            for metric, value in ((REQUESTS, 100.0), (ERRORS, errors))
        ]
        return TelemetryBatch(source="fleet", series=series)


def documents(names: list[str], domains: int) -> list[Document]:
    """Fleet, objectives and the one remedy, as configuration. Windows are a few seconds."""
    services = [
        Service(
            name=name,
            domain=f"domain-{i % domains}",
            tier=1,
            owner="chaos",
            autonomy=Autonomy.ACT,
            targets=[TargetRef(driver=DRIVER, target=name)],
            telemetry=TelemetryContract(
                interval_ms=1_000, required_metrics=[REQUESTS, ERRORS], stale_after_ms=8_000, lost_after_ms=60_000
            ),
        )
        for i, name in enumerate(names)
    ]
    fleet = Fleet(
        name="chaos", domains=[Domain(name=f"domain-{i}", partition=i % 4) for i in range(domains)], services=services
    )
    objectives = ServiceLevelObjectives(
        name="chaos",
        objectives=[
            Objective(
                name=f"{name}-errors",
                service=name,
                sli=SliKind.ERRORS,
                objective_bp=9_900,
                indicator=RatioIndicator(bad=Selector(metric=ERRORS), total=Selector(metric=REQUESTS)),
                alerts=[BurnAlert(long_window_ms=4_000, short_window_ms=2_000, burn_rate_milli=5_000, min_events=50)],
            )
            for name in names
        ],
    )
    remedies = RemedyCatalogue(name="chaos", remedies=[_roll_back()])
    return [document(model.model_dump(mode="json")) for model in (fleet, objectives, remedies)]


def _roll_back() -> Remedy:
    return Remedy(
        name="roll-back",
        summary="go back to the release before",
        slis=[SliKind.ERRORS],
        precondition="has_target && previous_release != '' && release != previous_release",
        risk_class=RiskClass.LOW,
        prior_successes_milli=9_000,
        prior_failures_milli=1_000,
        cooldown_ms=0,
        steps=[
            RemedyStep(
                id="switch",
                driver=DRIVER,
                action=RemedyAction(verb="switch_release", parameters={"release": "previous_release"}),
                compensation=RemedyAction(verb="switch_release", parameters={"release": "release"}),
                timeout_ms=10_000,
                max_attempts=3,
            )
        ],
        verification=RemedyVerification(before_ms=4_000, settle_ms=1_000, after_ms=4_000, deadline_ms=60_000),
    )

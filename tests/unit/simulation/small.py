"""A small recording of one service that is slow for a while, and a configuration that notices and restarts."""

import numpy as np

from autopilot.policies.bundle import DOCUMENT_KINDS
from autopilot.schemas.configuration import document
from autopilot.schemas.events.people import Document
from autopilot.schemas.events.telemetry import SeriesKind
from autopilot.streams.simulation.effects import Change, Effect, EffectModel, MetricEffect
from autopilot.streams.simulation.recording import Recording, SeriesId

START_US = 1_700_000_010_000_000
MINUTE_US = 60_000_000
LATENCY = SeriesId("cart", "latency", SeriesKind.GAUGE, "s", ())
SLOW = range(40, 100)
"""Minutes in which it is slow."""
RESTART_HELPS = EffectModel(
    name="helps",
    effects=(
        Effect(
            driver="supervisord",
            verb="restart",
            after_ms=60_000,
            state={"running": "{desired}", "note": "restarted"},
            metrics=(MetricEffect(metric="latency", change=Change.RESTORE),),
        ),
    ),
)


def slow_for_an_hour(minutes: int = 140) -> Recording:
    """A sample each minute: 0.1 s, and 2 s while it is slow."""
    times = START_US + np.arange(minutes) * MINUTE_US
    values = np.array([2.0 if minute in SLOW else 0.1 for minute in range(minutes)])
    return Recording.of({LATENCY: (times, values)})


def documents(*, autonomy: str = "act", permit: str = "true", approval: bool = False) -> list[Document]:
    """One service, one objective, one remedy, and a bundle that permits what `permit` says."""
    rules: list[dict[str, object]] = [{"id": "act", "effect": "permit", "when": permit, "message": "may"}]
    if approval:
        asks = {"name": "approval", "parameters": {"group": "approver", "needed": 1, "expires_ms": 900_000}}
        rules.append({"id": "ask", "effect": "obligate", "when": "true", "message": "asks", "obligation": asks})
    contents: list[dict[str, object]] = [
        {
            "kind": "Fleet", "name": "small", "domains": [{"name": "small"}],
            "services": [
                {
                    "name": "cart", "domain": "small", "tier": 1, "owner": "o", "autonomy": autonomy,
                    "targets": [{"driver": "supervisord", "target": "cart"}],
                    "telemetry": {"interval_ms": 60_000, "stale_after_ms": 240_000, "lost_after_ms": 360_000},
                }
            ],
        },
        {
            "kind": "ServiceLevelObjectives", "name": "small",
            "objectives": [
                {
                    "name": "cart-latency", "service": "cart", "sli": "latency", "objective_bp": 9_000,
                    "indicator": {"type": "threshold", "metric": {"metric": "latency"}, "bad_above": 0.5},
                    "alerts": [
                        {
                            "long_window_ms": 180_000, "short_window_ms": 120_000, "burn_rate_milli": 6_000,
                            "min_events": 2,
                        }
                    ],
                }
            ],
        },
        {
            "kind": "RemedyCatalogue", "name": "small",
            "remedies": [
                {
                    "name": "restart", "summary": "restart it", "risk_class": "low", "autonomy": "act",
                    "prior_successes_milli": 20_000, "cooldown_ms": 600_000,
                    "steps": [{"id": "restart", "driver": "supervisord", "action": {"verb": "restart"}}],
                    "verification": {
                        "before_ms": 300_000, "settle_ms": 120_000, "after_ms": 900_000, "deadline_ms": 3_600_000
                    },
                }
            ],
        },
        {"kind": "PolicyBundle", "name": "small", "version": "1.0.0", "facts": 1, "description": "d", "rules": rules},
    ]  # fmt: skip
    return [document(DOCUMENT_KINDS[str(one["kind"])].model_validate(one).model_dump(mode="json")) for one in contents]

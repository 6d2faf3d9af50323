"""Objectives from a quiet period alone: what was usual there, robustly, and never from labels.

For each service and metric with enough samples a threshold is set at

    max(median + 6 * 1.4826 * MAD,  99th percentile,  1.25 * median)

of the quiet period (for availability: the mirror image below). 1.4826 * MAD estimates a standard deviation where half
of the samples may be wild; six of them are far out. The percentile keeps a heavy tail from crying wolf, and the quarter
keeps a metric that hardly moves from doing so. The objective promises 90 % of samples within it; its alert fires at a
burn rate of 6 over three intervals and over two, that is when two samples in a row, or two of three with the last, are
out. These figures were chosen before the first run, not changed after it, and are the same for every data set.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from autopilot.streams.simulation.recording import Floats, Recording

LEAST_SAMPLES = 20
"""Samples in the quiet period below which nothing is promised about a metric."""
MAD_TO_SIGMA = 1.4826
SIGMAS = 6.0
MARGIN = 1.25


@dataclass(frozen=True)
class Watched:
    """A metric that objectives are made of. `floor` is the least threshold that matters to anyone."""

    metric: str
    sli: str
    floor: float
    below: bool = False


@dataclass(frozen=True)
class Plan:
    """What a data set is configured with."""

    name: str
    domain: str
    interval_ms: int
    watched: tuple[Watched, ...]
    quiet_us: tuple[int, int]


def threshold(values: Floats, watched: Watched) -> float:
    """The bound of a metric that was `values` while all was quiet."""
    if watched.below:
        return min(100.0 - watched.floor, 100.0 - threshold(100.0 - values, Watched("", "", watched.floor)))
    middle = float(np.median(values))
    deviation = float(np.median(np.abs(values - middle)))
    bound = max(
        middle + SIGMAS * MAD_TO_SIGMA * deviation, float(np.quantile(values, 0.99)), MARGIN * middle, watched.floor
    )
    return float(f"{bound:.4g}")


def documents(recording: Recording, plan: Plan) -> list[dict[str, Any]]:
    """Fleet, objectives, remedies and policy for the services of a recording."""
    objectives = [each for service in recording.services for each in _objectives(recording, service, plan)]
    watched = {each["service"] for each in objectives}
    return [
        _fleet(sorted(watched), plan),
        {"kind": "ServiceLevelObjectives", "name": plan.name, "objectives": objectives},
        _remedies(plan),
        _bundle(plan),
    ]


def objective_name(service: str, metric: str) -> str:
    """At most 64 characters, and the same for no two."""
    name = f"{service}-{metric}"
    return name if len(name) <= 64 else f"{name[:55]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _objectives(recording: Recording, service: str, plan: Plan) -> Iterator[dict[str, Any]]:
    for watched in plan.watched:
        parts = [
            one.values[slice(*one.between(*plan.quiet_us))] for one in recording.of_service(service, watched.metric)
        ]
        values = np.concatenate(parts) if parts else np.empty(0)
        values = values[np.isfinite(values)]
        if len(values) < LEAST_SAMPLES:
            continue
        bound = "bad_below" if watched.below else "bad_above"
        yield {
            "name": objective_name(service, watched.metric),
            "service": service,
            "sli": watched.sli,
            "objective_bp": 9_000,
            "indicator": {
                "type": "threshold", "metric": {"metric": watched.metric}, bound: threshold(values, watched)
            },
            "alerts": [
                {
                    "long_window_ms": 3 * plan.interval_ms,
                    "short_window_ms": 2 * plan.interval_ms,
                    "burn_rate_milli": 6_000,
                    "min_events": 2,
                }
            ],
        }  # fmt: skip


def _fleet(services: list[str], plan: Plan) -> dict[str, Any]:
    return {
        "kind": "Fleet",
        "name": plan.name,
        "domains": [{"name": plan.domain}],
        "services": [
            {
                "name": service,
                "domain": plan.domain,
                "tier": 2,
                "owner": "historical",
                "environment": "historical",
                "autonomy": "act_and_tell",
                "instances": 1,
                "targets": [{"driver": "supervisord", "target": service}],
                "telemetry": {
                    "interval_ms": plan.interval_ms,
                    "required_metrics": [],
                    "stale_after_ms": 4 * plan.interval_ms,
                    "lost_after_ms": 6 * plan.interval_ms,
                },
            }
            for service in services
        ],
    }


def _remedies(plan: Plan) -> dict[str, Any]:
    return {
        "kind": "RemedyCatalogue",
        "name": plan.name,
        "remedies": [
            {
                "name": "restart",
                "summary": "Restart the service's one process",
                "precondition": "has_target",
                "risk_class": "medium",
                "autonomy": "act",
                "prior_successes_milli": 14_000,
                "prior_failures_milli": 6_000,
                "blast_radius_instances": "1",
                "cooldown_ms": 10 * plan.interval_ms,
                "steps": [
                    {
                        "id": "restart",
                        "driver": "supervisord",
                        "action": {"verb": "restart"},
                        "timeout_ms": 60_000,
                        "max_attempts": 1,
                    }
                ],
                "verification": {
                    "before_ms": 5 * plan.interval_ms,
                    "settle_ms": 2 * plan.interval_ms,
                    "after_ms": 15 * plan.interval_ms,
                    "deadline_ms": 60 * plan.interval_ms,
                },
            }
        ],
    }


def _bundle(plan: Plan) -> dict[str, Any]:
    return {
        "kind": "PolicyBundle",
        "name": plan.name,
        "version": "1.0.0",
        "description": "Lets the autopilot act on what it sees well, and asks for nothing.",
        "facts": 1,
        "params": {
            "min_freshness_bp": {"value": 5_000, "description": "Freshness below which nothing is done."},
            "max_rejections": {"value": 3, "description": "Remedies that failed in 24 h, at which a person must."},
        },
        "rules": [
            {
                "id": "act", "effect": "permit", "when": 'service_autonomy == "act_and_tell"',
                "message": "{service_name} lets the autopilot act",
            },
            {"id": "halted", "effect": "deny", "when": "halted", "message": "the domain is halted"},
            {
                "id": "blind", "effect": "deny",
                "when": "telemetry_lost || telemetry_freshness_bp < params.min_freshness_bp",
                "message": "telemetry is too old to act on",
            },
        ],
    }  # fmt: skip

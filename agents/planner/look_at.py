"""What a person should look at when the planner has nothing to propose, most useful first."""

from collections.abc import Iterable, Mapping, Sequence

from autopilot.agents.planner.fleet import FleetView
from autopilot.agents.planner.incident import Incident, Signal
from autopilot.agents.planner.variables import Target, target_key
from autopilot.schemas.configuration import Service
from autopilot.schemas.events.planner import Alternative


def for_telemetry_lost(signals: Sequence[Signal], view: FleetView) -> list[str]:
    """Where telemetry gets lost, from what the services share to each service's last telemetry."""
    services = sorted({signal.service for signal in signals})
    hints = []
    if len(services) > 1:
        hints.append(f"what {', '.join(f'`{s}`' for s in services)} share: the collector and the network to it")
    for signal in signals:
        hints.append(f"the exporter of `{signal.service}`: does it run, and what does it log")
        hints.append(f"the last telemetry of `{signal.service}`: {signal.evidence or 'none is recorded'}")
    hints.append("the collector or bridge that receives it: does it run, does it refuse or drop, can it write to Kafka")
    hints.append(f"the network and credentials between {', '.join(f'`{s}`' for s in services)} and the collector")
    hints += [f"`{s}` itself, by its own health check: {_owner(view.services.get(s))}" for s in services]
    return hints


def for_no_remedy(
    incident: Incident,
    suspect: str,
    considered: Iterable[Alternative],
    targets: Mapping[str, Target],
    view: FleetView,
) -> list[str]:
    """The suspect's signals, its target, the burning services above it, its dependencies, and faulty remedies."""
    service = view.services.get(suspect)
    hints = [f"`{s.service}`: {s.summary}" for s in incident.signals if s.service == suspect]
    hints += [_target_hint(ref.driver, ref.target, targets) for ref in service.targets] if service else []
    hints += [f"`{s.service}`, which burns too: {s.summary}" for s in incident.signals if s.service != suspect]
    hints += [f"dependency `{name}` of `{suspect}`, which raised nothing itself" for name in _quiet(incident, service)]
    hints += [f"remedy `{one.remedy}`: {one.why_not}" for one in considered if one.why_not.startswith("error: ")]
    hints.append(f"whoever owns `{suspect}`: {_owner(service)}")
    return hints


def _quiet(incident: Incident, service: Service | None) -> list[str]:
    burning = {signal.service for signal in incident.signals}
    return [name for name in service.depends_on if name not in burning] if service else []


def _target_hint(driver: str, target: str, targets: Mapping[str, Target]) -> str:
    known = targets.get(target_key(driver, target))
    if known is None:
        return f"target `{target_key(driver, target)}`: the effector has not observed it; does the effector reach it"
    shown = ", ".join(f"{key} {value}" for key, value in sorted(known.state.items()))
    return f"target `{target_key(driver, target)}`: {shown}"


def _owner(service: Service | None) -> str:
    return f"owner {service.owner}" if service else "the fleet map does not know it"

"""`autopilot break-glass`: a person overrules the policy in an emergency."""

import time
from typing import Annotated

import typer

from autopilot.infra.cli.output import NO, AsPerson, refuse
from autopilot.infra.cli.saying import Reason, cluster_of, tell
from autopilot.infra.cli.views import waiting
from autopilot.infra.governance import Cluster, address, view_of
from autopilot.infra.keys import load_key
from autopilot.infra.settings import Settings
from autopilot.schemas.events.governance import BreakGlass


def break_glass(
    person: AsPerson,
    reason: Reason,
    plan: Annotated[str, typer.Option(help="A plan that waits for approval.")] = "",
    service: Annotated[str, typer.Option(help="Every plan of this service, for a while.")] = "",
    minutes: Annotated[int, typer.Option(help="How long, with --service.", min=1, max=60)] = 15,
) -> None:
    """Overrule the policy bundles in an emergency: loud, recorded, and only with the role `break_glass`.

    Neither a halt nor an unknown service is overruled.
    Examples: autopilot break-glass --plan plan-3f0a --as gil --reason "shop is down, approver unreachable";
    autopilot break-glass --service checkout --minutes 10 --as gil --reason "freeze must wait"
    """
    settings = Settings()
    cluster = cluster_of(settings)
    if bool(plan) == bool(service):
        refuse("name either a plan that waits (--plan) or a service (--service)")
    if plan:
        found = [one for one in waiting(settings) if one.request.decision.plan_id.startswith(plan)]
        if not found:
            refuse(f"no plan `{plan}` waits for approval; `autopilot approvals` lists them", NO)
        decision = found[0].request.decision
        domain, service, named = found[0].domain, found[0].service, (decision.plan_id, decision.plan_hash, 0)
    else:
        domain, named = _domain_of(cluster, service), ("", "", time.time_ns() // 1_000 + minutes * 60_000_000)
    glass = BreakGlass(
        plan_id=named[0], plan_hash=named[1], service=service, until_us=named[2], invoked_by=person, reason=reason
    )
    said = address(cluster, load_key(settings.keys, person), glass, domain, service)
    tell(said, f"the glass is broken for {named[0] or service}")


def _domain_of(cluster: Cluster, service: str) -> str:
    configuration = view_of(cluster, 0).state.configuration
    known = {s.name: s.domain for fleet in configuration.fleets() for s in fleet.services}
    if service not in known:
        refuse(f"the fleet has no service `{service}`", NO)
    return known[service]

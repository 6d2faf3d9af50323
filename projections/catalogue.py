"""Every projection there is, by name."""

from typing import Final

from autopilot.projections.agents import AGENTS
from autopilot.projections.approvals import AWAITING_APPROVAL
from autopilot.projections.budgets import RISK_BUDGETS
from autopilot.projections.incidents import INCIDENTS
from autopilot.projections.projection import Projection
from autopilot.projections.remedies import REMEDIES
from autopilot.projections.scoreboard import POLICY_SCOREBOARD
from autopilot.projections.services import services
from autopilot.projections.timeline import TIMELINES


def projections(partitions: int) -> dict[str, Projection]:
    """The projections for a log of so many partitions, by name."""
    known = (
        INCIDENTS,
        TIMELINES,
        services(partitions),
        AWAITING_APPROVAL,
        POLICY_SCOREBOARD,
        RISK_BUDGETS,
        AGENTS,
        REMEDIES,
    )
    return {projection.name: projection for projection in known}


NAMES: Final = tuple(projections(1))
"""The names, in the order in which they are listed."""

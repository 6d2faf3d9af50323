"""What a plan is expected to be worth: by this the planner ranks. Whole points; `docs/remedies.md` has the formula.

    benefit = confidence_bp * WORTH[severity] / 10,000 (rounded down) - COST_WEIGHT * cost - RISK_WEIGHT[risk class]

The confidence is the lower bound of the posterior, so that a remedy that was seldom tried is not preferred for its
mean; the severity is that of the signal that it answers.
"""

from collections.abc import Mapping

from autopilot.agents.planner.confidence import WHOLE_BP
from autopilot.schemas.events.observer import Severity
from autopilot.schemas.events.planner import RiskClass

WORTH: Mapping[str, int] = {Severity.PAGE: 1_000, Severity.TICKET: 400, Severity.INFO: 100}
"""What ending an incident is worth, by the severity of the signal."""
COST_WEIGHT = 10
"""Points for each point of a plan's cost."""
RISK_WEIGHT = {RiskClass.LOW: 0, RiskClass.MEDIUM: 50, RiskClass.HIGH: 150, RiskClass.DANGEROUS: 400}
"""What the harm that a plan could do is counted as."""


def expected_benefit(confidence_bp: int, severity: str, cost: int, risk_class: RiskClass) -> int:
    """The expected benefit in points; negative when cost and risk outweigh it."""
    worth = confidence_bp * WORTH[severity] // WHOLE_BP
    return worth - COST_WEIGHT * cost - RISK_WEIGHT[risk_class]

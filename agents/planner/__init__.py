"""The planner: incidents, and the plans that would end them."""

from autopilot.agents.planner.planner import Planner
from autopilot.agents.planner.state import Limits

__all__ = ["Limits", "Planner"]

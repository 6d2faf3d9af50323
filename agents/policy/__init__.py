"""The policy agent: default deny, every decision with its facts, approvals bound to plan and evidence."""

from autopilot.agents.policy.policy import PolicyAgent

__all__ = ["PolicyAgent"]

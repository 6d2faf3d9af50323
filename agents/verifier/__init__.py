"""The verifier: whether an execution, or its rollback, helped."""

from autopilot.agents.verifier.verifier import Verifier

__all__ = ["Verifier"]

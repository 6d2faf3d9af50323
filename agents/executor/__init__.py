"""The executor: carries out authorised plans as sagas."""

from autopilot.agents.executor.executor import Executor

__all__ = ["Executor"]

"""The observer: telemetry in, signals, quality, baselines and measurements out."""

from autopilot.agents.observer.observer import Observer

__all__ = ["Observer"]

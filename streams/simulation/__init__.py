"""Simulation: the five agents over recorded telemetry under a virtual clock, with a declared model for effects."""

"""Ways in for telemetry that other systems already send."""

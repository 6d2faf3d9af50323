# The shipped default bundle in Rego, by hand, for a comparison of speed. Its verdicts are held against ours.
package autopilot

import rego.v1

rulings := [ruling(facts) | some facts in input.rows]

ruling(facts) := "deny" if {
	denied(facts)
} else := "needs_approval" if {
	needed(facts) > facts.approvals_granted
} else := "allow"

denied(facts) if facts.halted
denied(facts) if not facts.service_known
denied(facts) if facts.remedy_autonomy in {"observe", "recommend"}
denied(facts) if not facts.service_autonomy in {"approve", "act_and_tell", "act"}
denied(facts) if facts.service_autonomy in {"observe", "recommend"}
denied(facts) if {
	not regex.match(
		`^supervisord\.(restart|scale|switch_release)(,supervisord\.(restart|scale|switch_release))*$`,
		facts.plan_actions,
	)
}
denied(facts) if facts.plan_confidence_bp < 3000
denied(facts) if facts.telemetry_lost
denied(facts) if facts.telemetry_freshness_bp < 8000
denied(facts) if facts.telemetry_completeness_bp < 7000
denied(facts) if facts.telemetry_validity_bp < 8000
denied(facts) if {
	facts.plan_blast_radius_bp > 6700
	facts.service_instances > 1
}
denied(facts) if facts.plan_blast_radius_instances > facts.service_instances
denied(facts) if {
	facts.calendar_in_freeze
	not emergency(facts)
}
denied(facts) if {
	not facts.calendar_in_change_window
	not emergency(facts)
}
denied(facts) if facts.breaker_open
denied(facts) if facts.history_rejections + facts.history_failures >= 2
denied(facts) if facts.history_attempts >= 6
denied(facts) if facts.budget_actions_last_hour >= 10
denied(facts) if facts.risk_budget_left < 1
denied(facts) if facts.failure_budget_left < 1

emergency(facts) if {
	facts.incident_severity == "page"
	facts.service_tier <= 1
}

needed(facts) := 2 if {
	facts.plan_risk_class == "dangerous"
} else := 1 if {
	asks(facts)
} else := 0

asks(facts) if facts.plan_risk_class == "high"
asks(facts) if not facts.plan_reversible
asks(facts) if facts.plan_confidence_bp < 5000
asks(facts) if facts.plan_attempt > 1
asks(facts) if {
	facts.service_tier <= 1
	facts.plan_blast_radius_bp > 5000
}
asks(facts) if facts.calendar_in_freeze
asks(facts) if not facts.calendar_in_change_window
asks(facts) if facts.service_autonomy == "approve"
asks(facts) if facts.remedy_autonomy == "approve"

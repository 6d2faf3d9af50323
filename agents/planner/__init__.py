"""The planner: incidents, and the plans that would end them."""

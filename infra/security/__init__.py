"""Security of the ground: who may connect to Kafka, with which secret, and what each may do there."""

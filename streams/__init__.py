"""Kafka and time: topics, the worker loop, recovery, and the in-process runner."""

"""The embedded platform: Apache Kafka and the schema registry as processes of this machine, without containers."""

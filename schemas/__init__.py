"""The contracts: event types, their Avro schemas, the codec and the identities that are derived from content."""

"""Errors of the contracts, each saying what its caller should do.

ContractError            put the record into dead-letters and go on
+-- UndecodableError          the bytes are no Confluent-framed Avro of the announced schema
+-- UnknownSchemaError        the registry does not know the schema id: ask the producer to register it
+-- UnknownEventTypeError     the schema is known, but no model of this version bears its name
+-- InvalidError              a field has a value outside its contract
"""


class ContractError(ValueError):
    """A record breaks its contract: `field`, the `value` seen and what was `expected` say how."""

    error_class = "contract"

    def __init__(self, field: str, value: str, expected: str) -> None:
        super().__init__(f"`{field}` is {value[:200]}, expected {expected}" if field else f"{value[:200]}: {expected}")
        self.field = field
        self.value = value[:200]
        self.expected = expected


class UndecodableError(ContractError):
    """The bytes do not decode."""

    error_class = "undecodable"


class UnknownSchemaError(ContractError):
    """The registry has no schema of this id."""

    error_class = "unknown_schema"


class UnknownEventTypeError(ContractError):
    """No model of this version has this name."""

    error_class = "unknown_event_type"


class InvalidError(ContractError):
    """A value is outside its contract."""

    error_class = "invalid"

"""Contracts: decode + model, and encode, for every event type, on one core."""

from collections.abc import Iterator

from autopilot.schemas.codec import Codec
from autopilot.schemas.contract import Payload
from autopilot.schemas.envelope import Event
from autopilot.schemas.registry import BundledRegistry
from bench.measure import Figure, print_figures, rate
from bench.samples import all_events

CALLS = 50


def figures() -> Iterator[Figure]:
    """Two figures for each event type."""
    codec = Codec(BundledRegistry())
    for name, event in all_events().items():
        value = codec.encode(event)
        yield Figure(f"decode {name}", rate(lambda v=value: _decode(codec, v), rounds=3, least_s=0.05), "events/s")
        yield Figure(
            f"encode {name}",
            rate(lambda e=event: _encode(codec, e), rounds=3, least_s=0.05),
            "events/s",
            note=f"{len(value)} bytes",
        )


def _decode(codec: Codec, value: bytes) -> int:
    for _ in range(CALLS):
        codec.decode(value)
    return CALLS


def _encode(codec: Codec, event: Event[Payload]) -> int:
    for _ in range(CALLS):
        codec.encode(event)
    return CALLS


def main() -> None:
    """Prints them."""
    print_figures("contracts, per core", figures())


if __name__ == "__main__":
    main()

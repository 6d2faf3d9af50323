"""Latencies as sums: a count for each power of two of milliseconds, so that partitions may add in any order."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Latency(BaseModel):
    """Durations between Kafka's record times, in milliseconds."""

    model_config = ConfigDict(frozen=True)

    count: int = 0
    sum_ms: int = 0
    max_ms: int = 0
    below_ms: dict[str, int] = Field(
        default={}, description="how many took less than so many milliseconds and not less than half of that"
    )

    @property
    def mean_ms(self) -> float | None:
        """The mean; None when nothing was measured."""
        return self.sum_ms / self.count if self.count else None

    def within_ms(self, share: float) -> int | None:
        """A bound below which at least `share` (0..1) of them lie, at most twice the exact one; None without any."""
        reached = 0
        for bound, count in sorted((int(bound), count) for bound, count in self.below_ms.items()):
            reached += count
            if reached >= share * self.count:
                return min(bound, self.max_ms)
        return None


def observed(latency: dict[str, Any], took_ms: int) -> dict[str, Any]:
    """The row of a `Latency` after one more; an empty row has none. Clocks may step back: less than 0 counts as 0."""
    took = max(took_ms, 0)
    bound = str(1 << took.bit_length())
    below = dict(latency.get("below_ms", {}))
    below[bound] = below.get(bound, 0) + 1
    return {
        "count": latency.get("count", 0) + 1,
        "sum_ms": latency.get("sum_ms", 0) + took,
        "max_ms": max(latency.get("max_ms", 0), took),
        "below_ms": below,
    }

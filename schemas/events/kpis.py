"""What the KPI topology says: the figures of one domain under one policy over one window of time."""

from typing import ClassVar

from autopilot.schemas.contract import (
    BasisPoints,
    Contract,
    DurationMs,
    Payload,
    TimestampUs,
    Topic,
    described,
    optional,
)


class Durations(Contract):
    """Times between Kafka's record timestamps, as sums that add up over windows."""

    count: int = described("How many were measured.", ge=0)
    sum_ms: DurationMs = described("Their sum, in milliseconds.")
    max_ms: DurationMs = described("The longest, in milliseconds; 0 when none was measured.")
    below_ms: dict[str, int] = described(
        "How many took less than so many milliseconds, a power of two, and not less than half of that."
    )


NO_DURATIONS = Durations(count=0, sum_ms=0, max_ms=0, below_ms={})


class Figures(Contract):
    """Counts and sums over what was decided, judged and reported within a window."""

    authorized: int = described("Plans that were authorised.", ge=0)
    denied: int = described("Plans that were denied.", ge=0)
    decision_latency: Durations = described("From the incident's opening to its first decision.")
    approval_wait: Durations = described("From a plan's first request for approval to its decision.")
    step_wait: Durations = optional(
        "From the request for a held step or stage to its decision: time in mid-change.", NO_DURATIONS
    )
    verified: int = described("Executions that were seen to help.", ge=0)
    rejected: int = described("Executions that were seen not to help, or to harm.", ge=0)
    inconclusive: int = described("Executions of which it cannot be said.", ge=0)
    rollbacks: int = described("Judgements of a rollback, whatever they were; not among the three above.", ge=0)
    quality_reports: int = described("Reports of a service's telemetry quality.", ge=0)
    quality_sum_bp: int = described("Sum over these reports of the worst of the four scores, in basis points.", ge=0)
    quality_min_bp: BasisPoints = described("The worst score in any of these reports; 10000 without any.")


class KpiWindowClosed(Payload):
    """A window of a domain has ended. The same window has the same event id however often it is said."""

    topic: ClassVar[Topic] = Topic.KPIS

    from_us: TimestampUs = described("Start of the window by record time, inclusive.")
    until_us: TimestampUs = described("End of the window, exclusive.")
    window_ms: DurationMs = described("Length of the window, in milliseconds.")
    bundle: str = described("Name and version of the policy bundle, as `name@version`; empty where there is none.")
    bundle_digest: str = described(
        "Digest of the policy that decided, or that allowed what was judged; empty where none did. Telemetry quality "
        "rests on no policy and is always under the empty digest."
    )
    figures: Figures = described("What was counted.")

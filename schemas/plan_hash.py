"""The hash that binds approvals, decisions and steps to one plan."""

from collections.abc import Sequence

from autopilot.schemas.configuration import canonical
from autopilot.schemas.events.planner import Step, Verification
from autopilot.schemas.identity import digest_of


def plan_hash(steps: Sequence[Step], verification: Verification) -> str:
    """Digest of what would be done and how it would be judged, as `sha256:HEX`: any change to either changes it."""
    content = {
        "steps": [step.model_dump(mode="json") for step in steps],
        "verification": verification.model_dump(mode="json"),
    }
    return digest_of(canonical(content))

"""The hash that binds approvals, decisions and steps to one plan."""

from collections.abc import Sequence

from autopilot.schemas.configuration import canonical
from autopilot.schemas.events.planner import Step, Verification
from autopilot.schemas.identity import digest_of


def plan_hash(steps: Sequence[Step], verification: Verification) -> str:
    """Digest of what would be done and how it would be judged, as `sha256:HEX`: any change to either changes it.

    What is not known of the verification is left out, so that a plan from before there was such a field keeps its hash.
    """
    content = {
        "steps": [step.model_dump(mode="json") for step in steps],
        "verification": verification.model_dump(mode="json", exclude_defaults=True),
    }
    return digest_of(canonical(content))

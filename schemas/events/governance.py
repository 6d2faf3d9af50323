"""What people say about what rules: policy bundles, how far a remedy may go, break-glass; and the policy's answers.

A bundle goes from draft to reviewed, shadow, active and retired, each step a signed event; `agents/policy/catalogue.py`
has the table. These events are broadcast: a bundle rules a domain from the offset at which its activation stands there.
"""

from typing import ClassVar

from autopilot.schemas.contract import Payload, TimestampUs, described, optional
from autopilot.schemas.events.people import Document


class BundleSubmitted(Payload):
    """A version of a policy bundle is put up for review: a draft. A version is used for one content only."""

    broadcast: ClassVar[bool] = True

    bundle: str = described("Name of the bundle.")
    version: str = described("Its version.")
    document: Document = described("The bundle, whole.")
    author: str = described("Who submits it; must be the signer.")
    comment: str = described("What is new; may be empty.")


class BundleReviewed(Payload):
    """Another person than its author has read a draft and finds that it may rule."""

    broadcast: ClassVar[bool] = True

    bundle: str = described("Name of the bundle.")
    version: str = described("Its version.")
    digest: str = described("Digest of the document that was read.")
    reviewer: str = described("Who reviewed it; must be the signer and another person than the author.")
    comment: str = described("What they said; may be empty.")


class BundleShadowed(Payload):
    """A reviewed bundle is run beside the live one from here on; what it decides is recorded under another run."""

    broadcast: ClassVar[bool] = True

    bundle: str = described("Name of the bundle.")
    version: str = described("Its version.")
    digest: str = described("Digest of the document.")
    ordered_by: str = described("Who orders it; must be the signer.")
    comment: str = described("Why; may be empty.")


class BundleActivated(Payload):
    """From this offset on the bundle rules, in the place of the version that it replaces, which is retired."""

    broadcast: ClassVar[bool] = True

    bundle: str = described("Name of the bundle.")
    version: str = described("Its version.")
    digest: str = described("Digest of the document.")
    replaces: str = described("Version that ruled under this name when it was ordered; empty for none.")
    rollback: bool = described("Whether this puts the version that ruled before back in force.")
    ordered_by: str = described("Who orders it; must be the signer.")
    comment: str = described("Why; may be empty.")


class BundleRetired(Payload):
    """From this offset on the bundle rules no longer, or never will."""

    broadcast: ClassVar[bool] = True

    bundle: str = described("Name of the bundle.")
    version: str = described("Its version.")
    digest: str = described("Digest of the document.")
    ordered_by: str = described("Who orders it; must be the signer.")
    comment: str = described("Why; may be empty.")


class RemedyAutonomyChanged(Payload):
    """A person changes how far a remedy may go on one service. Addressed to the service's domain, not broadcast."""

    remedy: str = described("Name of the remedy.")
    remedy_digest: str = described("Digest of its definition: with another definition the change no longer holds.")
    service: str = described("The service.")
    autonomy: str = described("From now on: `observe`, `recommend`, `approve`, `act_and_tell` or `act`.")
    evidence: list[str] = described("Outcome ids that it rests on; to act without asking, verified ones are needed.")
    changed_by: str = described("Who changes it; must be the signer and a person.")
    reason: str = described("Why.")


class RemedyAutonomyLowered(Payload):
    """A remedy has failed on a service too often in a row: from here on it may go less far, until a person decides.

    The policy agent says so. It never raises an autonomy.
    """

    remedy: str = described("Name of the remedy.")
    remedy_digest: str = described("Digest of its definition: with another definition this no longer holds.")
    service: str = described("The service.")
    before: str = described("How far it might go until now.")
    autonomy: str = described("From now on, one level lower: `recommend`, `approve` or `act_and_tell`.")
    evidence: list[str] = described(
        "Outcomes that were rejected, and executions that failed without one, oldest first."
    )
    reason: str = described("What happened, and how a person decides otherwise.")


class RemedyPromotionProposed(Payload):
    """A remedy has helped on a service several times in a row: a person may let it go further. Nothing has changed."""

    remedy: str = described("Name of the remedy.")
    remedy_digest: str = described("Digest of its definition.")
    service: str = described("The service.")
    autonomy: str = described("How far it may go now.")
    proposed: str = described("One level higher: `approve`, `act_and_tell` or `act`.")
    evidence: list[str] = described("The outcomes that were verified, oldest first.")
    command: str = described("The command by which a person decides so.")
    reason: str = described("Why, for people.")


class BreakGlass(Payload):
    """A person with the role `break_glass` overrules the bundles: for one waiting plan, or for a service for a while.

    It overrules denials of bundles and missing approvals; never a halt, nor the bond between plan and decision. What it
    lets through is authorised with the decision that it overrules, and says so. Addressed to the domain, not broadcast.
    """

    plan_id: str = described("The waiting plan; empty for every plan of the service until the time is over.")
    plan_hash: str = described("Hash of the plan that was shown; empty without a plan.")
    service: str = described("The service.")
    until_us: TimestampUs = described("When the glass is whole again, at most an hour later; 0 with a plan.")
    invoked_by: str = described("Who breaks the glass; must be the signer.")
    reason: str = described("Why; must not be empty.")


class GovernanceRefused(Payload):
    """Something that a person said about bundles, autonomy or break-glass does not count. Nothing has changed.

    About a broadcast it is said once, in partition 0.
    """

    event_id: str = described("The refused event's id.")
    refused_type: str = described("Its event type.")
    subject: str = described("What it was about: `bundle@version`, a remedy on a service, or a plan.")
    given_by: str = described("Who said it, as it claims.")
    reason: str = described("Why it does not count, for people.")


class NoticeGiven(Payload):
    """Something that people must learn of at once; whoever carries notices to people picks these up."""

    notice_id: str = described("Identity of the notice.")
    severity: str = described("`page` or `info`.")
    to: str = described("Who must learn of it: a role or an owner.")
    subject: str = described("What it is about, such as a plan.")
    text: str = described("What happened, for people.")
    about_event_id: str = optional("The event that it is about.", "")

"""What people and gateways say. Every one of these is signed; an unsigned one changes nothing."""

from typing import ClassVar

from autopilot.schemas.contract import Contract, Payload, described, optional


class ApprovalGranted(Payload):
    """A person approves a plan, bound to the plan's hash and to the facts that they were shown."""

    approval_id: str = described("The request that is answered.")
    plan_id: str = described("The plan.")
    plan_hash: str = described("Hash of the plan that was shown.")
    facts_digest: str = described("Digest of the facts that were shown.")
    approver: str = described("Who approves; must be the signer.")
    comment: str = described("What they said; may be empty.")


class ApprovalRejected(Payload):
    """A person refuses a plan."""

    approval_id: str = described("The request that is answered.")
    plan_id: str = described("The plan.")
    plan_hash: str = described("Hash of the plan that was shown.")
    approver: str = described("Who refuses; must be the signer.")
    comment: str = described("Why; may be empty.")


class Halt(Payload):
    """Nothing may begin until a resume: in one domain, or everywhere."""

    broadcast: ClassVar[bool] = True

    scope: str = described("The domain, or `*` for all.")
    ordered_by: str = described("Who halts; must be the signer.")
    reason: str = described("Why.")


class Resume(Payload):
    """Halts are ended by another person than who gave them. One that comes later, or that is not named, holds on."""

    broadcast: ClassVar[bool] = True

    scope: str = described("The domain, or `*` for all.")
    ordered_by: str = described("Who resumes; must be the signer. A halt of their own is not ended.")
    reason: str = described("Why.")
    halts: list[str] = optional("Event ids of the halts that are ended; empty for all that hold in the scope.", [])


class Document(Contract):
    """One configuration document, whole."""

    kind: str = described("Kind of document: `Fleet`, `ServiceLevelObjectives`, `RemedyCatalogue`, `PolicyBundle` ...")
    name: str = described("Name of the document within its kind.")
    digest: str = described("SHA-256 of the content, as `sha256:HEX`.")
    content: str = described("The document as canonical JSON: sorted keys, no insignificant space.")


class ConfigurationActivated(Payload):
    """From this offset on the documents are in force: they replace all documents of the kinds that are present."""

    broadcast: ClassVar[bool] = True

    revision: str = described("Digest over the documents' digests, in order.")
    documents: list[Document] = described("The documents, ordered by kind and name.")
    author: str = described("Who activates; must be the signer.")
    comment: str = described("Why; may be empty.")

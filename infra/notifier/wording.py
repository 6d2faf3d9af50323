"""The words of notifications: what happened, what the autopilot did or did not do, and the commands that help.

A line that begins with `$ ` is a command to be typed. Whoever reads it has been woken up: the first line says it all.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from autopilot.agents.authority import EVERYWHERE
from autopilot.infra.notifier.state import Known, line
from autopilot.schemas.events.executor import BreakerOpened, ExecutionFailed
from autopilot.schemas.events.people import Halt, Resume
from autopilot.schemas.events.planner import NoPlanFound
from autopilot.schemas.events.policy import ApprovalRequested
from autopilot.schemas.events.runtime import AgentFaulted

MOST_LISTED = 5
MOST_SHOWN = 20
"""Lines of what people are shown about a step that is reached: what it would change, and how the stage before went."""


def clock(at_us: int) -> str:
    """A time for people, UTC."""
    return f"{datetime.fromtimestamp(at_us // 1_000_000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def timeline(incident_id: str) -> str:
    """The command that tells all about an incident."""
    return f"$ autopilot timeline {incident_id}"


def paragraphs(*parts: str | Iterable[str]) -> str:
    """The parts that say something, one below the other."""
    texts = [part if isinstance(part, str) else "\n".join(part) for part in parts]
    return "\n".join(text for text in texts if text)


def so_far(known: Known | None) -> list[str]:
    """What became of an incident until now."""
    if known is None:
        return []
    return [f"Incident: {known.title}", *(["So far:"] if known.course else []), *(f"- {said}" for said in known.course)]


def approval(asked: ApprovalRequested, known: Known | None) -> str:
    """Text of a request for approval."""
    decision = asked.decision
    what = asked.subject if asked.of_whole_plan else f"{asked.subject} of the plan"
    begun = bool(asked.execution_id)
    unanswered = "what was done before it is undone" if begun else "the plan is denied and nothing is done"
    return paragraphs(
        f"The autopilot waits: {asked.needed} of the group `{asked.group}` must approve {what}.",
        map(line, asked.summary.splitlines()[:MOST_SHOWN]) if begun else f"It would: {line(asked.summary)}",
        [f"Why it asks: {rule.message}" for rule in decision.rules if rule.effect == "obligate"][:MOST_LISTED],
        so_far(known),
        f"Without an answer by {clock(asked.expires_at_us)} {unanswered}.",
        f'$ autopilot approve {asked.approval_id} --as YOUR-NAME --comment "..."',
        f'$ autopilot reject {asked.approval_id} --as YOUR-NAME --comment "..."',
        timeline(decision.incident_id),
    )


def no_plan(said: NoPlanFound, known: Known | None) -> str:
    """Text about an incident that nothing can be done about."""
    return paragraphs(
        f"The autopilot has nothing to propose ({line(said.reason)}) and leaves it to you. It goes on watching.",
        so_far(known),
        [f"Not `{other.remedy}`: {line(other.why_not)}" for other in said.considered][:MOST_LISTED],
        ["Look at:", *(f"- {line(one)}" for one in said.look_at[:MOST_LISTED])] if said.look_at else "",
        timeline(said.incident_id),
    )


def failed(said: ExecutionFailed, known: Known | None) -> str:
    """Text about an execution that may have left something behind."""
    return paragraphs(
        f"An execution ended in between: {line(said.reason)}",
        "What it did may be there in part. The autopilot takes no further step of this plan.",
        so_far(known),
        timeline(said.incident_id),
    )


def escalated(incident_id: str, reason: str, known: Known | None) -> str:
    """Text about an incident that is handed over."""
    return paragraphs(f"The autopilot gives this incident to you: {line(reason)}", so_far(known), timeline(incident_id))


def indeterminate(incident_id: str, step: str, reason: str, known: Known | None) -> str:
    """Text about a step of which nobody can know."""
    return paragraphs(
        f"{step}: {line(reason)}",
        "It is never repeated. Look at the target by hand and bring it to where it should be.",
        so_far(known),
        timeline(incident_id),
    )


def fault(said: AgentFaulted) -> str:
    """Text about an agent that has parked a domain."""
    what = "the whole partition" if said.parked == "*" else f"`{said.parked}`"
    return paragraphs(
        f"The agent `{said.agent}` failed and decides nothing for {what} any more: {line(said.error)}",
        "Other domains go on. What runs there is not rolled back. Mended code takes up what was parked when it starts.",
        "$ autopilot status",
        "$ autopilot dead-letters list",
    )


def halt(said: Halt) -> str:
    """Text about a halt."""
    option = "" if said.scope == EVERYWHERE else f" --domain {said.scope}"
    return paragraphs(
        f"{said.ordered_by}: {line(said.reason)}",
        "Nothing new begins there. Another operator or administrator can end the halt:",
        f'$ autopilot resume{option} --reason "..." --as YOUR-NAME',
    )


def resume(said: Resume) -> str:
    """Text about a resume."""
    return f"{said.ordered_by}: {line(said.reason)}"


def breaker(said: BreakerOpened) -> str:
    """Text about a breaker."""
    return paragraphs(
        f"{said.failures} failures in a row, the last one: {line(said.reason)}",
        f"Nothing is tried there before {clock(said.until_us)}; then one probe is made.",
        "$ autopilot incidents --open",
    )


def scope_of(scope: str) -> str:
    """What a halt or resume is about, for a title."""
    return "everything" if scope == EVERYWHERE else scope

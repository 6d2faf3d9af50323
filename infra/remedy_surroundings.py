"""What is wrong with a remedy catalogue that only its surroundings show.

Verbs that no driver has, roles of no service, windows too short for how often telemetry comes.
A driver is known by the kind that bears its name; of one that a targets file names otherwise nothing is claimed.
"""

from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

from autopilot.agents.planner.checks import Fault, Loc
from autopilot.agents.verifier.judgement import MIN_SAMPLES
from autopilot.agents.verifier.measuring import bucket_ms_of
from autopilot.infra.effector.driver_file import KINDS
from autopilot.schemas.configuration import Fleet, RemedyAction, RemedyCatalogue, RemedyOperator, RemedyStep
from autopilot.schemas.events.planner import REVERT

_DRIVERS = "autopilot.infra.effector.drivers"
_WITH_A_GOAL = {
    "cost": "nothing: with a goal it is the sum of its operators'",
    "reversible": "nothing: with a goal it follows from its operators",
    "blast_radius_instances": "nothing: with a goal it is the largest of its operators'",
}


class Verbs(NamedTuple):
    """What a kind of driver can do, and which of that it can put back."""

    known: frozenset[str]
    reverts: frozenset[str]


def faults_around(catalogue: RemedyCatalogue, content: Any, fleets: Sequence[Fleet]) -> list[Fault]:
    """Those of the catalogue; `content` is it as it was written, with nothing added."""
    written: list[tuple[Loc, Loc, RemedyStep | RemedyOperator]] = [
        (("operators", i), ("operators", i, "verb"), operator) for i, operator in enumerate(catalogue.operators)
    ]
    for i, remedy in enumerate(catalogue.remedies):
        steps = enumerate(remedy.steps)
        written += [(("remedies", i, "steps", j), ("remedies", i, "steps", j, "action", "verb"), s) for j, s in steps]
    found = [fault for loc, verb_loc, step in written for fault in _of_step(loc, verb_loc, step, fleets)]
    return [*found, *_windows(catalogue, fleets), *_without_meaning(catalogue, content)]


@cache
def verbs_of(driver: str) -> Verbs | None:
    """What the kind of driver of that name can do; None when there is no such kind, or it lacks a package here."""
    kind = KINDS.get(driver)
    if kind is None:
        return None
    try:
        found = getattr(import_module(f"{_DRIVERS}.{kind.module}"), kind.driver)
    except ModuleNotFoundError:
        return None
    verbs = getattr(found, "verbs", None)
    return Verbs(frozenset(verbs), frozenset(getattr(found, "reverts", ()))) if verbs else None


def _of_step(loc: Loc, verb_loc: Loc, step: RemedyStep | RemedyOperator, fleets: Sequence[Fleet]) -> Iterator[Fault]:
    verb = step.action.verb if isinstance(step, RemedyStep) else step.verb
    known = verbs_of(step.driver)
    yield from _role(loc, step, fleets)
    if known is None:
        return
    yield from _verb(verb_loc, verb, known.known, step.driver)
    if isinstance(step.compensation, RemedyAction):
        undo = step.compensation.verb
        if undo == REVERT:
            yield Fault((*loc, "compensation"), undo, "the word `revert` alone")
        else:
            yield from _verb((*loc, "compensation", "verb"), undo, known.known, step.driver)
    elif step.compensation == REVERT and verb in known.known - known.reverts:
        expected = f"nothing, or an action: `{step.driver}` cannot put back a `{verb}`"
        yield Fault((*loc, "compensation"), REVERT, expected)


def _verb(loc: Loc, verb: str, known: Collection[str], driver: str) -> Iterator[Fault]:
    if verb not in known:
        close = get_close_matches(verb, sorted(known), n=1)
        meant = f"; did you mean `{close[0]}`" if close else ""
        yield Fault(loc, verb, f"a verb of `{driver}`: one of {', '.join(sorted(known))}{meant}")


def _role(loc: Loc, step: RemedyStep | RemedyOperator, fleets: Sequence[Fleet]) -> Iterator[Fault]:
    targets = [ref for fleet in fleets for service in fleet.services for ref in service.targets]
    roles = {ref.role for ref in targets if ref.driver == step.driver}
    if step.role and roles and step.role not in roles:
        given = ", ".join(sorted(role for role in roles if role)) or "nothing: no service gives one"
        yield Fault((*loc, "role"), step.role, f"a role of a target of `{step.driver}`: {given}")


def _windows(catalogue: RemedyCatalogue, fleets: Sequence[Fleet]) -> Iterator[Fault]:
    """Windows before an execution in which no guard can have samples enough: its outcome would never be known."""
    services = [service for fleet in fleets for service in fleet.services]
    for i, remedy in enumerate(catalogue.remedies):
        operators = [one for one in catalogue.operators if not remedy.operators or one.name in remedy.operators]
        drivers = {one.driver for one in (operators if remedy.goal else remedy.steps)}
        acted_on = [one for one in services if drivers & {ref.driver for ref in one.targets}]
        if not acted_on or not remedy.verification.guard_metrics:
            continue
        interval_ms = min(one.telemetry.interval_ms for one in acted_on)
        bucket_ms = bucket_ms_of(remedy.verification.before_ms, remedy.verification.after_ms)
        each_ms = max(interval_ms, bucket_ms)
        least = MIN_SAMPLES * each_ms + interval_ms  # the first bucket may be cut off
        if remedy.verification.before_ms < least:
            expected = f"at least {least}: a guard takes {MIN_SAMPLES} samples, of which one comes each {each_ms} ms"
            yield Fault(("remedies", i, "verification", "before_ms"), remedy.verification.before_ms, expected)


def _without_meaning(catalogue: RemedyCatalogue, content: Any) -> Iterator[Fault]:
    for i, remedy in enumerate(catalogue.remedies):
        for field, expected in _WITH_A_GOAL.items() if remedy.goal else ():
            if field in content["remedies"][i]:
                yield Fault(("remedies", i, field), content["remedies"][i][field], expected)
        if "rests_on" in content["remedies"][i]:
            yield Fault(("remedies", i, "rests_on"), remedy.rests_on, "nothing: it is made when the catalogue is read")

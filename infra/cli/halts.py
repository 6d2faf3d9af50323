"""`autopilot halt`, `resume`, `halts`: people stop the autopilot, let it go on, and see what is stopped."""

from collections.abc import Iterable
from typing import Annotated

import typer

from autopilot.agents.authority import EVERYWHERE, MAY_HALT, Authority
from autopilot.infra.cli.output import NO, AsJson, AsPerson, announce, date_time, print_json, print_table, refuse
from autopilot.infra.cli.saying import Reason, cluster_of
from autopilot.infra.governance import FEW, Cluster, begun_view, broadcast, view_of
from autopilot.infra.keys import load_key
from autopilot.infra.settings import Settings
from autopilot.schemas.configuration import Fleet
from autopilot.schemas.events.people import Halt, Resume
from autopilot.schemas.signing import SigningKey
from autopilot.streams.shadow import PolicyView

OfDomain = Annotated[str, typer.Option("--domain", help="Only this domain; everything without it.")]


def halt(person: AsPerson, reason: Reason, domain: OfDomain = EVERYWHERE) -> None:
    """Let nothing begin until a resume: in one domain, or everywhere.

    Exit code 1 when it does not count, so that nothing is halted by it.
    Example: autopilot halt --domain shop --reason "database migration" --as ada
    """
    cluster, key, view = _order(person)
    if view.behind <= FEW:  # else what a person wants stopped does not wait until all of it is folded
        _require_domain(view, domain)
    said = broadcast(cluster, key, Halt(scope=domain, ordered_by=person, reason=reason), view)
    if domain != EVERYWHERE and domain not in (known := _domains(view)):
        refuse(f"{_no_domain(domain, known)}: nothing is halted by it", NO)
    authority = view.state.authority
    mine = authority.halts.get(domain, {}).get(person)
    if mine is None or mine.event_id != said.event_id:
        refuse(f"it does not count: {_unentitled(authority, person)}", NO)
    able = authority.may_resume(domain)
    typer.echo(f"halted: {_words(domain)}; to end it: {', '.join(able) or 'nobody can'}")
    if set(able) <= {person}:  # who gave a halt does not end it
        announce("nobody but you is operator or administrator: `autopilot apply` a signer list with somebody else")


def resume(person: AsPerson, reason: Reason, domain: OfDomain = EVERYWHERE) -> None:
    """Let go on what others have halted; a halt of one's own is ended by another person.

    It ends the halts that hold when it is said, and none that comes meanwhile. Exit code 1 when a halt holds on.
    Example: autopilot resume --domain shop --reason "migration done" --as carl
    """
    cluster, key, view = _order(person)
    view.advance()
    open_here = view.state.authority.halts.get(domain, {})
    if not open_here:
        _require_domain(view, domain)  # here alone: a halt of a domain that was never there can be ended
        refuse(f"nothing halts {_words(domain)}{_elsewhere(view.state.authority, domain)}", NO)
    named = sorted(halt.event_id for by, halt in open_here.items() if by != person)
    if named:
        broadcast(cluster, key, Resume(scope=domain, ordered_by=person, reason=reason, halts=named), view)
    authority = view.state.authority
    left = authority.halts.get(domain, {})
    for by in sorted(open_here.keys() - left.keys()):
        typer.echo(f"ended: the halt of {_words(domain)} by {by}: {open_here[by].reason}")
    if left:
        entitled = authority.has(person, *MAY_HALT)
        why = "who gave a halt does not end it" if entitled else _unentitled(authority, person)
        able = ", ".join(authority.may_resume(domain)) or "nobody else"
        refuse(f"{_words(domain)} stays halted by {', '.join(sorted(left))}: {why}; to end it: {able}", NO)
    typer.echo(f"resumed: {_words(domain)}{_elsewhere(authority, domain)}")


def halts(as_json: AsJson = False) -> None:
    """List what is halted: by whom, since when, why, and who may end it.

    Example: autopilot halts
    """
    authority = view_of(cluster_of(Settings()), 0).state.authority
    rows = [
        (scope, by, one.at_us, one.reason, sorted(set(authority.may_resume(scope)) - {by}))
        for scope, here in sorted(authority.halts.items())
        for by, one in sorted(here.items())
    ]
    if as_json:
        names = ("scope", "halted_by", "since_us", "reason", "may_end_it")
        print_json([dict(zip(names, row, strict=True)) for row in rows])
        return
    print_table(
        ("domain", "halted by", "since (UTC)", "why", "who may end it"),
        (
            (_words(scope), by, date_time(at_us // 1_000), reason, ", ".join(others) or "nobody")
            for scope, by, at_us, reason, others in rows
        ),
        "nothing is halted",
    )


def _order(person: str) -> tuple[Cluster, SigningKey, PolicyView]:
    """What an order needs: where to, the key it is signed with, and the policy's view of what is halted."""
    settings = Settings()
    key, cluster = load_key(settings.keys, person), cluster_of(settings)
    return cluster, key, begun_view(cluster, 0)


def _require_domain(view: PolicyView, scope: str) -> None:
    """Brings the view to the log's end. Refuses a domain that the fleet does not have."""
    view.advance()
    if scope != EVERYWHERE and scope not in (known := _domains(view)):
        refuse(_no_domain(scope, known))


def _domains(view: PolicyView) -> set[str]:
    return {name for fleet in view.state.configuration.fleets() for name in _domains_of(fleet)}


def _no_domain(scope: str, known: Iterable[str]) -> str:
    return f"there is no domain `{scope}`; the fleet has {', '.join(sorted(known)) or 'none'}"


def _unentitled(authority: Authority, person: str) -> str:
    if not authority.roles:
        return "no signer list is in force; `autopilot apply` brings one"
    roles = ", ".join(authority.roles.get(person, ())) or "none"
    return f"`{person}` with roles {roles} is no operator or administrator, or signs with another key than the list has"


def _words(scope: str) -> str:
    return "everything" if scope == EVERYWHERE else scope


def _elsewhere(authority: Authority, scope: str) -> str:
    others = ", ".join(_words(other) for other in sorted(authority.halts) if other != scope)
    return f"; still halted: {others}" if others else ""


def _domains_of(fleet: Fleet) -> list[str]:
    return [*(domain.name for domain in fleet.domains), *(service.domain for service in fleet.services)]

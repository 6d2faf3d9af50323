"""`autopilot keys`: the people and agents whose signatures count, by the keys of this home."""

from difflib import get_close_matches
from typing import Annotated

import typer
import yaml

from autopilot.infra.activation import activation, check_author, configuration_in_force
from autopilot.infra.cli.output import NO, AsJson, AsPerson, announce, print_json, print_table, refuse
from autopilot.infra.cli.saying import cluster_of
from autopilot.infra.governance import broadcast_in_turn
from autopilot.infra.keys import load_key, new_key_beside, take_over
from autopilot.infra.pins import advice, not_pinned, pinned_administrators
from autopilot.infra.settings import Settings
from autopilot.infra.signers import ADMINISTRATOR, DEFAULT_ROLES, add_principal, principals, rotated, signers_of
from autopilot.schemas.configuration import Role
from autopilot.schemas.signing import key_id

app = typer.Typer(help="Keys of this home, and the signer list that they make.", no_args_is_help=True)


@app.command(name="list")
def list_keys(as_json: AsJson = False) -> None:
    """List whose keys are here, with their roles. Private keys are never shown.

    Example: autopilot keys list
    """
    found = principals(Settings().keys)
    if as_json:
        print_json([p.model_dump(mode="json") | {"key_id": key_id(p.public_key)} for p in found])
        return
    print_table(
        ("name", "key", "roles"),
        ((p.name, key_id(p.public_key), ", ".join(p.roles)) for p in found),
        "no key; `autopilot up` makes the first ones",
    )


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Who: lower-case letters, digits, `.`, `_`, `-`.")],
    role: Annotated[list[str], typer.Option(help="What its signature is good for; may be repeated.")] = DEFAULT_ROLES,
) -> None:
    """Make a key for a person and remember its roles; `autopilot apply` makes it known to the agents.

    Examples: autopilot keys new ada --role approver --role operator; autopilot keys new carl --role author
    """
    keys = Settings().keys
    before = next((known.roles for known in principals(keys) if known.name == name), None)
    made = add_principal(keys, name, role)
    was = f" instead of {', '.join(before)}" if before is not None and sorted(before) != sorted(made.roles) else ""
    typer.echo(f"{made.name}: key {key_id(made.public_key)}, roles {', '.join(made.roles)}{was}")
    for group in sorted(set(made.roles) - set(Role)):
        near = get_close_matches(group, list(Role), n=1)
        meant = f"; did you mean `{near[0]}`" if near else ""
        announce(f"`{group}` is a group that policy bundles may name as approvers, and no role{meant}")


@app.command()
def rotate(
    name: Annotated[str, typer.Argument(help="Whose key.")],
    administrator: AsPerson = ADMINISTRATOR,
    keep_old: Annotated[
        bool, typer.Option("--keep-old", help="Let the old key count as well, until a rotation without it.")
    ] = False,
) -> None:
    """Give a principal a new key: a signer list with it, signed by an administrator, then the key on this disk.

    What the old key signed stays valid where it stands, since a signature is checked with the keys in force at its
    offset. `autopilot up` restarts the process whose key it is; with `--keep-old` nothing that it signs until then is
    lost.
    Examples: autopilot keys rotate ada --as admin; autopilot keys rotate policy --as admin --keep-old
    """
    settings = Settings()
    cluster = cluster_of(settings)
    in_force = configuration_in_force(cluster.kafka, cluster.registry)
    if not any(signer.name == name for signer in in_force.signers()):
        listed = ", ".join(sorted({signer.name for signer in in_force.signers()})) or "nobody"
        refuse(f"`{name}` is not in the signer list in force, which has {listed}", NO)
    load_key(settings.keys, name)  # what is rotated is the key on this disk
    fresh = new_key_beside(settings.keys, name)
    changed = rotated(in_force, name, fresh.public_key, keep_old=keep_old)
    if not any(signer.public_key == fresh.public_key for signer in in_force.signers()):
        key = load_key(settings.keys, administrator)
        findings = check_author(in_force, changed, key)
        if findings:
            refuse(str(findings[0]), NO)
        broadcast_in_turn(cluster, key, activation(changed, administrator, f"new key of {name}"))
    kept = take_over(settings.keys, name)
    typer.echo(f"{name}: key {key_id(fresh.public_key)} is in force; the old one is kept as {kept.name}")
    pinned = pinned_administrators(settings)
    for one in not_pinned(in_force.with_activated(changed), pinned):
        typer.echo(f"note: {advice(one, pinned)}", err=True)
    if fresh.public_key in pinned:
        typer.echo("restart the effector, as `autopilot up` does: it is told at its start whom it acts under", err=True)


@app.command()
def signers() -> None:
    """Print a Signers document of the keys that are here, to keep beside the other configuration.

    Example: autopilot keys signers > config/signers.yaml
    """
    document = signers_of(Settings().keys).model_dump(mode="json")
    typer.echo(yaml.safe_dump(document, sort_keys=False), nl=False)

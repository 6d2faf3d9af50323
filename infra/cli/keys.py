"""`autopilot keys`: the people and agents whose signatures count, by the keys of this home."""

from typing import Annotated

import typer
import yaml

from autopilot.infra.cli.output import AsJson, print_json, print_table
from autopilot.infra.settings import Settings
from autopilot.infra.signers import DEFAULT_ROLES, add_principal, principals, signers_of
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
    made = add_principal(Settings().keys, name, role)
    typer.echo(f"{made.name}: key {key_id(made.public_key)}, roles {', '.join(made.roles)}")


@app.command()
def signers() -> None:
    """Print a Signers document of the keys that are here, to keep beside the other configuration.

    Example: autopilot keys signers > config/signers.yaml
    """
    document = signers_of(Settings().keys).model_dump(mode="json")
    typer.echo(yaml.safe_dump(document, sort_keys=False), nl=False)

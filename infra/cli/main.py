"""The command `autopilot`: one file for each group of commands, put together here.

Errors that a person can mend end with one line and exit code 2; anything else is a fault of ours and shows where.
"""

import sys

import typer
from pydantic import ValidationError

from autopilot.infra.cli import (
    apply,
    archive,
    audit,
    dead_letters,
    governance,
    incidents,
    keys,
    lifecycle,
    people,
    policy,
    rebuild,
    replay,
    schemas,
    security,
    simulate,
)
from autopilot.infra.cli.output import REFUSED
from autopilot.infra.keys import KeyFileError
from autopilot.infra.platform.ports import PortInUseError
from autopilot.infra.platform.processes import ProcessError
from autopilot.infra.platform.topics import TopicsError
from autopilot.infra.schema_registry import RegistryError
from autopilot.infra.security.files import SecretFileError
from autopilot.infra.security.provision import ProvisionError
from autopilot.infra.settings import NotUpError
from autopilot.streams.errors import StreamError

MENDABLE = (
    KeyFileError,
    NotUpError,
    PortInUseError,
    ProcessError,
    ProvisionError,
    RegistryError,
    SecretFileError,
    StreamError,
    TopicsError,
)

app = typer.Typer(
    name="autopilot",
    help="An autonomous DevOps autopilot whose event log is the product. Begin with `autopilot up`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    lifecycle.up,
    lifecycle.prepare,
    lifecycle.down,
    lifecycle.status,
    lifecycle.logs,
    lifecycle.config,
    lifecycle.run,
    apply.apply,
    incidents.incidents,
    incidents.timeline,
    people.approvals,
    people.approve,
    people.reject,
    people.halt,
    people.resume,
    governance.budgets,
    governance.break_glass,
    rebuild.rebuild,
    rebuild.projections,
    simulate.simulate,
    archive.archive,
    archive.restore,
):
    app.command()(command)
app.command("replay")(replay.replay_command)
app.add_typer(audit.app, name="audit")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(keys.app, name="keys")
for governed in (
    governance.submit,
    governance.review,
    governance.activate,
    governance.rollback,
    governance.retire,
):
    policy.app.command()(governed)
policy.app.command(name="list")(governance.list_bundles)
policy.app.add_typer(governance.shadows, name="shadow")
app.add_typer(policy.app, name="policy")
app.add_typer(governance.autonomies, name="autonomy")
app.add_typer(schemas.app, name="schemas")
app.add_typer(security.app, name="security")


def main() -> None:
    """Runs the command line."""
    try:
        app()
    except MENDABLE as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(REFUSED)
    except ValidationError as error:
        if error.title != "Settings":
            raise
        for detail in error.errors(include_url=False):
            name = ".".join(str(part) for part in detail["loc"])
            typer.echo(f"error: setting `{name}` is {detail['input']!r}: {detail['msg']}", err=True)
        sys.exit(REFUSED)


if __name__ == "__main__":
    main()

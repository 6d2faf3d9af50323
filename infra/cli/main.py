"""The command `autopilot`: one file for each group of commands, put together here.

Only the file of the command that is called is loaded: a process starts with what it needs, and `--help` loads all.
Errors that a person can mend end with one line and exit code 2; anything else is a fault of ours and shows where.
"""

import sys
from difflib import get_close_matches
from importlib import import_module

import typer
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from autopilot.infra.cli.output import REFUSED
from autopilot.infra.errors import MendableError
from autopilot.streams.errors import StreamError, UnreachableError

COMMANDS: dict[str, str] = {
    "up": "lifecycle.up",
    "prepare": "lifecycle.prepare",
    "down": "lifecycle.down",
    "status": "lifecycle.status",
    "logs": "lifecycle.logs",
    "config": "lifecycle.config",
    "run": "run.run",
    "apply": "apply.apply",
    "incidents": "incidents.incidents",
    "timeline": "incidents.timeline",
    "kpis": "kpis.kpis",
    "approvals": "people.approvals",
    "approve": "people.approve",
    "reject": "people.reject",
    "halt": "halts.halt",
    "resume": "halts.resume",
    "halts": "halts.halts",
    "budgets": "budgets.budgets",
    "break-glass": "break_glass.break_glass",
    "rebuild": "rebuild.rebuild",
    "projections": "rebuild.projections",
    "replay": "replay.replay_command",
    "simulate": "simulate.simulate",
    "archive": "archive.archive",
    "restore": "archive.restore",
}
"""Command -> its function in this package."""
GROUPS: dict[str, str] = {
    "audit": "audit.app",
    "autonomy": "autonomy.app",
    "dead-letters": "dead_letters.app",
    "keys": "keys.app",
    "notifications": "notifications.app",
    "policy": "policy_group.app",
    "remedies": "remedies.app",
    "schemas": "schemas.app",
    "security": "security.app",
    "verify": "verify.app",
}
"""Group of commands -> its Typer application in this package."""


def application(name: str = "") -> typer.Typer:
    """The command line with only the command or group `name`; with all of them when it names none."""
    app = typer.Typer(
        name="autopilot",
        help="An autonomous DevOps autopilot whose event log is the product. Begin with `autopilot up`.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_nothing)  # keeps a single command a command, not the whole application
    known = {**COMMANDS, **GROUPS}
    for command in [name] if name in known else known:
        module, _, attribute = known[command].rpartition(".")
        found = getattr(import_module(f"autopilot.infra.cli.{module}"), attribute)
        if command in GROUPS:
            app.add_typer(found, name=command)
        else:
            app.command(command)(found)
    return app


def _nothing() -> None:
    pass


def main() -> None:
    """Runs the command line."""
    try:
        application(sys.argv[1] if len(sys.argv) > 1 else "")()
    except UnreachableError as error:
        typer.echo(f"error: {error}; `autopilot status` says what is up", err=True)
        sys.exit(REFUSED)
    except (MendableError, StreamError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(REFUSED)
    except OSError as error:
        if error.filename is None:
            raise
        typer.echo(f"error: `{error.filename}`: {error.strerror}", err=True)
        sys.exit(REFUSED)
    except ValidationError as error:
        if error.title != "Settings":
            raise
        for detail in error.errors(include_url=False):
            typer.echo(f"error: {_of_setting(detail)}", err=True)
        sys.exit(REFUSED)


def _of_setting(detail: ErrorDetails) -> str:
    from autopilot.infra.settings import Settings  # loaded already when one of them is wrong

    name = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        near = get_close_matches(name, Settings.model_fields, n=1)
        meant = f"did you mean `{near[0]}`?" if near else "`autopilot config` shows those that there are"
        return f"there is no setting `{name}` (it is {detail['input']!r}); {meant}"
    return f"setting `{name}` is {detail['input']!r}, expected {detail['msg'].removeprefix('Input should be ')}"


if __name__ == "__main__":
    main()

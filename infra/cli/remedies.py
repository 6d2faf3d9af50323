"""`autopilot remedies`: what is in the catalogue, and what came of it."""

import typer

from autopilot.infra.cli import remedy_check, remedy_history

app = typer.Typer(help="Remedies: what came of them, how sure they are, how far they may go.", no_args_is_help=True)
app.command(name="list")(remedy_history.list_remedies)
app.command(name="check")(remedy_check.check)

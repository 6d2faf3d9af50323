"""`autopilot policy`: the tools of authors and the life cycle of bundles in one group."""

from autopilot.infra.cli import governance, policy

app = policy.app
for governed in (governance.submit, governance.review, governance.activate, governance.rollback, governance.retire):
    app.command()(governed)
app.command(name="list")(governance.list_bundles)
app.add_typer(governance.shadows, name="shadow")

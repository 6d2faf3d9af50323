"""`autopilot policy`: the tools of authors and the life cycle of bundles in one group."""

from autopilot.infra.cli import bundles, policy

app = policy.app
for step in (bundles.submit, bundles.review, bundles.activate, bundles.rollback, bundles.retire):
    app.command()(step)
app.command(name="list")(bundles.list_bundles)
app.add_typer(bundles.shadows, name="shadow")

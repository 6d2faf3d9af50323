"""`autopilot security`: who may do what on a secure Kafka, with which files, and how these are changed."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from autopilot.infra.cli.output import AsJson, announce, print_json, print_table, refuse
from autopilot.infra.composition import PROCESSES
from autopilot.infra.platform.kafka import broker_answers
from autopilot.infra.platform.processes import wait_until
from autopilot.infra.security.certificates import certificate_of
from autopilot.infra.security.ground import ADMIN, BROKER, Ground
from autopilot.infra.security.principals import GRANTS, REGISTRY, table
from autopilot.infra.security.provision import change_password
from autopilot.infra.security.provision import provision as give_access
from autopilot.infra.settings import Settings, admin_config
from autopilot.infra.stack import KAFKA, Stack

AUTHORITY = "ca"
HOSTS: list[str] = []
_NAMES = (*GRANTS, BROKER, ADMIN, AUTHORITY)

app = typer.Typer(help="Passwords, certificates and access control lists of a secure Kafka.", no_args_is_help=True)


@app.command(name="list")
def list_files(as_json: AsJson = False) -> None:
    """List passwords and certificates: whose, in which file, since when, good until when. Never the secrets.

    Example: autopilot security list
    """
    ground = _ground(Settings())
    rows = [
        *(_row(name, "password", ground.credentials(name), "") for name in GRANTS),
        *(_certificate_row(name, ground.certificate(name)) for name in (BROKER, ADMIN)),
        _certificate_row(AUTHORITY, ground.authority),
    ]
    if as_json:
        print_json(rows)
        return
    columns = ("name", "kind", "since", "until", "file")
    print_table(columns, ([row[column] for column in columns] for row in rows if row["since"]), "nothing is there")


@app.command()
def grants(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table of the documentation.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what each principal may do. What is not listed is refused.

    Examples: autopilot security grants; autopilot security grants --json
    """
    if markdown:
        typer.echo(table(), nl=False)
    elif as_json:
        print_json(GRANTS)
    else:
        print_table(
            ("principal", "reads", "writes", "groups", "transactional ids"),
            (
                (
                    name,
                    " ".join((*g.reads, *g.owns)),
                    " ".join((*g.writes, *g.owns)),
                    " ".join((*g.groups, *(f"{p}*" for p in g.group_prefixes))),
                    " ".join(f"{t}*" for t in g.transactions),
                )
                for name, g in GRANTS.items()
            ),
            "",
        )


@app.command()
def init(
    host: Annotated[
        list[str], typer.Option(help="Name that clients reach the broker by; may be repeated; local ones without.")
    ] = HOSTS,
) -> None:
    """Make certificates and passwords without starting anything: for a Kafka in containers, see `docs/security.md`.

    Example: autopilot security init --host kafka --host localhost
    """
    ground = Settings().ground
    ground.ensure(list(GRANTS), host)
    ground.write_registry(REGISTRY)
    typer.echo(f"certificates and passwords are in {ground.folder}")


@app.command()
def provision(
    wait_s: Annotated[float, typer.Option("--wait", help="Seconds to wait for Kafka.", min=0)] = 60,
) -> None:
    """Give a Kafka that others run the passwords of this home and the access control lists; `up` does it by itself.

    Connects as the administrator, with `AUTOPILOT_KAFKA_CERTIFICATE`.
    Example: AUTOPILOT_KAFKA=kafka:9094 AUTOPILOT_KAFKA_SECURITY_PROTOCOL=SSL autopilot security provision
    """
    settings = Settings()
    ground, kafka = _ground(settings), admin_config(settings)
    wait_until(lambda: broker_answers(kafka), wait_s, "kafka", settings.logs / "kafka.log")
    added, removed = give_access(ground, kafka)
    typer.echo(f"passwords of {len(GRANTS)} principals; access control lists: {added} added, {removed} removed")


@app.command()
def rotate(
    name: Annotated[str, typer.Argument(help="A principal, `broker`, `admin`, or `ca` for everything of TLS.")],
) -> None:
    """Change a principal's password, a certificate, or the certificate authority, and start again what uses it.

    A password: its process alone. The broker's certificate: Kafka. The authority: Kafka, the registry, all processes.
    Examples: autopilot security rotate planner; autopilot security rotate ca
    """
    settings = Settings()
    ground = _ground(settings)
    if name not in _NAMES:
        refuse(f"name is `{name}`, expected one of {', '.join(_NAMES)}")
    if name in GRANTS:
        change_password(ground, admin_config(settings), name)
        users = [name]
    elif name == AUTHORITY:
        ground.new_authority()
        users = [KAFKA, REGISTRY, *PROCESSES]
    else:
        ground.new_certificate(name)
        users = [KAFKA] if name == BROKER else []
    ground.write_registry(REGISTRY)
    restarted = Stack(settings, announce).restart(users)
    typer.echo(f"{name}: changed; started again: {', '.join(restarted) or 'nothing'}")


def _ground(settings: Settings) -> Ground:
    if not settings.ground.exists:
        refuse(f"`{settings.home}` is not secure; `autopilot up --secure` makes it so")
    return settings.ground


def _row(name: str, kind: str, file: Path, until: str) -> dict[str, str]:
    since = datetime.fromtimestamp(file.stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M") if file.exists() else ""
    return {"name": name, "kind": kind, "since": since, "until": until, "file": str(file)}


def _certificate_row(name: str, file: Path) -> dict[str, str]:
    until = certificate_of(file.read_bytes()).not_valid_after_utc.strftime("%Y-%m-%d") if file.exists() else ""
    return _row(name, "certificate", file, until)

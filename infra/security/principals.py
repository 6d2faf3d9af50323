"""Who may do what on Kafka: one principal for each process, and everything that it is granted. The rest is refused.

Access control lists and the table in the documentation are made from `GRANTS`. A group or a transactional id belongs
to the process that it is named after: `planner`, and `planner.0` or `planner.shadow:a` for partitions and other runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from autopilot.schemas.contract import Topic
from autopilot.streams.kafka import UNUSED_GROUPS

PEOPLE, REGISTRY = "people", "registry"
BROADCAST = "broadcast."
"""How the transactional ids begin with which people broadcast."""

_SHARED = (Topic.SNAPSHOTS,)
_ALL_WRITTEN = (Topic.LOG, Topic.SNAPSHOTS, Topic.DEAD_LETTERS)


@dataclass(frozen=True)
class Grants:
    """What one principal may do.

    `reads` and `writes` are topics. `groups` are consumer groups that it may join and commit to, each with those whose
    name goes on after a dot. `transactions` are beginnings of transactional ids. `owns` are topics that it may also
    create and whose configuration it may read. `group_prefixes` are beginnings of group names that it makes up itself.
    """

    purpose: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    transactions: tuple[str, ...] = ()
    owns: tuple[str, ...] = ()
    group_prefixes: tuple[str, ...] = ()

    @property
    def looks_up(self) -> tuple[str, ...]:
        """Beginnings of groups that it may ask about but never join: readers without a group still name one."""
        return (UNUSED_GROUPS,) if self.reads or self.owns else ()


def _member(name: str, purpose: str, reads: Topic, writes: tuple[str, ...] = ()) -> Grants:
    """A member of a consumer group with snapshots: it reads one topic and writes the log."""
    return Grants(
        purpose,
        reads=(reads, *_SHARED),
        writes=(*_ALL_WRITTEN, *writes),
        groups=(name,),
        transactions=(f"{name}.",),
    )


GRANTS: Mapping[str, Grants] = {
    "observer": _member("observer", "agent", Topic.TELEMETRY),
    "planner": _member("planner", "agent", Topic.LOG),
    "policy": _member("policy", "agent", Topic.LOG),
    "executor": _member("executor", "agent", Topic.LOG),
    "verifier": _member(
        "verifier", "agent; asks for measurements on the telemetry topic", Topic.LOG, (Topic.TELEMETRY,)
    ),
    "effector": _member("effector", "acts on targets", Topic.LOG),
    "notifier": _member("notifier", "tells people", Topic.LOG),
    "sealer": Grants(
        "seals what is written",
        reads=(Topic.LOG, Topic.TELEMETRY, Topic.SEALS),
        writes=(Topic.SEALS,),
        transactions=("sealer.",),
    ),
    "clock": Grants("broadcasts the time", writes=(Topic.LOG, Topic.TELEMETRY), transactions=("clock.",)),
    "otlp": Grants("takes telemetry over OTLP", writes=(Topic.TELEMETRY,)),
    "services": Grants("services and bridges that write telemetry themselves", writes=(Topic.TELEMETRY,)),
    "projector": Grants("keeps the views", reads=(Topic.LOG, Topic.DEAD_LETTERS)),
    "kpis": Grants(
        "counts, for dashboards",
        reads=(Topic.LOG, Topic.KPI_STATE),
        writes=(Topic.KPIS, Topic.KPI_STATE),
        groups=("kpis",),
    ),
    "dashboards": Grants(
        "shows, and nothing else",
        reads=(Topic.LOG, Topic.TELEMETRY, Topic.SEALS, Topic.DEAD_LETTERS, Topic.KPIS),
        groups=("dashboards",),
    ),
    PEOPLE: Grants(
        "the command line and gateways: approvals, halts, configuration, audits; what people say is signed",
        reads=(Topic.LOG, Topic.TELEMETRY, Topic.SEALS, Topic.DEAD_LETTERS, Topic.KPIS, Topic.SNAPSHOTS),
        writes=(Topic.LOG, Topic.TELEMETRY),
        transactions=(BROADCAST,),
    ),
    REGISTRY: Grants(
        "keeps the schemas",
        owns=("kafkasql-journal", "kafkasql-snapshots", "registry-events"),
        group_prefixes=("registry-",),
    ),
}
"""Every principal with a password, and what it may do."""


def table() -> str:
    """The grants as a table in Markdown, for the documentation."""
    lines = [
        "| principal | for | reads | writes | consumer groups | transactional ids |",
        "|---|---|---|---|---|---|",
    ]
    for name, grants in GRANTS.items():
        groups = [f"`{g}`, `{g}.*`" for g in grants.groups] + [f"`{p}*`" for p in grants.group_prefixes]
        cells = (
            f"`{name}`",
            grants.purpose,
            _topics(*grants.reads, *grants.owns),
            _topics(*grants.writes, *grants.owns),
            ", ".join(groups) or "none",
            ", ".join(f"`{t}*`" for t in grants.transactions) or "none",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _topics(*topics: str) -> str:
    return ", ".join(f"`{topic}`" for topic in topics) or "nothing"

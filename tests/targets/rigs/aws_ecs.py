"""The ECS driver at an ECS whose tasks are real containers; the service's own events tell each change."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from systems.aws import CLUSTER, DONE_WITHIN_S, Ecs, ecs

from autopilot.infra.effector.port import CrashClass, Driver
from autopilot.infra.effector.rig import Case, Fault, Provoked
from autopilot.schemas.events.planner import Action

VOLATILE = frozenset({"deployment", "failed"})


def act(verb: str, service: str = "web", **parameters: str) -> Action:
    return Action(driver="aws_ecs", verb=verb, target=f"{CLUSTER}/{service}", parameters=parameters)


def case(action: Action, crash_class: CrashClass, refused: tuple[dict[str, str], ...] = ()) -> Case:
    return Case(action, crash_class, volatile=VOLATILE, refused=refused, timeout_s=DONE_WITHIN_S)


SCALE = case(
    act("scale", count="3"),
    CrashClass.CONVERGENT,
    ({"count": "0"}, {"count": "4"}, {"count": "-1"}, {"count": "many"}, {}),
)
SHRINK = case(act("scale", count="1"), CrashClass.CONVERGENT)
DEPLOY = case(
    act("set_task_definition", task_definition="web:2"),
    CrashClass.CONVERGENT,
    ({"task_definition": "other:1"}, {"task_definition": "web"}, {"task_definition": "web:latest"}, {}),
)
RESTART = case(act("restart"), CrashClass.WITNESSED)
PATIENT = case(act("set_task_definition", "patient", task_definition="gated:2"), CrashClass.CONVERGENT)
HALF = case(act("set_task_definition", "half", task_definition="gated:2"), CrashClass.CONVERGENT)


class AwsEcsRig:
    """Two tasks of `web:1` run."""

    name = "aws_ecs"
    cases = (SCALE, SHRINK, DEPLOY, RESTART)
    impossible: ClassVar[dict[Fault, str]] = {}

    def __init__(self, system: Ecs) -> None:
        self.system = system
        self.driver: Driver = system.driver()
        self.entry: dict[str, Any] = system.entry()

    @classmethod
    @contextmanager
    def running(cls, folder: Path) -> Iterator["AwsEcsRig"]:
        """Starts the target."""
        with ecs(folder) as system:
            yield cls(system)

    def reset(self, case: Case) -> None:
        """Two tasks of the first revision run."""
        self.system.bring("web", "web:1", 2)

    def effects(self, case: Case) -> int:
        """Changes of the service."""
        return self.system.changes(case.action.target.rpartition("/")[2])

    @contextmanager
    def provoke(self, fault: Fault) -> Iterator[Provoked]:
        """See `Rig.provoke`."""
        self.reset(SCALE)
        if fault is Fault.DENIED:
            yield Provoked(SCALE, self.system.driver("stranger"))
        elif fault is Fault.MISSING:
            yield Provoked(case(act("scale", "nowhere", count="2"), CrashClass.CONVERGENT))
        elif fault is Fault.UNREACHABLE:
            yield Provoked(SCALE, self.system.driver(endpoint_url="http://127.0.0.1:1"))
        elif fault is Fault.TIMEOUT:
            with self._closed("patient"):
                yield Provoked(PATIENT, timeout_s=2.0)
        elif fault is Fault.CONFLICT:
            before = self.driver.observe(DEPLOY.action.target)
            self.system.admin.update_service(cluster=CLUSTER, service="web", taskDefinition="other:1")
            yield Provoked(DEPLOY, before=before)
        else:
            with self._closed("half"):
                yield Provoked(HALF, timeout_s=DONE_WITHIN_S)

    @contextmanager
    def _closed(self, service: str) -> Iterator[None]:
        """New tasks of the service find the gate closed, until the context is left."""
        (self.system.gate / "open").unlink(missing_ok=True)
        self.system.bring(service, "gated:1", 1)
        yield
        (self.system.gate / "open").touch()
        if service == "patient":
            self.system.bring(service, "gated:2", 1)
            self.system.bring(service, "gated:1", 0)


RIG = AwsEcsRig

"""The OpenTofu driver at a configuration whose state is kept with every version of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from systems.opentofu import Infrastructure, infrastructure

from autopilot.infra.effector.port import CrashClass, Driver
from autopilot.infra.effector.rig import Case, Fault, Provoked
from autopilot.schemas.events.planner import Action


def act(workspace: str = "web", **variables: str) -> Action:
    return Action(driver="opentofu", verb="apply_variables", target=workspace, parameters=variables)


def case(action: Action, refused: tuple[dict[str, str], ...] = ()) -> Case:
    return Case(action, CrashClass.CONVERGENT, volatile=frozenset({"serial"}), refused=refused)


GROW = case(
    act(replicas="4"),
    ({"replicas": "0"}, {"replicas": "7"}, {"replicas": "many"}, {"replicas": "4", "ready": "reboot"}, {}),
)
SHRINK = case(act(replicas="1"))
RELEASE = case(act(release="v2"), ({"release": "latest"},))


class OpentofuRig:
    """Two replicas of v1."""

    name = "opentofu"
    cases = (GROW, SHRINK, RELEASE)
    impossible: ClassVar[dict[Fault, str]] = {}

    def __init__(self, system: Infrastructure) -> None:
        self.system = system
        self.driver: Driver = system.driver()
        self.entry: dict[str, Any] = system.entry()

    @classmethod
    @contextmanager
    def running(cls, folder: Path) -> Iterator["OpentofuRig"]:
        """Builds what is missing."""
        with infrastructure(folder) as system:
            yield cls(system)

    def reset(self, case: Case) -> None:
        """Applied by hand, whoever has left a lock behind."""
        self.system.store.locks.clear()
        self.system.bring("web", replicas=2, release="v1")

    def effects(self, case: Case) -> int:
        """Versions of the state."""
        return self.system.changes(case.action.target)

    @contextmanager
    def provoke(self, fault: Fault) -> Iterator[Provoked]:
        """See `Rig.provoke`."""
        self.reset(GROW)
        if fault is Fault.DENIED:
            self.system.secret("guess", "guessed")
            yield Provoked(GROW, self.system.driver("guess"))
        elif fault is Fault.MISSING:
            yield Provoked(case(act("nothing", replicas="4")))
        elif fault is Fault.UNREACHABLE:
            yield Provoked(case(act("lost", replicas="4")))
        elif fault is Fault.TIMEOUT:
            self.system.set("web", ready="sleep 60")
            yield Provoked(GROW, timeout_s=2.0)
        elif fault is Fault.CONFLICT:
            before = self.driver.observe("web")
            self.system.bring("web", release="v3")
            yield Provoked(GROW, before=before)
        else:
            gate = self.system.root / "gate"
            gate.unlink(missing_ok=True)
            self.system.set("web", ready=f"test $REPLICA -lt 3 -o -e {gate}")
            yield Provoked(GROW)
            gate.touch()


RIG = OpentofuRig

"""The Kubernetes driver at a real cluster, with the role that ships: two pods of `shop/web` on one node.

Changes of a deployment are its generation, which the API server raises with each change of what is wanted. Those of a
node are what the API server's audit tells of the effector's account.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from systems.kubernetes import ABSENT, NODE, TARGET, V1, V2, V3, Kubernetes, kubernetes

from autopilot.infra.effector.port import CrashClass, Driver
from autopilot.infra.effector.rig import Case, Fault, Provoked
from autopilot.schemas.events.planner import Action

HISTORY = frozenset(
    {"revision", "revisions", "previous_revision", "previous_release", "previous_memory_limit_mib", "restart_key"}
)
"""What a change leaves behind, also when it was put back."""
PODS = frozenset({"evictable"})
"""Those that were evicted come back in their own time."""


def act(verb: str, target: str = TARGET, **parameters: str) -> Action:
    return Action(driver="kubernetes", verb=verb, target=target, parameters=parameters)


def case(action: Action, *refused: dict[str, str], crash_class: CrashClass = CrashClass.CONVERGENT) -> Case:
    return Case(action, crash_class, volatile=HISTORY, refused=refused)


SCALE = case(act("scale", count="3"), {"count": "0"}, {"count": "5"}, {"count": "-1"}, {"count": "many"}, {})
IMAGE = case(act("set_image", image=V2), {"image": "elsewhere.example/web:v2"}, {})
LIMIT = case(act("set_limit", memory="48Mi"), {"memory": "65Mi"}, {"memory": "much"}, {"memory": "0"}, {})
RESTART = case(act("restart"), crash_class=CrashClass.KEYED)
ROLLBACK = case(act("rollback", revision="1"), {"revision": "7"}, crash_class=CrashClass.WITNESSED)
CORDON = Case(act("cordon", f"node/{NODE}"), CrashClass.CONVERGENT)
UNCORDON = Case(act("uncordon", f"node/{NODE}"), CrashClass.CONVERGENT)
DRAIN = Case(act("drain", f"node/{NODE}"), CrashClass.CONVERGENT, effects=3, volatile=PODS)
"""The node is cordoned and two pods are evicted."""


class KubernetesRig:
    """See the module."""

    name = "kubernetes"
    cases = (SCALE, IMAGE, LIMIT, RESTART, ROLLBACK, CORDON, UNCORDON, DRAIN)
    impossible: ClassVar[dict[Fault, str]] = {}

    def __init__(self, system: Kubernetes) -> None:
        self.system = system
        self.driver: Driver = system.driver
        self.entry: dict[str, Any] = system.entry

    @classmethod
    @contextmanager
    def running(cls, folder: Path) -> Iterator["KubernetesRig"]:
        """Starts the target."""
        with kubernetes(folder) as system:
            yield cls(system)

    def reset(self, case: Case) -> None:
        """Two pods of release v1, and of v2 after it where that is to be rolled back."""
        releases = (V1, V2) if case.verb == "rollback" else (V1,)
        self.system.reset(releases=releases, cordoned=case.verb == "uncordon")

    def effects(self, case: Case) -> int:
        """See the module."""
        if case.action.target.startswith("node/"):
            return self.system.writes("nodes", "pods/eviction")
        return self.system.generation()

    @contextmanager
    def provoke(self, fault: Fault) -> Iterator[Provoked]:
        """See `Rig.provoke`."""
        self.system.reset()
        if fault is Fault.DENIED:
            bridge = self.system.cluster.credential("autopilot-bridge")
            yield Provoked(SCALE, self.system.another(kubeconfig=bridge))
        elif fault is Fault.MISSING:
            yield Provoked(Case(act("scale", "shop/nothing", count="3"), CrashClass.CONVERGENT))
        elif fault is Fault.UNREACHABLE:
            yield Provoked(SCALE, self.system.another(kubeconfig=self.system.unreachable()))
        elif fault is Fault.TIMEOUT:
            yield Provoked(case(act("set_image", image=ABSENT)), timeout_s=2.0)
        elif fault is Fault.CONFLICT:
            before = self.driver.observe(TARGET)
            self.system.deploy(V3)
            yield Provoked(IMAGE, before=before)
        else:
            yield from self._half_way()

    def _half_way(self) -> Iterator[Provoked]:
        """The deployment is scaled, and there is no node for the third pod."""
        self.system.cordon(True)
        yield Provoked(SCALE, timeout_s=2.0)
        self.system.cordon(False)


RIG = KubernetesRig

"""The HAProxy driver for the conformance suite. Changes are counted by the relay before HAProxy's socket."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from systems.haproxy import ANSWERS_WITHIN_S, BACKEND, SPARE, Haproxy, haproxy

from autopilot.infra.effector.drivers.haproxy import HaproxyDriver, HaproxySettings
from autopilot.infra.effector.port import CrashClass, Driver
from autopilot.infra.effector.rig import Case, Fault, Provoked
from autopilot.schemas.events.planner import Action

OTHER = "be_other"
ADDRESS = "127.0.0.1:28999"
"""Of a server that nobody needs to reach."""


def _case(verb: str, effects: int, *refused: Mapping[str, str], target: str = BACKEND, **parameters: str) -> Case:
    action = Action(driver="haproxy", verb=verb, target=target, parameters=parameters)
    return Case(action, CrashClass.CONVERGENT, effects=effects, refused=refused)


SPLIT = _case(
    "split",
    3,
    {"servers": "canary-1", "percent": "101"},
    {"servers": "canary-1", "percent": "51"},
    {"servers": "canary-1", "percent": "five"},
    servers="canary-1",
    percent="5",
)
ADD = _case(
    "add_server",
    2,
    {"server": SPARE, "address": "192.0.2.1:28999"},
    {"server": SPARE, "address": "127.0.0.1:22"},
    {"server": "a b", "address": ADDRESS},
    server=SPARE,
    address=ADDRESS,
)


class HaproxyRig:
    """Three servers behind HAProxy, of which one waits with weight 0."""

    name = "haproxy"
    cases = (
        SPLIT,
        _case("set_weight", 1, {"server": "stable-1", "weight": "257"}, server="stable-1", weight="5"),
        _case("drain", 1, server="stable-1"),
        _case("ready", 1, server="stable-2"),
        ADD,
        _case("remove_server", 3, server="stable-1"),
    )
    impossible: ClassVar[dict[Fault, str]] = {}

    def __init__(self, running: Haproxy) -> None:
        self._system = running
        self.entry: dict[str, Any] = {
            "driver": "haproxy",
            "url": running.url,
            "backends": [BACKEND, OTHER],
            "max_step_percent": 50,
            "networks": ["127.0.0.0/8"],
            "ports": [20_000, 30_000],
            "check": "",
            "timeout_s": ANSWERS_WITHIN_S,
        }
        self.driver: Driver = self._driver()

    @classmethod
    @contextmanager
    def running(cls, _folder: Path) -> Iterator["HaproxyRig"]:
        """Starts the target, in a folder of its own whose name is short enough for a socket."""
        with haproxy() as system:
            yield cls(system)

    def reset(self, case: Case) -> None:
        """The servers as configured; `ready` finds one that is drained, `add_server` finds nothing."""
        self._system.restart()
        if case.verb == "ready":
            self._system.tell(f"set server {BACKEND}/stable-2 state drain")

    def effects(self, _case: Case) -> int:
        """The changes that HAProxy accepted."""
        return len(self._system.relay.changes)

    @contextmanager
    def provoke(self, fault: Fault) -> Iterator[Provoked]:
        """See `Rig.provoke`."""
        self.reset(SPLIT)
        try:
            yield self._provoked[fault](self)
        finally:
            self._system.relay.heal()

    def _driver(self, **settings: Any) -> HaproxyDriver:
        entry = {name: value for name, value in self.entry.items() if name != "driver"}
        return HaproxyDriver(HaproxySettings.model_validate(entry | settings))

    def _denied(self) -> Provoked:
        return Provoked(SPLIT, self._driver(url=f"unix://{self._system.balancer.user_socket}"))

    def _missing(self) -> Provoked:
        return Provoked(_case("drain", 1, target=OTHER, server="stable-1"), before=self.driver.observe(BACKEND))

    def _unreachable(self) -> Provoked:
        return Provoked(SPLIT, self._driver(url="tcp://127.0.0.1:1"), self.driver.observe(BACKEND))

    def _timeout(self) -> Provoked:
        before = self.driver.observe(BACKEND)
        self._system.relay.deaf = True
        return Provoked(SPLIT, self._driver(timeout_s=0.5), before, timeout_s=1.0)

    def _conflict(self) -> Provoked:
        before = self.driver.observe(BACKEND)
        self._system.tell(f"set weight {BACKEND}/stable-1 9")
        return Provoked(SPLIT, before=before)

    def _partial(self) -> Provoked:
        before = self.driver.observe(BACKEND)
        self._system.relay.changes_left = 1
        return Provoked(SPLIT, before=before)

    _provoked: ClassVar[Mapping[Fault, Callable[["HaproxyRig"], Provoked]]] = {
        Fault.DENIED: _denied,
        Fault.MISSING: _missing,
        Fault.UNREACHABLE: _unreachable,
        Fault.TIMEOUT: _timeout,
        Fault.CONFLICT: _conflict,
        Fault.PARTIAL: _partial,
    }


RIG = HaproxyRig

"""The webhook driver at a real HTTP service, which writes down everything that it does."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from systems.webhook import BLIND, DEFAULT, KEYED, Misbehaviour, WebhookService, webhook_service

from autopilot.infra.effector.drivers.webhook import WebhookDriver, WebhookSettings
from autopilot.infra.effector.port import CrashClass, Driver
from autopilot.infra.effector.rig import Case, Fault, Provoked
from autopilot.schemas.events.planner import Action


def act(verb: str, target: str, **parameters: str) -> Action:
    return Action(driver="webhook", verb=verb, target=target, parameters=parameters)


SET = Case(
    act("set_ring", KEYED, ring="canary"),
    CrashClass.KEYED,
    refused=({"ring": "everything"}, {}, {"ring": "canary", "force": "yes"}),
)
RESTORE = Case(act("restore", KEYED), CrashClass.KEYED)
ROTATE = Case(act("rotate", BLIND, ring="canary"), CrashClass.BLIND, refused=({"ring": "canary\n"},))


class WebhookRig:
    """Two endpoints of one service: one keeps keys, one does not."""

    name = "webhook"
    cases = (SET, RESTORE, ROTATE)
    impossible: ClassVar[dict[Fault, str]] = {}

    def __init__(self, system: WebhookService) -> None:
        self.system = system
        self.driver: Driver = driver_of(system.entry())
        self.entry: dict[str, Any] = system.entry()

    @classmethod
    @contextmanager
    def running(cls, folder: Path) -> Iterator["WebhookRig"]:
        """Starts the target."""
        with webhook_service(folder) as system:
            yield cls(system)

    def reset(self, case: Case) -> None:
        """Sets the ring that the case changes."""
        self.system.rings[case.action.target] = "wide" if case is RESTORE else DEFAULT

    def effects(self, case: Case) -> int:
        """Changes at the endpoint."""
        return len(self.system.history[case.action.target])

    @contextmanager
    def provoke(self, fault: Fault) -> Iterator[Provoked]:
        """See `Rig.provoke`."""
        self.reset(SET)
        try:
            yield self._provoked(fault)
        finally:
            self.system.mode = Misbehaviour()
            self.system.finished()

    def _provoked(self, fault: Fault) -> Provoked:
        if fault is Fault.DENIED:
            wrong = self.system.secret_file.with_name("wrong")
            wrong.write_text("guessed")
            return Provoked(SET, driver_of(self.system.entry(secret_file=wrong)))
        if fault is Fault.MISSING:
            gone = self.system.entry()
            gone["endpoints"][KEYED]["url"] += "-that-was"
            return Provoked(SET, driver_of(gone))
        if fault is Fault.UNREACHABLE:
            return Provoked(SET, driver_of(self.system.entry("http://127.0.0.1:1")))
        before = self.driver.observe(KEYED)
        if fault is Fault.TIMEOUT:
            self.system.mode.background = True
            return Provoked(SET, before=before, timeout_s=2.0)
        if fault is Fault.CONFLICT:
            self.system.rings[KEYED] = "wide"
        else:
            self.system.mode.partial = True
        return Provoked(SET, before=before)


def driver_of(entry: dict[str, Any]) -> WebhookDriver:
    """The driver of an entry of a targets file."""
    settings = {name: value for name, value in entry.items() if name != "driver"}
    return WebhookDriver(WebhookSettings.model_validate(settings))


RIG = WebhookRig

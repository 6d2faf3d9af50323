"""A driver whose targets are the files of a `FileFleet`."""

from collections.abc import Mapping, Sequence

from fleet import FileFleet

from autopilot.infra.effector.port import Applied, CrashClass, Difference, Driver, MissingError, Observation
from autopilot.schemas.events.planner import Action


class FileDriver(Driver):
    """Switches releases by replacing a file: convergent, since the release is stated."""

    name = "files"
    verbs: Mapping[str, CrashClass] = {"switch_release": CrashClass.CONVERGENT}

    def __init__(self, fleet: FileFleet) -> None:
        self._fleet = fleet

    def observe(self, target: str) -> Observation:
        state = self._fleet.read(target)
        if state is None:
            raise MissingError(f"no service `{target}`")
        return Observation(state)

    def diff(self, action: Action, observation: Observation) -> Sequence[Difference]:
        wanted, now = action.parameters["release"], observation.state["release"]
        return [] if wanted == now else [Difference("release", now, wanted)]

    def apply(self, action: Action, observation: Observation, key: str, timeout_s: float) -> Applied:
        changed = bool(self.diff(action, self.observe(action.target)))
        if changed:
            self._fleet.switch(action.target, action.parameters["release"], key)
        return Applied(changed, self.observe(action.target).state)

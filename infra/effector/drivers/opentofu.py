"""Infrastructure as code by OpenTofu or Terraform. A target is the name of a configuration's folder.

`apply_variables`  convergent: the parameters' variables have these values, and what they decide is applied

A plan is saved, held against the bounds and then applied as it was saved, so that nothing is done that was not looked
at. What else has changed in the configuration and was not applied stands in the way: only what the variables decide is
done. So does a state that was written since it was observed, and a lock that is not given back in time.

State keys: `variable.NAME` for each variable that may be set, `output.NAME` for each output that is no secret,
`resources` (how many there are), `lineage` and `serial` of the state.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from autopilot.infra.effector.drivers.opentofu_cli import Plan, Tofu
from autopilot.infra.effector.drivers.opentofu_settings import OpentofuSettings, WorkspaceBounds
from autopilot.infra.effector.drivers.opentofu_workspace import Begun, State, Workspace, as_text
from autopilot.infra.effector.port import (
    Applied,
    ConflictError,
    CrashClass,
    DeniedError,
    Difference,
    MissingError,
    Observation,
    PartialError,
    PermanentError,
    TargetError,
)
from autopilot.schemas.events.planner import Action

__all__ = ["OpentofuDriver", "OpentofuSettings"]

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class _Wish(NamedTuple):
    """Which variables are wanted, and the state `before` that must not have moved since, save by acts of ours."""

    target: str
    variables: dict[str, Any]
    before: Mapping[str, str]
    deadline: float
    undone: Mapping[str, Any] | None = None
    """The variables of the act that this one undoes."""

    def explains(self, begun: Begun | None, now: State) -> bool:
        """Whether what was begun and not ended is this act, or the one that it undoes."""
        ours = [wish for wish in (self.variables, self.undone) if wish is not None]
        return begun is not None and any(begun.accounts_for(wish, self.before, now) for wish in ours)

    def begins_at(self, begun: Begun | None, now: State) -> Begun:
        """Where this act began: at an earlier try, if there was one."""
        if begun is not None and begun.accounts_for(self.variables, self.before, now):
            return begun
        return Begun(now.lineage, now.serial, self.variables)


class OpentofuDriver:
    """See the module."""

    verbs: Mapping[str, CrashClass] = {"apply_variables": CrashClass.CONVERGENT}
    reverts: ClassVar[frozenset[str]] = frozenset(verbs)

    def __init__(self, settings: OpentofuSettings) -> None:
        self.name = settings.name
        self._settings = settings

    def observe(self, target: str) -> Observation:
        """See `Driver.observe`."""
        workspace, deadline = self._workspace(target), self._look_deadline()
        with workspace.scratch() as scratch:
            return self._observation(target, workspace.variables(), workspace.state(scratch, deadline))

    def diff(self, action: Action, _observation: Observation) -> list[Difference]:
        """See `Driver.diff`: what a plan with these variables would change."""
        wanted = self._bounds(action.target).values(action.parameters)
        workspace, deadline = self._workspace(action.target), self._look_deadline()
        values = workspace.variables()
        with workspace.scratch() as scratch:
            plan = workspace.plan(scratch, values | wanted, deadline)
        moved = [name for name in wanted if values.get(name) != wanted[name]]
        named = [Difference(f"variable.{n}", as_text(values.get(n)), as_text(wanted[n])) for n in moved]
        pending = [Difference("outputs", "", "changed")] if plan.anything and not plan.differences else []
        return [*named, *plan.differences, *pending]

    def apply(self, action: Action, observation: Observation, _key: str, timeout_s: float, /) -> Applied:
        """See `Driver.apply`."""
        wanted = self._bounds(action.target).values(action.parameters)
        return self._bring(_Wish(action.target, wanted, observation.state, time.monotonic() + timeout_s))

    def happened(self, _action: Action, _before: Mapping[str, str], _observation: Observation) -> bool | None:
        """See `Driver.happened`: no verb is witnessed."""
        return None

    def revert(self, action: Action, before: Mapping[str, str], _key: str, timeout_s: float, /) -> Applied:
        """See `Driver.revert`. The variables' values of before need not be within the bounds; the plan must."""
        bounds = self._bounds(action.target)
        done = bounds.values(action.parameters)
        missing = [name for name in done if f"variable.{name}" not in before]
        if missing:
            raise PermanentError(f"the state before does not tell `variable.{missing[0]}`")
        wanted = {name: bounds.variables[name].read(name, before[f"variable.{name}"]) for name in done}
        expected = {f"variable.{name}": as_text(value) for name, value in done.items()}
        return self._bring(_Wish(action.target, wanted, expected, time.monotonic() + timeout_s, undone=done))

    # -- from one configuration to another ---------------------------------------------------------------------------

    def _bring(self, wish: _Wish) -> Applied:
        workspace = self._workspace(wish.target)
        with workspace.scratch() as scratch:
            values, state = workspace.variables(), workspace.state(scratch, wish.deadline)
            wanted = values | wish.variables
            plan = workspace.plan(scratch, wanted, wish.deadline)
            if not plan.anything and values == wanted:
                workspace.end()
                return Applied(False, self._observation(wish.target, values, state).state)
            _check_unmoved(wish.variables, values, wish.before)
            if not wish.explains(workspace.begun(), state):
                _check_state_unmoved(state, wish.before)
                if values != wanted:
                    self._check_applied(workspace, scratch, values, wish.deadline)
            self._check_bounds(wish.target, plan)
            if plan.anything:
                workspace.apply(scratch, plan, wish.begins_at(workspace.begun(), state), state, wish.deadline)
            return self._end(wish.target, workspace, wanted, scratch)

    @staticmethod
    def _check_applied(workspace: Workspace, scratch: Path, values: Mapping[str, Any], deadline: float) -> None:
        pending = workspace.plan(scratch, values, deadline, "as-it-is")
        if pending.anything:
            named = ", ".join(d.field for d in pending.differences[:5]) or "its outputs"
            raise ConflictError(f"the configuration has changes of others that were not applied: {named}")

    def _check_bounds(self, target: str, plan: Plan) -> None:
        bounds = self._bounds(target)
        for name, count, most in (
            ("max_changes", plan.changes, bounds.max_changes),
            ("max_deletions", plan.deletions, bounds.max_deletions),
        ):
            if count > most:
                raise PermanentError(f"the plan is over `{name}`: {count}, and the bound is {most}")

    def _end(self, target: str, workspace: Workspace, values: Mapping[str, Any], scratch: Path) -> Applied:
        try:
            workspace.set_variables(values)
            workspace.end()
            state = workspace.state(scratch, self._look_deadline())
        except TargetError as error:
            raise PartialError(f"it is applied, and then: {error}") from error
        return Applied(True, self._observation(target, values, state).state)

    # -- small things ------------------------------------------------------------------------------------------------

    def _bounds(self, target: str) -> WorkspaceBounds:
        bounds = self._settings.workspaces.get(target)
        if bounds is None:
            raise PermanentError(f"`target` is `{target}`, allowed are: {', '.join(sorted(self._settings.workspaces))}")
        return bounds

    def _workspace(self, target: str) -> Workspace:
        self._bounds(target)
        settings = self._settings
        folder = settings.root / target
        tofu = Tofu(settings.binary, self._environment(), folder, settings.lock_wait_s, settings.grace_s)
        return Workspace(folder, tofu)

    def _environment(self) -> dict[str, str]:
        settings = self._settings
        plain = {"PATH": PATH, "HOME": str(settings.root), "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
        try:
            secrets = {
                name: path.read_text(encoding="utf-8").strip() for name, path in settings.environment_files.items()
            }
        except OSError as error:
            raise DeniedError(f"a file of the environment cannot be read: {error}") from None
        return {**plain, **settings.environment, **secrets}

    def _observation(self, target: str, values: Mapping[str, Any], state: State) -> Observation:
        variables = self._bounds(target).variables
        unset = [name for name in variables if name not in values]
        if unset:
            raise MissingError(f"the variables of `{target}` do not set `{unset[0]}`")
        told = {f"variable.{name}": as_text(values[name]) for name in sorted(variables)}
        outputs = {f"output.{name}": text for name, text in sorted(state.outputs.items())}
        facts = {"resources": str(state.resources), "lineage": state.lineage, "serial": str(state.serial)}
        return Observation({**told, **outputs, **facts}, revision=f"{state.lineage}/{state.serial}")

    def _look_deadline(self) -> float:
        return time.monotonic() + self._settings.look_seconds


def _check_unmoved(wanted: Mapping[str, Any], values: Mapping[str, Any], before: Mapping[str, str]) -> None:
    for name, value in wanted.items():
        now = as_text(values.get(name))
        if now not in (before.get(f"variable.{name}", now), as_text(value)):
            raise ConflictError(f"`{name}` was set to {now} by another writer")


def _check_state_unmoved(state: State, before: Mapping[str, str]) -> None:
    now = {"lineage": state.lineage, "serial": str(state.serial)}
    if any(before.get(key, value) != value for key, value in now.items()):
        then = before.get("serial", "another one")
        raise ConflictError(f"the state is at serial {state.serial}, and was at {then} when it was observed")

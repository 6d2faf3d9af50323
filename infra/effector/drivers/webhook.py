"""Endpoints that do something when they are asked to by HTTP. A target is an endpoint's name, a verb an action's.

An action is a POST of `{"action", "target", "parameters", "before", "idempotency_key"}` with the key in
`Idempotency-Key` too (as in draft-ietf-httpapi-idempotency-key-header, but without quotes, as most servers expect) and,
where there is a secret, signed after Standard Webhooks. `before` is the state that it was decided on: an endpoint that
is in another one answers 409. One that undoes has `undoes` as well, the action that is undone.

keyed    the endpoint has a `lookup_url`: `GET lookup_url?key=KEY` answers 404, or JSON with a `status` of `running`,
         `done` (the default), `failed` or `partial`, and perhaps `changed` and `reason`. A key is looked up before
         anything is sent under it, and waited for while it is `running`, also when the POST itself was answered so
blind    any other: it is sent once, and whatever leaves open if it was carried out counts as unknown

State keys: `endpoint`, and the settings' `state_fields` as the endpoint's `state_url` tells them.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from autopilot.infra.effector.drivers.parameter_bounds import check_parameters
from autopilot.infra.effector.drivers.webhook_client import MAX_SHOWN, WebhookClient
from autopilot.infra.effector.drivers.webhook_settings import Endpoint, WebhookAction, WebhookSettings
from autopilot.infra.effector.port import (
    Applied,
    ConflictError,
    CrashClass,
    Difference,
    MissingError,
    Observation,
    PartialError,
    PermanentError,
    TargetError,
    TargetTimeoutError,
    nothing_to_put_back,
)
from autopilot.schemas.events.planner import Action

__all__ = ["WebhookDriver", "WebhookSettings"]

POLL_S = 0.25
MIN_LOOK_S = 1.0
"""How long one look-up may take even when the time is over, in seconds."""
RUNNING = "running"
_FAILURES: Mapping[str, type[TargetError]] = {"failed": PermanentError, "partial": PartialError}
"""What an endpoint's word for a failure means: nothing was changed, or part of it was."""


class WebhookDriver:
    """See the module."""

    def __init__(self, settings: WebhookSettings) -> None:
        self.name = settings.name
        self.verbs: Mapping[str, CrashClass] = settings.verbs
        self.reverts = frozenset(
            verb for endpoint in settings.endpoints.values() for verb, action in endpoint.actions.items() if action.undo
        )
        self._endpoints = settings.endpoints
        self._clients = {name: WebhookClient(name, endpoint) for name, endpoint in settings.endpoints.items()}

    def observe(self, target: str) -> Observation:
        """See `Driver.observe`."""
        endpoint = self._endpoint(target)
        told: Mapping[str, Any] = {}
        if endpoint.state_url is not None:
            told = self._clients[target].state(endpoint.timeout_s)
        return Observation({"endpoint": target, **{field: _text(told.get(field)) for field in endpoint.state_fields}})

    def diff(self, action: Action, observation: Observation) -> Sequence[Difference]:
        """See `Driver.diff`: what the action declares to set, or else that it is called."""
        declared = self._checked(action)
        if not declared.sets:
            given = ", ".join(f"{name}={value}" for name, value in action.parameters.items())
            return [Difference("call", "", f"{action.verb}({given})")]
        wanted = {field: text.format_map(action.parameters) for field, text in declared.sets.items()}
        now = observation.state
        return [Difference(name, now.get(name, ""), want) for name, want in wanted.items() if now.get(name) != want]

    def apply(self, action: Action, observation: Observation, key: str, timeout_s: float, /) -> Applied:
        """See `Driver.apply`."""
        self._checked(action)
        return self._done(action.target, _body(action, observation.state, key), key, timeout_s)

    def happened(self, _action: Action, _before: Mapping[str, str], _observation: Observation) -> bool | None:
        """See `Driver.happened`: no verb is witnessed."""
        return None

    def done_under(self, action: Action, key: str) -> Applied | None:
        """See `KeyedDriver.done_under`; what still runs is waited for as long as the endpoint may take."""
        endpoint = self._endpoint(action.target)
        if endpoint.lookup_url is None:
            raise PermanentError(f"`{action.target}` keeps no keys")
        return self._looked_up(action.target, key, time.monotonic() + endpoint.timeout_s)

    def revert(self, action: Action, before: Mapping[str, str], key: str, timeout_s: float, /) -> Applied:
        """See `Driver.revert`: the action that undoes it is called once under the key, with the state before."""
        declared = self._checked(action)
        if not declared.undo:
            raise nothing_to_put_back(action)
        needed = self._endpoint(action.target).actions[declared.undo].parameters
        undo = action.model_copy(
            update={"verb": declared.undo, "parameters": {name: action.parameters[name] for name in needed}}
        )
        body = {**_body(undo, before, key), "undoes": action.verb}
        return self._done(action.target, body, key, timeout_s)

    # -- calls -------------------------------------------------------------------------------------------------------

    def _done(self, target: str, body: Mapping[str, Any], key: str, timeout_s: float) -> Applied:
        """Calls the endpoint unless the key is known there, and waits until it is done."""
        client, until = self._clients[target], time.monotonic() + timeout_s
        if self._endpoint(target).lookup_url is None:
            return self._applied(target, client.call(body, key, timeout_s))
        known = self._looked_up(target, key, until)
        if known is not None:
            return Applied(changed=False, after=known.after)
        try:
            answer = client.call(body, key, until - time.monotonic())
        except (ConflictError, TargetTimeoutError):  # a try under this key may be under way, this one or another
            done = self._looked_up(target, key, until)
            if done is None:
                raise
            return done
        if answer.get("status") != RUNNING:
            return self._applied(target, answer)
        done = self._looked_up(target, key, until)
        if done is None:
            raise TargetTimeoutError(f"`{target}` said that it had begun, and knows nothing of it now")
        return done

    def _looked_up(self, target: str, key: str, until: float) -> Applied | None:
        """What was done under the key, once it is no longer running; None when the endpoint never saw it."""
        client = self._clients[target]
        while True:
            answer = client.look_up(key, max(MIN_LOOK_S, until - time.monotonic()))
            if answer is None:
                return None
            if answer.get("status") != RUNNING:
                return self._applied(target, answer)
            if time.monotonic() + POLL_S > until:
                raise TargetTimeoutError(f"`{target}` is still running what was asked for under `{key}`")
            time.sleep(POLL_S)

    def _applied(self, target: str, answer: Mapping[str, Any]) -> Applied:
        failure = _FAILURES.get(str(answer.get("status")))
        if failure is not None:
            raise failure(f"`{target}` failed: {_text(answer.get('reason')) or 'it does not say why'}")
        try:
            after = self.observe(target).state
        except TargetError:  # it is done, whether or not it can be looked at now
            after = {"endpoint": target}
        return Applied(answer.get("changed") is not False, after)

    # -- bounds ------------------------------------------------------------------------------------------------------

    def _endpoint(self, target: str) -> Endpoint:
        endpoint = self._endpoints.get(target)
        if endpoint is None:
            raise MissingError(f"there is no endpoint `{target}`, expected one of {', '.join(self._endpoints)}")
        return endpoint

    def _checked(self, action: Action) -> WebhookAction:
        actions = self._endpoint(action.target).actions
        declared = actions.get(action.verb)
        if declared is None:
            raise PermanentError(
                f"`{action.target}` has no action `{action.verb}`, expected one of {', '.join(actions)}"
            )
        check_parameters(action.verb, action.parameters, declared.parameters)
        return declared


def _body(action: Action, before: Mapping[str, str], key: str) -> dict[str, Any]:
    return {
        "action": action.verb,
        "target": action.target,
        "parameters": action.parameters,
        "before": dict(before),
        "idempotency_key": key,
    }


def _text(value: Any) -> str:
    """A JSON value as a declared fact."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)[:MAX_SHOWN]

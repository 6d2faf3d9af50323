"""What the webhook driver may call: endpoints by name, each with its actions, its secrets' files and its bounds."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from autopilot.infra.effector.drivers.parameter_bounds import Pattern
from autopilot.infra.effector.port import CrashClass
from autopilot.schemas.configuration import Name

Address = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WebhookAction(_Declared):
    """One thing that an endpoint does when it is asked to.

    `parameters` are names and patterns; all of them must be given. `sets` says which of the endpoint's state fields
    are what afterwards, with `{PARAMETER}` filled in: a preview is made of it. `undo` is the action of the same
    endpoint that puts back what this one changed; it is told the state before.
    """

    parameters: dict[str, Pattern] = {}
    sets: dict[str, str] = {}
    undo: str = ""


class Endpoint(_Declared):
    """One address. With `lookup_url` its calls are keyed: `GET lookup_url?key=KEY` says what became of one.

    `state_url` gives a JSON object, of which `state_fields` are the target's declared state. Files hold the key of the
    signature and a bearer token.
    """

    url: Address
    actions: dict[Name, WebhookAction] = Field(min_length=1)
    lookup_url: Address | None = None
    state_url: Address | None = None
    state_fields: list[str] = []
    secret_file: Path | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    proxy: str = ""
    timeout_s: float = Field(default=10.0, gt=0, le=300, description="longest wait for one answer")

    @property
    def crash_class(self) -> CrashClass:
        """How its calls survive a crash."""
        return CrashClass.KEYED if self.lookup_url else CrashClass.BLIND

    @model_validator(mode="after")
    def _undo_is_there(self) -> Self:
        for name, action in self.actions.items():
            if not action.undo:
                continue
            undo = self.actions.get(action.undo)
            if undo is None:
                raise ValueError(f"`{name}` is undone by `{action.undo}`, which is no action of the endpoint")
            if not undo.parameters.keys() <= action.parameters.keys():
                raise ValueError(f"`{name}` has not all parameters that `{action.undo}` needs to undo it")
            if self.lookup_url is None:
                raise ValueError(f"`{name}` declares `undo`, which is called once only where there is a `lookup_url`")
        return self

    @model_validator(mode="after")
    def _sets_what_is_observed(self) -> Self:
        for name, action in self.actions.items():
            if not action.sets.keys() <= set(self.state_fields):
                raise ValueError(f"`{name}` sets fields that are not among `state_fields`")
            for text in action.sets.values():
                try:
                    text.format_map(dict.fromkeys(action.parameters, ""))
                except (KeyError, ValueError, IndexError, AttributeError) as error:
                    raise ValueError(f"`{name}` sets `{text}`, which its parameters do not fill in: {error}") from None
        return self


class WebhookSettings(_Declared):
    """The endpoints by name: a name is a target. An action of one name is keyed at all endpoints or at none."""

    name: str = "webhook"
    endpoints: dict[str, Endpoint] = Field(min_length=1)

    @property
    def verbs(self) -> dict[str, CrashClass]:
        """Every action's name and its crash class."""
        return {name: endpoint.crash_class for endpoint in self.endpoints.values() for name in endpoint.actions}

    @model_validator(mode="after")
    def _one_class_each(self) -> Self:
        for target, endpoint in self.endpoints.items():
            for name in endpoint.actions:
                if self.verbs[name] is not endpoint.crash_class:
                    raise ValueError(f"`{name}` can be looked up at another endpoint but not at `{target}`, or not so")
        return self

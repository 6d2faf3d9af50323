"""The lifecycle of what the policy holds for one plan."""

from enum import StrEnum

from autopilot.agents.lifecycle import Lifecycle


class HoldingState(StrEnum):
    """Where a plan stands with the policy."""

    PROPOSED = "proposed"
    PREVIEWING = "previewing"
    AWAITING = "awaiting"
    AUTHORIZED = "authorized"
    STARTED = "started"
    HELD = "held"
    """Its execution has reached a held step, which waits for people."""
    DENIED = "denied"
    REVOKED = "revoked"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"


class Trigger(StrEnum):
    """What moves it on."""

    PREVIEW = "preview"
    ASK = "ask"
    COUNT = "count"
    AUTHORIZE = "authorize"
    DENY = "deny"
    START = "start"
    HOLD = "hold"
    RELEASE = "release"
    """The held step is authorised."""
    TURN_BACK = "turn_back"
    """The held step, or the next one, may not begin: what was done is undone."""
    REVOKE = "revoke"
    WITHDRAW = "withdraw"
    LAPSE = "lapse"


_S, _T = HoldingState, Trigger

HOLDING: Lifecycle[HoldingState, Trigger] = Lifecycle(
    "decision",
    _S.PROPOSED,
    {
        (_S.PROPOSED, _T.AUTHORIZE): _S.AUTHORIZED,
        (_S.PROPOSED, _T.DENY): _S.DENIED,
        (_S.PROPOSED, _T.PREVIEW): _S.PREVIEWING,
        (_S.PREVIEWING, _T.AUTHORIZE): _S.AUTHORIZED,
        (_S.PREVIEWING, _T.DENY): _S.DENIED,
        (_S.PREVIEWING, _T.ASK): _S.AWAITING,
        (_S.PREVIEWING, _T.WITHDRAW): _S.WITHDRAWN,
        (_S.AWAITING, _T.COUNT): _S.AWAITING,
        (_S.AWAITING, _T.AUTHORIZE): _S.AUTHORIZED,
        (_S.AWAITING, _T.DENY): _S.DENIED,
        (_S.AWAITING, _T.WITHDRAW): _S.WITHDRAWN,
        (_S.AUTHORIZED, _T.START): _S.STARTED,
        (_S.AUTHORIZED, _T.REVOKE): _S.REVOKED,
        (_S.AUTHORIZED, _T.LAPSE): _S.LAPSED,
        (_S.STARTED, _T.HOLD): _S.HELD,
        (_S.STARTED, _T.TURN_BACK): _S.REVOKED,
        (_S.STARTED, _T.LAPSE): _S.LAPSED,
        (_S.HELD, _T.COUNT): _S.HELD,
        (_S.HELD, _T.RELEASE): _S.STARTED,
        (_S.HELD, _T.TURN_BACK): _S.REVOKED,
        (_S.HELD, _T.LAPSE): _S.LAPSED,
    },
)
"""`lapse`: the authorisation ended unused, or the execution did before its last step was done.

What has ended is kept until its incident closes, to refuse latecomers.
"""

"""Catalogues whose remedies have goals, for tests: a restart behind a balancer, a canary, scaling before shifting."""

from typing import Any

from planner import shop

from autopilot.schemas.configuration import (
    Remedy,
    RemedyCatalogue,
    RemedyConstraint,
    RemedyGate,
    RemedyOperator,
    RemedyVariable,
    Service,
    TargetRef,
    VariableType,
    document,
)
from autopilot.schemas.events.effector import TargetObserved
from autopilot.schemas.events.people import Document
from autopilot.schemas.events.planner import RiskClass

BALANCER = "haproxy"
GROUP = "supervisord"
CART = shop.service(
    "cart",
    [],
    targets=[
        TargetRef(driver=GROUP, target="cart", role="stable"),
        TargetRef(driver=GROUP, target="cart-canary", role="canary"),
        TargetRef(driver=BALANCER, target="be_cart"),
    ],
)


def variable(name: str, kind: VariableType, key: str = "", **changes: Any) -> RemedyVariable:
    place = {"driver": BALANCER, "key": key} if key else {}
    return RemedyVariable(**{"name": name, "type": kind, **place, **changes})


def operator(name: str, verb: str, **changes: Any) -> RemedyOperator:
    fields: dict[str, Any] = {
        "name": name,
        "driver": BALANCER,
        "verb": verb,
        "risk_class": RiskClass.LOW,
        "blast_radius_instances": "1",
    }
    return RemedyOperator(**{**fields, **changes})


def remedy(name: str, goal: str, **changes: Any) -> Remedy:
    fields = {"name": name, "summary": name, "goal": goal, "risk_class": RiskClass.LOW}
    return Remedy(**{**fields, **changes})


WEIGHT = variable("weight", VariableType.INT, "percent.a")
RESTARTED = variable("restarted", VariableType.BOOL)
DRAIN = operator(
    "drain",
    "drain",
    parameters={"server": "'a'"},
    precondition="weight > 0",
    effects={"weight": "0"},
    compensation="revert",
)
UNDRAIN = operator(
    "undrain",
    "ready",
    parameters={"server": "'a'"},
    precondition="weight == 0",
    effects={"weight": "100"},
    compensation="revert",
)
RESTART = operator(
    "restart",
    "restart",
    driver=GROUP,
    role="stable",
    cost=2,
    risk_class=RiskClass.MEDIUM,
    precondition="weight == 0",
    effects={"restarted": "true"},
    blast_radius_instances="running",
)
ROLLING = RemedyCatalogue(
    name="rolling",
    variables=[WEIGHT, RESTARTED],
    operators=[UNDRAIN, RESTART, DRAIN],
    remedies=[remedy("restart-drained", "restarted && weight == 100")],
)

GATE = RemedyGate(
    guard_metrics=["http.server.error.count"], canary={"release": "new"}, control={"release": "old"}, after_ms=10_000
)


def split(percent: int) -> RemedyOperator:
    return operator(
        f"split-{percent}",
        "split",
        parameters={"servers": "'new'", "percent": f"'{percent}'"},
        effects={"canary_percent": str(percent)},
        gate_effects={"passed_percent": str(percent)},
        compensation="revert",
        gate=GATE,
    )


CANARY = RemedyCatalogue(
    name="canary",
    variables=[
        variable("canary_percent", VariableType.INT, "percent.new"),
        variable("passed_percent", VariableType.INT, default=0),
    ],
    operators=[split(100), split(5), split(25)],
    constraints=[
        RemedyConstraint(holds="canary_percent <= 5 || passed_percent >= 5", message="no more than 5 % unseen"),
        RemedyConstraint(holds="canary_percent <= 25 || passed_percent >= 25", message="no more than 25 % unless seen"),
    ],
    remedies=[remedy("roll-forward", "passed_percent == 100")],
)

SPARE = RemedyCatalogue(
    name="spare",
    variables=[
        variable("spares", VariableType.INT, "desired", driver=GROUP, role="canary"),
        variable("share", VariableType.INT, "percent.spare"),
        variable("restarted", VariableType.BOOL),
    ],
    operators=[
        operator(
            "scale-out",
            "scale",
            driver=GROUP,
            role="canary",
            parameters={"count": "string(spares + 1)"},
            precondition="spares < 4",
            effects={"spares": "spares + 1"},
            compensation={"verb": "scale", "parameters": {"count": "string(spares)"}},
        ),
        operator(
            "shift",
            "split",
            parameters={"servers": "'spare'", "percent": "'100'"},
            precondition="spares >= 2",
            effects={"share": "100"},
            compensation="revert",
        ),
        operator("restart", "restart", driver=GROUP, role="stable", effects={"restarted": "true"}),
    ],
    constraints=[RemedyConstraint(holds="!restarted || share == 100", message="what serves is not restarted")],
    remedies=[remedy("renew", "restarted")],
)


def documents(catalogue: RemedyCatalogue, cart: Service = CART) -> list[Document]:
    others = [one for one in shop.documents((cart,)) if one.kind != "RemedyCatalogue"]
    return [*others, document(catalogue.model_dump(mode="json"))]


def observed(driver: str, target: str, **state: str) -> shop.Said:
    states = {key.replace("__", "."): value for key, value in state.items()}
    return shop.Said(TargetObserved(driver=driver, target=target, state=states, revision=""), service="cart")


STATES = (
    observed(GROUP, "cart", desired="3", running="3"),
    observed(GROUP, "cart-canary", desired="1", running="1"),
    observed(BALANCER, "be_cart", percent__a="100", percent__new="0", percent__spare="0"),
)

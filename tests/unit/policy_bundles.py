"""Bundles for tests: the shipped ones, and small ones built from rules."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from autopilot.policies.bundle import Param, PolicyBundle, Rule
from autopilot.policies.bundle_file import BundleFile, parse_bundle

ROOT: Final = Path(__file__).parents[2]
SHIPPED: Final = (ROOT / "policies/bundles/default.yaml", ROOT / "examples/shop/policies/shop.yaml")


def shipped(path: Path) -> BundleFile:
    """A shipped bundle."""
    return parse_bundle(path.read_text(encoding="utf-8"), str(path))


def rule(identity: str, effect: str, when: str, **more: Any) -> Rule:
    """A rule that says its id."""
    return Rule.model_validate({"id": identity, "effect": effect, "when": when, "message": identity, **more})


def approval(identity: str, when: str, *, needed: int = 1, group: str = "approver", expires_ms: int = 60_000) -> Rule:
    """A rule that asks for approval."""
    parameters = {"group": group, "needed": needed, "expires_ms": expires_ms}
    return rule(identity, "obligate", when, obligation={"name": "approval", "parameters": parameters})


def bundle(
    *rules: Rule, name: str = "mine", version: str = "1", params: Mapping[str, Param] | None = None
) -> PolicyBundle:
    """A bundle of those rules."""
    return PolicyBundle(
        name=name, version=version, description="d", facts=1, params=dict(params or {}), rules=list(rules)
    )


PERMIT: Final = rule("permit", "permit", "true")

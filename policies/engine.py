"""What bundles mean: deny-overrides over the answers of their conditions, obligations, and the trace.

In this order, over all bundles in force:

1. a built-in rule denies what no bundle can allow: no bundle in force, a halt, a service that the fleet does not know,
   a remedy that nobody has let act yet;
2. a condition that gives an error denies, as `error:RULE`;
3. a `deny` rule that holds denies;
4. without a `permit` rule that holds, in each bundle, it is denied;
5. an `approval` obligation for more people than have approved holds the plan; approvals of two groups deny;
6. otherwise it is allowed, with the obligations of the `obligate` rules that hold.

Several bundles: all must allow, any can deny, and their obligations add up. Rule ids are then `BUNDLE/RULE`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Final

from autopilot.policies.bundle import Effect, PolicyBundle, Rule, Ruling, filled
from autopilot.policies.cel_engine import Answer, CelEngine, Conditions, PolicyEngine
from autopilot.policies.facts import SPECS, FactSet, Value
from autopilot.policies.obligations import APPROVAL, WHEN_REACHED, Per, parameter_of, tolerances_of
from autopilot.schemas.events.policy import Decision, Obligation, RuleOutcome
from autopilot.schemas.identity import digest_of

ERROR: Final = "error"
BUILT_IN: Final = "builtin"


_NOT_TO_ACT: Final = "{plan_remedy} may not act on {service_name} yet (autonomy {remedy_autonomy})"


class DigestMismatchError(ValueError):
    """A decision was made under another bundle, or another engine, than the one it is to be recomputed with."""


@dataclass(frozen=True, slots=True)
class ApprovalNeed:
    """Whose approval is needed, of how many, and how long they have."""

    group: str
    needed: int
    expires_ms: int
    per: Per = Per.PLAN
    """What is approved on its own."""
    when_reached: bool = False
    """Of an approval for each stage or step: whether people are asked as the execution reaches it, not before."""
    tolerances: Mapping[str, int] = field(default_factory=dict)
    """Facts that the approval rests on, and how far each may move."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the bundles say of a fact set. `fired` are the rules that held, in order; `decisive` those that decided."""

    ruling: Ruling
    fired: tuple[RuleOutcome, ...]
    decisive: tuple[str, ...]
    obligations: tuple[Obligation, ...] = ()
    approval: ApprovalNeed | None = None

    @property
    def reason(self) -> str:
        """The messages of the rules that decided, for people."""
        return "; ".join(
            f"{outcome.rule}: {outcome.message}" for outcome in self.fired if outcome.rule in self.decisive
        )


@dataclass(frozen=True)
class CompiledBundle:
    """A bundle with its conditions compiled. `digest` covers its canonical source and the engine."""

    bundle: PolicyBundle
    digest: str
    conditions: Conditions
    params: Mapping[str, Value]

    def answers(self, values: Mapping[str, Value]) -> Sequence[Answer]:
        """One answer for each rule, in order."""
        return self.conditions.evaluate({**values, **self.params})


def bundle_digest(bundle: PolicyBundle, engine: PolicyEngine) -> str:
    """Digest of a bundle's canonical source and of the engine that gives it its meaning."""
    return digest_of(f"{engine.identity}\n{bundle.source}")


def compiled(bundle: PolicyBundle, engine: PolicyEngine) -> CompiledBundle:
    """The bundle, ready to be evaluated. Raises `ConditionError` when a condition does not compile."""
    params = bundle.values()
    types = {name: spec.type for name, spec in SPECS.items()} | {name: type(value) for name, value in params.items()}
    conditions = engine.compile(types, [rule.when for rule in bundle.rules], params)
    return CompiledBundle(bundle, bundle_digest(bundle, engine), conditions, params)


@dataclass(frozen=True)
class PolicySet:
    """The bundles in force, ordered by name. `broken` says why one could not be used, and then all is denied."""

    bundles: tuple[CompiledBundle, ...] = ()
    broken: str = ""

    @cached_property
    def title(self) -> str:
        """`name@version` of each bundle, joined by `+`; empty without one."""
        return "+".join(each.bundle.title for each in self.bundles)

    @cached_property
    def digest(self) -> str:
        """The bundle's digest, or one over the digests of several; empty without one."""
        digests = [each.digest for each in self.bundles] + ([digest_of(self.broken)] if self.broken else [])
        return digests[0] if len(digests) == 1 else digest_of("\n".join(digests)) if digests else ""

    def judge(self, facts: FactSet) -> Verdict:
        """The verdict on a fact set. Total: whatever goes wrong denies, and says what."""
        values = dict(facts.values)
        tally = _Tally()
        for rule, message in self._built_in(values):
            tally.deny(RuleOutcome(rule=f"{BUILT_IN}:{rule}", effect="deny", message=message))
        qualified = len(self.bundles) > 1
        for each in self.bundles:
            tally.count(each, values, f"{each.bundle.name}/" if qualified else "")
        return tally.verdict(values)

    def _built_in(self, values: Mapping[str, Value]) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        if self.broken:
            found.append(("broken-bundle", self.broken))
        elif not self.bundles:
            found.append(("no-bundle", "no policy bundle is in force"))
        if values["halted"]:
            found.append(("halted", f"domain {values['service_domain']} is halted"))
        if not values["service_known"]:
            found.append(("unknown-service", f"the fleet has no service {values['service_name']} in this domain"))
        if values["remedy_autonomy"] in ("observe", "recommend"):
            found.append(("remedy-autonomy", _NOT_TO_ACT.format(**values)))
        return found


class _Tally:
    """The rules that held so far, and what they come to."""

    def __init__(self) -> None:
        self.fired: list[RuleOutcome] = []
        self.denying: list[str] = []
        self.permitting: list[str] = []
        self.obligations: list[tuple[str, Obligation]] = []

    def deny(self, outcome: RuleOutcome) -> None:
        self.fired.append(outcome)
        self.denying.append(outcome.rule)

    def count(self, each: CompiledBundle, values: Mapping[str, Value], prefix: str) -> None:
        """Adds what one bundle answers."""
        permitted = False
        known = {**values, **each.params}
        for rule, answer in zip(each.bundle.rules, each.conditions.evaluate(known), strict=True):
            if isinstance(answer, str):
                self.deny(RuleOutcome(rule=f"{ERROR}:{prefix}{rule.id}", effect=ERROR, message=answer))
            elif answer:
                permitted = permitted or rule.effect is Effect.PERMIT
                self._hold(rule, prefix + rule.id, known)
        if not permitted:
            message = f"no rule of {each.bundle.title} permits this"
            self.deny(RuleOutcome(rule=f"{BUILT_IN}:{prefix}no-permit", effect="deny", message=message))

    def _hold(self, rule: Rule, name: str, values: dict[str, Value]) -> None:
        self.fired.append(_outcome(name, rule.effect, filled(rule.message, values)))
        if rule.effect is Effect.DENY:
            self.denying.append(name)
        elif rule.effect is Effect.PERMIT:
            self.permitting.append(name)
        if rule.obligation is not None:
            parameters = {key: filled(str(text), values) for key, text in sorted(rule.obligation.parameters.items())}
            self.obligations.append((name, Obligation(name=rule.obligation.name, parameters=parameters)))

    def verdict(self, values: Mapping[str, Value]) -> Verdict:
        """What it all comes to."""
        asking = [(name, need) for name, need in self.obligations if need.name == APPROVAL]
        groups = sorted({need.parameters["group"] for _, need in asking})
        if len(groups) > 1:
            message = f"approvals of several groups are asked for at once: {', '.join(groups)}"
            self.deny(RuleOutcome(rule=f"{BUILT_IN}:approval-groups", effect="deny", message=message))
        imposed = tuple(dict.fromkeys(name for name, _ in self.obligations))
        fired = tuple(self.fired)
        if self.denying:
            return Verdict(Ruling.DENY, fired, tuple(self.denying))
        obligations = _unique(obligation for _, obligation in self.obligations)
        approval = _strictest([need for _, need in asking])
        if approval is not None and approval.needed > int(values["approvals_granted"]):
            names = {name for name, _ in asking}
            return Verdict(Ruling.NEEDS_APPROVAL, fired, tuple(n for n in imposed if n in names), obligations, approval)
        return Verdict(Ruling.ALLOW, fired, tuple(self.permitting), obligations, approval)


@lru_cache(maxsize=4_096)
def _outcome(rule: str, effect: str, message: str) -> RuleOutcome:
    """A rule that held. From one decision to the next mostly the same ones do, so each is made once."""
    return RuleOutcome(rule=rule, effect=effect, message=message)


def _unique(obligations: Iterable[Obligation]) -> tuple[Obligation, ...]:
    unique: list[Obligation] = []
    for obligation in obligations:
        if obligation not in unique:
            unique.append(obligation)
    return tuple(unique)


def _strictest(asking: Sequence[Obligation]) -> ApprovalNeed | None:
    """The most people, the shortest time, the least tolerances, the smallest parts, and those as they are reached.

    The last two where one asks for that. None when no approval is asked for.
    """
    if not asking:
        return None
    return ApprovalNeed(
        group=asking[0].parameters["group"],
        needed=max(int(need.parameters["needed"]) for need in asking),
        expires_ms=min(int(need.parameters["expires_ms"]) for need in asking),
        per=max(map(_per, asking), key=list(Per).index),
        when_reached=any(_per(need) is not Per.PLAN and _asked(need) == WHEN_REACHED for need in asking),
        tolerances=_least(tolerances_of(need.parameters.get("tolerances", "")) for need in asking),
    )


def _per(need: Obligation) -> Per:
    return Per(parameter_of(APPROVAL, need.parameters, "per"))


def _asked(need: Obligation) -> str:
    return parameter_of(APPROVAL, need.parameters, "ask")


def _least(stated: Iterable[Mapping[str, int]]) -> dict[str, int]:
    least: dict[str, int] = {}
    for each in stated:
        for name, most in each.items():
            least[name] = min(most, least.get(name, most))
    return dict(sorted(least.items()))


ENGINE: Final[PolicyEngine] = CelEngine()
"""The engine that decides."""


@lru_cache(maxsize=256)
def _compiled_source(source: str) -> CompiledBundle:
    return compiled(PolicyBundle.model_validate_json(source), ENGINE)


def policy_set(sources: Sequence[str]) -> PolicySet:
    """The bundles of those documents (JSON), compiled once for each content. Never raises: a bad one breaks the set."""
    ready: list[CompiledBundle] = []
    broken: list[str] = []
    for source in sources:
        try:
            ready.append(_compiled_source(source))
        except ValueError as error:
            broken.append(f"a policy bundle in force cannot be used: {error}")
    return PolicySet(tuple(sorted(ready, key=lambda each: each.bundle.name)), "; ".join(broken))


def recompute(decision: Decision, bundles: Sequence[PolicyBundle | str]) -> Verdict:
    """The verdict on a recorded decision's facts under the bundles (or their documents) that it names.

    Raises `DigestMismatchError` when they are not those bundles, and `FactError` when its facts break the schema.
    """
    policies = policy_set([bundle if isinstance(bundle, str) else bundle.source for bundle in bundles])
    if policies.digest != decision.bundle_digest:
        raise DigestMismatchError(f"decision was made under {decision.bundle_digest}, not {policies.digest}")
    return policies.judge(FactSet.of_recorded(decision.facts))

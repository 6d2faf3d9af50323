"""What can be said of a bundle before it rules: a static check, and its own tests with the coverage of its rules.

`check` finds what the loader cannot refuse but an author would want to know. `run_tests` judges every inline case on
the baseline facts with the case's changes, and says for each rule, and for each part of its condition, whether some
case makes it hold and some does not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from autopilot.policies.branches import BranchCoverage, branch_coverage
from autopilot.policies.bundle import Case, Effect, ExpectedObligation, PolicyBundle, Rule, placeholders
from autopilot.policies.bundle_file import BundleFile, Problem
from autopilot.policies.cel_engine import names_in
from autopilot.policies.engine import CompiledBundle, PolicySet, Verdict
from autopilot.policies.facts import BASELINE, SPECS, FactSet
from autopilot.policies.obligations import parameter_of
from autopilot.policies.reachability import unreachable
from autopilot.schemas.events.policy import Obligation


class Level(StrEnum):
    """How bad a finding is: an error must be mended before the bundle may rule."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to tell an author."""

    level: Level
    problem: Problem

    def __str__(self) -> str:
        return f"{self.problem} ({self.level})"


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One inline test as it went; `failures` is empty when it passed."""

    case: Case
    verdict: Verdict
    failures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """Whether cases made one rule hold, and whether cases made it not hold."""

    rule: str
    held: int
    did_not: int

    @property
    def complete(self) -> bool:
        """Whether both were seen."""
        return self.held > 0 and self.did_not > 0


@dataclass(frozen=True, slots=True)
class TestReport:
    """All inline tests of a bundle."""

    __test__ = False

    results: tuple[CaseResult, ...]
    coverage: tuple[Coverage, ...]
    branches: tuple[BranchCoverage, ...]

    @property
    def passed(self) -> bool:
        """Whether every case passed."""
        return not any(result.failures for result in self.results)

    @property
    def covered_bp(self) -> int:
        """Share of the two outcomes of every rule that some case showed, in basis points."""
        return _share_bp(self.coverage)

    @property
    def branches_covered_bp(self) -> int:
        """Share of the two outcomes of every branch that some case showed, in basis points."""
        return _share_bp(self.branches)


def _share_bp(coverage: Sequence[Coverage | BranchCoverage]) -> int:
    shown = sum((each.held > 0) + (each.did_not > 0) for each in coverage)
    return 10_000 * shown // (2 * len(coverage))


def check(file: BundleFile) -> list[Finding]:
    """What is doubtful about a bundle that loads, in the order of its rules."""
    bundle = file.bundle
    findings = [_unused(file, name) for name in bundle.params if name not in _used_params(bundle)]
    if not any(rule.effect is Effect.PERMIT for rule in bundle.rules):
        message = "no rule permits anything, so that all is denied: add one with `effect: permit`"
        findings.append(Finding(Level.ERROR, file.problem(("rules",), message)))
    for index, rule in enumerate(bundle.rules):
        findings += _of_rule(file, index, rule)
    findings += _errors_on_baseline(file)
    for found in unreachable(bundle):
        findings.append(Finding(Level.WARNING, file.problem(("rules", found.index, "when"), found.message)))
    return findings


def _used_params(bundle: PolicyBundle) -> set[str]:
    names = {name for rule in bundle.rules for name in names_in(rule.when)}
    names |= {name for rule in bundle.rules for _, text in rule.templates() for name in placeholders(text)}
    return {name.removeprefix("params.") for name in names if name.startswith("params.")}


def _unused(file: BundleFile, name: str) -> Finding:
    return Finding(Level.WARNING, file.problem(("params", name), f"no rule uses `params.{name}`: delete it"))


def _of_rule(file: BundleFile, index: int, rule: Rule) -> list[Finding]:
    findings: list[Finding] = []
    if not any(name in SPECS for name in names_in(rule.when)):
        message = f"the condition of `{rule.id}` looks at no fact: it is the same for every plan"
        findings.append(Finding(Level.WARNING, file.problem(("rules", index, "when"), message)))
    for other in file.bundle.rules[:index]:
        if (other.when, other.effect, other.obligation) == (rule.when, rule.effect, rule.obligation):
            message = f"`{rule.id}` says what `{other.id}` says already: delete one"
            findings.append(Finding(Level.WARNING, file.problem(("rules", index, "when"), message)))
    return findings


def _errors_on_baseline(file: BundleFile) -> list[Finding]:
    """Conditions that err on the calmest of facts, such as by a pattern that is no pattern."""
    answers = file.compiled.answers(BASELINE)
    return [
        Finding(Level.ERROR, file.problem(("rules", index, "when"), f"gives an error on the baseline facts: {answer}"))
        for index, answer in enumerate(answers)
        if isinstance(answer, str)
    ]


def run_tests(ready: CompiledBundle, more: Sequence[Case] = ()) -> TestReport:
    """Judges every inline case of a bundle, and `more` cases from elsewhere. Deterministic, no I/O."""
    bundle = ready.bundle
    cases = [*bundle.tests, *more]
    results: list[CaseResult] = []
    held = {rule.id: 0 for rule in bundle.rules}
    fact_sets = [FactSet.of({**BASELINE, **case.facts}) for case in cases]
    for case, facts in zip(cases, fact_sets, strict=True):
        verdict = PolicySet((ready,)).judge(facts)
        results.append(CaseResult(case, verdict, failures_of(case, verdict)))
        for rule, answer in zip(bundle.rules, ready.answers(facts.values), strict=True):
            held[rule.id] += answer is True
    coverage = tuple(Coverage(rule, count, len(cases) - count) for rule, count in held.items())
    branches = branch_coverage(ready, [facts.values for facts in fact_sets])
    return TestReport(tuple(results), coverage, tuple(branches))


def failures_of(case: Case, verdict: Verdict) -> tuple[str, ...]:
    """What of a verdict a case did not expect; empty when it passed."""
    expect = case.expect
    failures: list[str] = []
    if verdict.ruling is not expect.verdict:
        failures.append(f"verdict is {verdict.ruling}, expected {expect.verdict}: {verdict.reason}")
    failures += _differs("rules", expect.rules, verdict.decisive)
    failures += _obligations_differ(expect.obligations, verdict.obligations)
    return tuple(failures)


def _obligations_differ(expected: Sequence[ExpectedObligation] | None, seen: Sequence[Obligation]) -> list[str]:
    if expected is None:
        return []
    stated = [one for each in expected for one in ([(each, {})] if isinstance(each, str) else each.items())]
    failures = _differs("obligations", [name for name, _ in stated], [each.name for each in seen])
    for name, parameters in stated:
        if parameters and not any(each.name == name and _bears(each, parameters) for each in seen):
            wanted = ", ".join(f"{parameter} {value}" for parameter, value in parameters.items())
            failures.append(f"no obligation `{name}` with {wanted} is imposed")
    return failures


def _bears(obligation: Obligation, parameters: Mapping[str, int | str]) -> bool:
    return all(
        parameter_of(obligation.name, obligation.parameters, name) == str(value) for name, value in parameters.items()
    )


def _differs(what: str, expected: Sequence[str] | None, seen: Sequence[str]) -> list[str]:
    if expected is None or sorted(expected) == sorted(seen):
        return []
    return [f"{what} are {_listed(seen)}, expected {_listed(expected)}"]


def _listed(names: Sequence[str]) -> str:
    return "[" + ", ".join(sorted(names)) + "]"

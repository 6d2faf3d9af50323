"""Policies, per core: live decisions, bulk evaluation, and the same policy in OPA.

`python -m bench.policy [--rows N] [--opa PATH]`. OPA (openpolicyagent.org) is timed when its program is given or found;
it judges the shipped default bundle, translated to Rego by hand below, by `opa bench`. What is live is
measured in processor time of this process, so that a busy machine does not blur it; bulk is wall-clock.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from autopilot.agents.policy import PolicyAgent
from autopilot.agents.policy.holding import PolicyState
from autopilot.policies.bulk import Bitmap, BulkJudge, columnar_rules
from autopilot.policies.bundle import PolicyBundle
from autopilot.policies.bundle_file import parse_bundle
from autopilot.policies.columns import FactTable
from autopilot.policies.engine import PolicySet, policy_set
from autopilot.policies.fact_sets import generated
from autopilot.policies.facts import FactSet
from autopilot.policies.recorded import decisions_in
from autopilot.schemas.codec import Codec
from autopilot.schemas.envelope import Draft, Envelope, Event, Recorded
from autopilot.schemas.events.policy import Decision, PlanAuthorized, PlanDenied
from autopilot.schemas.registry import BundledRegistry
from autopilot.schemas.signing import SigningKey
from autopilot.streams.mint import Mint
from autopilot.streams.trust import SIGNS
from bench.measure import Figure, percentile, print_figures
from bench.policy_world import NOW_US, plans, state_in_force

ROOT: Final = Path(__file__).parents[1]
DEFAULT: Final = ROOT / "policies/bundles/default.yaml"
ROWS: Final = 10_000_000
LIVE: Final = 3_000
COLD: Final = 5_000
REGO: Final = Path(__file__).with_name("policy_default.rego")


def bundle(rules: int | None = None) -> PolicyBundle:
    """The shipped default bundle, or its first so many rules."""
    whole = parse_bundle(DEFAULT.read_text(encoding="utf-8"), str(DEFAULT)).bundle
    return whole if rules is None else whole.model_copy(update={"rules": whole.rules[:rules]})


def live() -> Iterator[Figure]:
    """The agent's handling of a plan, and the signed Avro record of its decision."""
    agent, state = PolicyAgent(), state_in_force(bundle())
    codec = Codec(BundledRegistry())
    mint = Mint(codec, "policy", 1, key=SigningKey.from_bytes("policy", b"p" * 32), signs=SIGNS["policy"])
    rates, times = [], []
    for _ in range(5):
        recorded = list(plans(LIVE))
        started = time.process_time()
        times += [_decided(agent, state, mint, each) for each in recorded]
        rates.append(LIVE / (time.process_time() - started))
    per_s = statistics.median(rates)
    yield Figure("live decision, signed and encoded", per_s, "decisions/s", "8,000", "agent + mint + Avro + Ed25519")
    yield Figure("live decision, p50", percentile(times, 0.5) * 1e6, "us", "", "processor time")
    yield Figure("live decision, p99", percentile(times, 0.99) * 1e6, "us", "1,000", "processor time")


def _decided(agent: PolicyAgent, state: PolicyState, mint: Mint, recorded: Recorded[Any]) -> float:
    started = time.thread_time()
    _, outputs = agent.handle(state, recorded)
    for ordinal, output in enumerate(outputs):
        if isinstance(output, Draft):
            mint.of_cause(output, recorded, ordinal, {}, NOW_US)
    took = time.thread_time() - started
    state.holdings.clear()
    state.ledger.spendings.clear()
    return took


def bulk(rows: int) -> Iterator[Figure]:
    """First-order rulings of a 14-rule bundle: extraction, cold, cached, and after an edit of one rule."""
    fourteen = bundle(14)
    policies = policy_set([fourteen.source])
    table = generated([fourteen], 100_000).repeated(max(1, rows // 100_000))
    by_columns, _ = columnar_rules(bundle())
    yield Figure("rules answered by columns", 100 * len(by_columns) / len(bundle().rules), "%", "80")
    yield from _cold(table)
    store: dict[str, Bitmap] = {}
    judge = BulkJudge(table, store)
    yield Figure("digest of the table", _took(lambda: table.digest), "s", "", f"{table.rows:,} rows, once for a table")
    yield Figure("first evaluation", _took(lambda: judge.rulings(policies)), "s", "", f"{table.rows:,} x 14 rules")
    cached = statistics.median(_took(lambda: judge.rulings(policies).codes) for _ in range(5))
    yield Figure("cached evaluation", table.rows / cached, "decisions/s", "5,000,000", "rulings of every row")
    edited = policy_set([_edited(fourteen).source])
    yield Figure("after an edit of one rule", _took(lambda: judge.differing(policies, edited)), "s", "2 s for 10 M",
                 f"{table.rows:,} rows, flips found")  # fmt: skip


def _edited(old: PolicyBundle) -> PolicyBundle:
    rules = [rule.model_copy(update={"when": "history_attempts > 3"}) if rule.id == "did-not-help" else rule
             for rule in old.rules]  # fmt: skip
    return old.model_copy(update={"rules": rules})


def _cold(table: FactTable) -> Iterator[Figure]:
    """From the bytes of recorded events to rulings."""
    codec, policies = Codec(BundledRegistry()), policy_set([bundle(14).source])
    values = [codec.encode(_event(policies, table, row)) for row in range(COLD)]

    def cold() -> object:
        decisions = list(decisions_in(codec.decode(value) for value in values))
        part = FactTable.of_checked([decision.facts for decision in decisions])
        return BulkJudge(part).rulings(policies)

    yield Figure("cold, extraction included", COLD / _took(cold), "decisions/s", "", "decode, check, columns, rulings")


def _event(policies: PolicySet, table: FactTable, row: int) -> Event[Any]:
    facts = FactSet.of(table.values(row))
    decision = Decision(
        decision_id=f"dec-{row}", plan_id=f"plan-{row}", incident_id="inc", plan_hash="h", bundle=policies.title,
        bundle_digest=policies.digest, rules=list(policies.judge(facts).fired), facts=facts.recorded(),
        facts_digest=facts.digest,
    )  # fmt: skip
    denied = any(rule.effect != "permit" for rule in decision.rules)
    payload: PlanDenied | PlanAuthorized = (
        PlanDenied(decision=decision, reason="r") if denied
        else PlanAuthorized(decision=decision, obligations=[], approvals=[], not_after_us=NOW_US)
    )  # fmt: skip
    envelope = Envelope(
        event_id=f"e{row}", run="live", correlation_id="inc", causation_id="c", cause_topic="t", cause_partition=0,
        cause_offset=row, occurred_at_us=NOW_US, domain="shop", service="checkout", producer="policy",
    )  # fmt: skip
    return Event(envelope, payload)


def _took(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _spent(work: Any) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def engines(opa: str | None) -> Iterator[Figure]:
    """The verdict alone, by our engine and by OPA, on the same facts."""
    table = generated([bundle()], 500)
    fact_sets = [FactSet.of(values) for values in table]
    policies = policy_set([bundle().source])
    ours = statistics.median(_spent(lambda: [policies.judge(facts) for facts in fact_sets]) for _ in range(5))
    yield Figure("verdict with trace, CEL", len(fact_sets) / ours, "decisions/s", "", "the whole default bundle")
    if opa is None:
        yield Figure("verdict, OPA", 0, "decisions/s", "", "no `opa` program was found: not measured")
        return
    per_s, agreed = _opa(opa, table, policies)
    yield Figure("verdict, OPA", per_s, "decisions/s", "", f"opa bench, {agreed} of {table.rows} verdicts agree")


def _opa(opa: str, table: FactTable, policies: PolicySet) -> tuple[float, int]:
    """Decisions a second by `opa bench` over the whole list, and how many verdicts are ours."""
    rows = list(table)
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "input.json"
        given.write_text(json.dumps({"rows": rows}), encoding="utf-8")
        common = ["-d", str(REGO), "-i", str(given), "--format", "json", "data.autopilot.rulings"]
        answered = subprocess.run([opa, "eval", *common], check=True, capture_output=True, text=True)
        benched = subprocess.run([opa, "bench", *common], check=True, capture_output=True, text=True)
    theirs = json.loads(answered.stdout)["result"][0]["expressions"][0]["value"]
    ours = [str(policies.judge(FactSet.of(values)).ruling) for values in rows]
    result = json.loads(benched.stdout)
    ns = result["T"] / result["N"]
    return len(rows) / (ns / 1e9), int(np.sum(np.array(theirs) == np.array(ours)))


def figures(rows: int = ROWS, opa: str | None = None) -> Iterator[Figure]:
    """All of them."""
    yield from live()
    yield from engines(opa or shutil.which("opa"))
    yield from bulk(rows)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the bulk evaluation")
    parser.add_argument("--opa", help="the program of OPA; otherwise that on the path")
    given = parser.parse_args()
    print_figures(f"policy, per core; bulk on {given.rows:,} rows", figures(given.rows, given.opa))


if __name__ == "__main__":
    main()

"""Multi-window multi-burn-rate evaluation (Google, The Site Reliability Workbook, chapter 5).

The burn rate is the share of bad events over a window, divided by the share that the objective allows. An alert fires
when it is at or above the alert's threshold over the long window (it matters) and the short one (it still goes on).
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from autopilot.agents.observer.cells import Ring
from autopilot.agents.observer.indicators import ObjectivePlan
from autopilot.agents.observer.state import ServiceState
from autopilot.schemas.configuration import BurnAlert
from autopilot.schemas.events.observer import BurnWindow

FULL_BP = 10_000
HEAD_START_US = 2_000_000
"""How far the newest sample may lead the last tick, which comes once a second, and still end a window."""
CLEAR_PERCENT = 90
"""A burn rate below this share of the threshold ends an alert."""
ROUNDED_UP = 1.000001e7
"""The ten million of the burn rate, and a little more: the first look may err, but only towards a closer one."""
Z_SQUARED = 4.0
"""Square of the normal quantile of the confidence interval: two standard deviations."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Bad and all events in a window, in thousandths."""

    bad: int
    total: int

    def burn_milli(self, objective_bp: int) -> int:
        """The burn rate in thousandths, 0 without events."""
        return 0 if self.total <= 0 else self.bad * 10_000_000 // (self.total * (FULL_BP - objective_bp))


@dataclass(frozen=True, slots=True)
class AlertView:
    """An alert as its windows stand."""

    alert: BurnAlert
    long: Counted
    short: Counted
    long_milli: int
    short_milli: int

    @property
    def fires(self) -> bool:
        """Whether both windows burn and there are enough events to say so."""
        threshold = self.alert.burn_rate_milli
        enough = self.short.total >= self.alert.min_events * 1000
        return enough and self.short_milli >= threshold and self.long_milli >= threshold

    @property
    def ended(self) -> bool:
        """Whether fresh events show that it burns no longer. Without events in the short window nothing ended."""
        bound = self.alert.burn_rate_milli * CLEAR_PERCENT
        calm = self.short.total > 0 and self.short_milli * 100 < bound
        return calm and (self.short.total >= self.alert.min_events * 1000 or self.long_milli * 100 < bound)

    @property
    def window(self) -> BurnWindow:
        """The view as events carry it."""
        return BurnWindow(
            long_window_ms=self.alert.long_window_ms,
            short_window_ms=self.alert.short_window_ms,
            threshold_milli=self.alert.burn_rate_milli,
            long_burn_milli=self.long_milli,
            short_burn_milli=self.short_milli,
        )


def head_us(service: ServiceState, now_us: int) -> int:
    """The end of the windows: the last tick, or the newest sample when it is a little ahead."""
    newest = int(service.table.newest_us.max(initial=0))
    return max(now_us, min(newest, now_us + HEAD_START_US)) if now_us else newest


def _last_bucket(service: ServiceState, number: int, ring: Ring, head: int) -> int:
    """The last bucket that counts. Good events that are on their way must not pass for bad ones.

    Where good events are counted, buckets wait for them, for two intervals at most: good and all events may come in
    different records.
    """
    last = head // ring.width_us
    plan = service.plan
    if not plan.objectives[number].counts_good:
        return last
    table, patience = service.table, 2 * service.contract.interval_ms * 1000
    all_series, good_series = plan.total_series[number], plan.value_series[number]
    good = int(table.newest_us[good_series].max(initial=0))
    total = int(table.newest_us[all_series].max(initial=0))
    began = int(table.first_seen_us[all_series].min(initial=total))
    if good == 0 and total - began <= patience:
        return began // ring.width_us - 1
    if 0 < total - good <= patience:
        last = min(last, good // ring.width_us, total // ring.width_us - 1)
    return last


def _count(service: ServiceState, number: int, ring: Ring, window_ms: int, head: int) -> Counted:
    last = _last_bucket(service, number, ring, head)
    first = head // ring.width_us - -(-window_ms * 1000 // ring.width_us) + 1
    value, total = service.cells.sums(ring, first, last)
    bad = total - value if service.plan.objectives[number].counts_good else value
    return Counted(min(max(bad, 0), total), total)


def may_fire(service: ServiceState, now_us: int) -> set[int]:
    """Numbers of the objectives of which the short window of some alert burns: the others need no closer look."""
    gate = service.plan.gate
    if gate is None:
        return set()
    cells, bucket = service.cells, head_us(service, now_us) // gate.width_us - gate.back
    cell = gate.offset + bucket % gate.size
    used = (cells.epoch[cell] == bucket) & gate.counted
    value, total = (cells.value[cell] * used).sum(axis=1), (cells.weight[cell] * used).sum(axis=1)
    bad = np.where(gate.counts_good, total - value, value)
    return set(gate.objective[(bad > 0) & (bad * ROUNDED_UP >= total * gate.fires_at)].tolist())


def view(service: ServiceState, number: int, now_us: int) -> list[AlertView]:
    """Every alert of an objective as it stands."""
    plan, head = service.plan.objectives[number], head_us(service, now_us)
    views = []
    for alert, rings in zip(plan.objective.alerts, plan.alerts, strict=True):
        long = _count(service, number, rings.long, alert.long_window_ms, head)
        short = _count(service, number, rings.short, alert.short_window_ms, head)
        objective_bp = plan.objective.objective_bp
        views.append(AlertView(alert, long, short, long.burn_milli(objective_bp), short.burn_milli(objective_bp)))
    return views


def began_us(service: ServiceState, plan: ObjectivePlan, place: int, head: int) -> int:
    """Start of the bucket of the long window from which on the most bad events are beyond what burns at the threshold.

    So a change is estimated by cumulative sums (Page 1954): a bad bucket long before, with good ones after it, is not
    where it began. Nor is what had cleared since, however bad it was: it was another signal's.
    `place` is that of the alert that fired.
    """
    alert, ring = plan.objective.alerts[place], plan.alerts[place].long
    cleared_us = service.memory.cleared_us.get(plan.objective.name, 0)
    last = head // ring.width_us
    first = last - -(-alert.long_window_ms * 1000 // ring.width_us) + 1
    first = max(first, min(cleared_us // ring.width_us + 1, last))
    span = service.cells.span(ring, first, last)
    allowed = alert.burn_rate_milli * (FULL_BP - plan.objective.objective_bp)
    began, beyond, most = last, 0, 0
    rows = list(zip(span.numbers.tolist(), span.values.tolist(), span.weights.tolist(), strict=True))
    for bucket, value, total in reversed(rows):
        bad = min(max(int(total - value if plan.counts_good else value), 0), int(total))
        beyond += bad * 10_000_000 - allowed * int(total)
        if beyond > most:
            began, most = int(bucket), beyond
    return max(began * ring.width_us, cleared_us)


def confidence_bp(seen: AlertView, objective_bp: int, quality_bp: int) -> int:
    """How sure a fired alert is: telemetry quality times how clearly the events speak for it.

    They speak fully when the lower bound of the Wilson score interval (Wilson 1927) of the short window's share of bad
    events reaches the share that the threshold means; below it, in proportion.
    """
    events = seen.short.total / 1000
    if events <= 0:
        return 0
    share = seen.short.bad / seen.short.total
    spread = sqrt(share * (1 - share) / events + Z_SQUARED / (4 * events * events))
    lower = (share + Z_SQUARED / (2 * events) - sqrt(Z_SQUARED) * spread) / (1 + Z_SQUARED / events)
    needed = seen.alert.burn_rate_milli * (FULL_BP - objective_bp) / 10_000_000
    strength = FULL_BP if lower >= needed else max(0, int(FULL_BP * lower / needed))
    return strength * quality_bp // FULL_BP

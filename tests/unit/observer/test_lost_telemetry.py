"""When telemetry stops the observer says that telemetry is lost: never that the service is down."""

from observer.watched import batch, documents, payloads, seconds_of, series, traffic, watching
from scenario import Scenario, given

from autopilot.agents.observer import Observer
from autopilot.agents.observer.quality import assess
from autopilot.schemas.envelope import Output
from autopilot.schemas.events.observer import SignalCleared, SignalKind, SignalRaised, SignalUpdated
from autopilot.schemas.events.people import ConfigurationActivated


def silence(scenario: Scenario, seconds: int) -> list[Output]:
    return [out for _ in range(seconds) for out in scenario.after(seconds=1).outputs]


def test_silence_is_lost_telemetry_and_nothing_about_the_service() -> None:
    scenario = watching()
    seconds_of(scenario, 1, 10)
    assert payloads(silence(scenario, 6), SignalRaised) == []
    (raised,) = payloads(silence(scenario, 20), SignalRaised)
    assert (raised.kind, raised.slo, raised.sli, raised.windows) == (SignalKind.TELEMETRY_LOST, "", "", [])
    assert raised.summary.startswith("telemetry lost")
    assert "down" not in raised.summary
    assert raised.quality.freshness_bp == 0
    (evidence,) = raised.evidence
    assert evidence.first_offset == evidence.last_offset


def test_it_is_cleared_when_telemetry_is_back() -> None:
    scenario = watching()
    seconds_of(scenario, 1, 10)
    (raised,) = payloads(silence(scenario, 20), SignalRaised)
    said = payloads(seconds_of(scenario, 31, 40), SignalCleared, SignalRaised)
    assert [(type(p), p.signal_id) for p in said] == [(SignalCleared, raised.signal_id)]
    assert "is back" in said[0].reason


def test_when_the_clock_itself_stood_still_nobody_was_silent() -> None:
    scenario = watching()
    seconds_of(scenario, 1, 30)
    assert payloads(scenario.after(seconds=7_200).outputs, SignalRaised) == []
    assert assess(scenario.state.services["cart"], scenario.now_us).quality.completeness_bp == 10_000
    assert payloads(silence(scenario, 7), SignalRaised) == []
    assert len(payloads(silence(scenario, 2), SignalRaised)) == 1


def test_a_service_that_never_sent_anything_is_lost_too() -> None:
    scenario = given(Observer(), documents(services=("cart", "mail")), service="cart")
    said = payloads(silence(scenario, 12), SignalRaised)
    assert len(said) == 2
    assert all("none was ever seen" in p.summary and p.evidence == [] for p in said)


def test_samples_that_cannot_be_used_do_not_keep_telemetry_alive() -> None:
    scenario = watching()
    said: list[Output] = []
    for second in range(1, 12):
        said += scenario.when(batch(series("requests", [-1.0], second), series("other", [1.0], second))).outputs
        said += scenario.after(seconds=1).outputs
    (raised,) = payloads(said, SignalRaised)
    assert raised.kind == SignalKind.TELEMETRY_LOST
    assert raised.quality.validity_bp == 0


def test_while_telemetry_is_lost_nothing_burns_and_nothing_recovers() -> None:
    scenario = watching()
    seconds_of(scenario, 1, 10, errors=90)
    (burning,) = scenario.state.services["cart"].memory.signals.values()
    said = silence(scenario, 10)
    for second in range(21, 30):
        said += scenario.when(batch(series("errors", [500.0], second))).outputs
        said += scenario.after(seconds=1).outputs
    found = payloads(said, SignalRaised, SignalUpdated, SignalCleared)
    assert [type(p) for p in found] == [SignalRaised]
    assert found[0].kind == SignalKind.TELEMETRY_LOST
    back = payloads(seconds_of(scenario, 31, 60), SignalCleared)
    assert [p.signal_id for p in back] == [found[0].signal_id, burning.signal_id]


def test_a_service_that_leaves_the_fleet_map_is_lost_no_longer() -> None:
    scenario = given(Observer(), documents(services=("cart", "mail")), service="cart")
    silence(scenario, 12)
    docs = documents(services=("cart",))
    scenario.when(ConfigurationActivated(revision="r", documents=docs, author="a", comment="")).then(SignalCleared)
    assert scenario.drafts()[0].service == "mail"
    assert payloads(scenario.when(traffic(13)).outputs, SignalRaised) == []

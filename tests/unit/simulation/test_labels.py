"""Labels: what counts as detected, as missed, and as crying wolf."""

from autopilot.streams.simulation.course import Alarm, Incident
from autopilot.streams.simulation.labels import Label, score

WHOLE = [(0, 1_000_000)]


def alarm(name: str, at_us: int, service: str = "cart", kind: str = "slo_burn") -> Alarm:
    return Alarm(name, at_us, service, kind, f"{service}-latency", "page", "")


def incident(name: str, *signals: str) -> Incident:
    return Incident(name, "cart", "d", "", "page", 0, 0, list(signals))


def test_the_first_alarm_within_a_window_detects_it_whichever_service_it_is_about() -> None:
    label = Label(100_000, 200_000, "cart", "slow", noticed_us=150_000)
    alarms = [alarm("late", 180_000), alarm("first", 120_000, "front"), alarm("before", 90_000)]
    scored = score([label], alarms, [incident("i", "first")], WHOLE)
    found = scored.detections[0]
    assert found.alarm is not None
    assert found.alarm.signal_id == "first"
    assert (found.delay_ms, found.lead_ms, found.same_service) == (20, 30, True)
    assert (scored.detected, scored.missed, scored.median_delay_ms, scored.median_lead_ms) == (1, 0, 20, 30)


def test_an_alarm_about_another_service_alone_is_said_to_be_one() -> None:
    scored = score([Label(0, 10, "cart")], [alarm("a", 5, "front")], [], WHOLE)
    assert (scored.detected, scored.detections[0].same_service) == (1, False)


def test_a_window_without_an_alarm_is_missed() -> None:
    scored = score([Label(0, 10, "cart")], [alarm("a", 11)], [], WHOLE)
    assert (scored.detected, scored.missed, scored.median_delay_ms) == (0, 1, None)


def test_an_incident_none_of_whose_alarms_is_within_a_window_is_false() -> None:
    alarms = [alarm("in", 5), alarm("out", 50), alarm("lost", 60, kind="telemetry_lost")]
    incidents = [incident("true", "out", "in"), incident("false", "out"), incident("blind", "lost")]
    scored = score([Label(0, 10, "cart")], alarms, incidents, WHOLE)
    assert [each.incident_id for each in scored.false_alarms] == ["false"]
    assert (scored.alarms, scored.strays) == (2, 1)


def test_lost_telemetry_detects_nothing() -> None:
    assert score([Label(0, 10, "cart")], [alarm("a", 5, kind="telemetry_lost")], [], WHOLE).detected == 0


def test_overlapping_windows_cover_their_time_once() -> None:
    labels = [Label(0, 400_000, "a"), Label(200_000, 500_000, "b")]
    assert score(labels, [], [], WHOLE).covered_bp == 5_000
    assert score(labels, [], [], [(400_000, 600_000)]).covered_bp == 5_000

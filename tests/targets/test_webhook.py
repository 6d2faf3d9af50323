"""The webhook driver against a real HTTP service: what is sent, what answers mean, what is never sent twice."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from plans import attempt
from pydantic import ValidationError
from rigs.webhook import ROTATE, SET, act, driver_of
from systems.webhook import ANSWERS_WITHIN_S, BLIND, DEFAULT, KEYED, SECRET, TOKEN, WebhookService, webhook_service
from waiting import eventually

from autopilot.infra.effector.drivers.webhook import WebhookDriver, WebhookSettings
from autopilot.infra.effector.port import (
    ConflictError,
    CrashClass,
    DeniedError,
    MissingError,
    PermanentError,
    TargetError,
    TargetTimeoutError,
    TransientError,
)
from autopilot.schemas.events.effector import StepFailed, StepIndeterminate, StepSucceeded
from autopilot.schemas.events.planner import Action


@pytest.fixture
def service(tmp_path: Path) -> Iterator[WebhookService]:
    with webhook_service(tmp_path) as running:
        yield running


@pytest.fixture
def driver(service: WebhookService) -> WebhookDriver:
    return driver_of(service.entry())


def apply(
    driver: WebhookDriver, action: Action = SET.action, key: str = "key-1", timeout_s: float = ANSWERS_WITHIN_S
) -> bool:
    return driver.apply(action, driver.observe(action.target), key, timeout_s).changed


def test_a_call_says_what_is_wanted_under_its_key(service: WebhookService, driver: WebhookDriver) -> None:
    assert apply(driver)
    assert service.requests == [
        {
            "action": "set_ring",
            "target": KEYED,
            "parameters": {"ring": "canary"},
            "before": {"endpoint": KEYED, "ring": DEFAULT},
            "idempotency_key": "key-1",
        }
    ]
    assert driver.observe(KEYED).state == {"endpoint": KEYED, "ring": "canary"}


def test_only_declared_fields_are_state(driver: WebhookDriver) -> None:
    assert driver.observe(BLIND).state == {"endpoint": BLIND, "ring": DEFAULT}


def test_a_preview_shows_what_an_action_sets_or_that_it_is_called(driver: WebhookDriver) -> None:
    assert list(driver.diff(SET.action, driver.observe(KEYED))) == [("ring", DEFAULT, "canary")]
    assert driver.diff(act("set_ring", KEYED, ring=DEFAULT), driver.observe(KEYED)) == []
    assert list(driver.diff(ROTATE.action, driver.observe(BLIND))) == [("call", "", "rotate(ring=canary)")]


def test_a_new_secret_needs_no_restart(service: WebhookService, driver: WebhookDriver) -> None:
    service.secret_file.write_text("guessed")
    with pytest.raises(DeniedError, match="401"):
        apply(driver)
    service.secret_file.write_text(SECRET)
    assert apply(driver)


def test_a_secret_that_cannot_be_read_denies_before_anything_is_sent(
    service: WebhookService, driver: WebhookDriver
) -> None:
    service.secret_file.unlink()
    with pytest.raises(DeniedError, match="cannot be read"):
        apply(driver)
    assert service.requests == []


def test_what_runs_on_after_the_answer_is_waited_for(service: WebhookService, driver: WebhookDriver) -> None:
    service.mode.background = True
    with ThreadPoolExecutor() as pool:
        applied = pool.submit(apply, driver)
        eventually(lambda: "key-1" in service.runs, ANSWERS_WITHIN_S)
        assert not applied.done()
        service.finished()
        assert applied.result()
    assert service.runs["key-1"]["status"] == "done"


def test_a_call_whose_answer_is_lost_is_looked_up(service: WebhookService, driver: WebhookDriver) -> None:
    service.mode.drop = True
    assert isinstance(attempt(driver, SET.action, ANSWERS_WITHIN_S), StepSucceeded)
    assert len(service.history[KEYED]) == 1


def test_a_lost_answer_of_what_cannot_be_looked_up_is_unknown(service: WebhookService, driver: WebhookDriver) -> None:
    service.mode.drop = True
    assert isinstance(attempt(driver, ROTATE.action, ANSWERS_WITHIN_S), StepIndeterminate)
    assert service.history[BLIND] == ["rotate default -> canary"]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_servers_error_leaves_open_whether_a_blind_call_was_done(
    service: WebhookService, driver: WebhookDriver, status: int
) -> None:
    service.mode.status = status
    result = attempt(driver, ROTATE.action, ANSWERS_WITHIN_S)
    assert isinstance(result, StepIndeterminate)
    assert str(status) in result.reason


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, PermanentError),
        (401, DeniedError),
        (403, DeniedError),
        (404, MissingError),
        (408, TransientError),
        (409, ConflictError),
        (410, MissingError),
        (422, PermanentError),
        (429, TransientError),
        (302, PermanentError),
    ],
)
def test_an_answer_says_what_to_do(
    service: WebhookService, driver: WebhookDriver, status: int, error: type[TargetError]
) -> None:
    service.mode.status = status
    with pytest.raises(error, match=str(status)) as raised:
        apply(driver, ROTATE.action)
    assert type(raised.value) is error


def test_a_blind_call_that_nobody_took_may_be_tried_again(service: WebhookService) -> None:
    before = driver_of(service.entry()).observe(BLIND)
    entry = service.entry("http://127.0.0.1:1")
    with pytest.raises(TransientError, match="cannot be reached"):
        driver_of(entry).apply(ROTATE.action, before, "key-1", ANSWERS_WITHIN_S)


def test_a_blind_call_without_an_answer_is_a_timeout(service: WebhookService, driver: WebhookDriver) -> None:
    service.mode.silent = True
    with pytest.raises(TargetTimeoutError):
        apply(driver, ROTATE.action, timeout_s=0.5)
    assert eventually(lambda: service.history[BLIND], ANSWERS_WITHIN_S) == ["rotate default -> canary"]


def test_a_call_that_still_runs_is_not_sent_again(service: WebhookService, driver: WebhookDriver) -> None:
    service.mode.background = True
    with pytest.raises(TargetTimeoutError, match="still running"):
        apply(driver, timeout_s=5.0)
    service.finished()
    assert not driver.apply(SET.action, driver.observe(KEYED), "key-1", ANSWERS_WITHIN_S).changed
    assert len(service.requests) == 1


def test_what_failed_says_why(service: WebhookService, driver: WebhookDriver) -> None:
    service.runs["key-1"] = {"status": "failed", "reason": "no quorum"}
    with pytest.raises(PermanentError, match="no quorum"):
        apply(driver)
    assert service.history[KEYED] == []


def test_an_undo_is_told_what_to_put_back(service: WebhookService, driver: WebhookDriver) -> None:
    service.rings[KEYED] = "wide"
    before = driver.observe(KEYED)
    apply(driver)
    assert driver.revert(SET.action, before.state, "key-2", ANSWERS_WITHIN_S).changed
    assert (service.rings[KEYED], service.requests[-1]["undoes"]) == ("wide", "set_ring")


def test_what_cannot_be_looked_up_is_never_undone_by_a_call(driver: WebhookDriver) -> None:
    assert driver.reverts == {"set_ring"}
    with pytest.raises(PermanentError, match="rotate"):
        driver.revert(ROTATE.action, {}, "key-2", ANSWERS_WITHIN_S)


def test_no_secret_is_logged_or_shown(
    service: WebhookService, driver: WebhookDriver, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        apply(driver)
        service.mode.status = 403
        with pytest.raises(DeniedError) as raised:
            apply(driver, ROTATE.action)
    told = caplog.text + str(raised.value)
    assert SECRET not in told
    assert TOKEN not in told


def changed(entry: dict[str, Any], endpoint: str, **fields: Any) -> dict[str, Any]:
    settings = {name: value for name, value in entry.items() if name != "driver"}
    settings["endpoints"][endpoint] |= fields
    return settings


@pytest.mark.parametrize(
    ("endpoint", "fields", "message"),
    [
        (KEYED, {"url": "ftp://somewhere"}, "url"),
        (KEYED, {"lookup_url": None}, "called once only where there is a `lookup_url`"),
        (KEYED, {"state_fields": []}, "not among `state_fields`"),
        (BLIND, {"actions": {"set_ring": {}}}, "can be looked up at another endpoint"),
        (BLIND, {"actions": {"rotate": {"undo": "nothing"}}}, "no action of the endpoint"),
        (BLIND, {"actions": {"rotate": {"parameters": {"ring": "("}}}}, "no regular expression"),
        (BLIND, {"actions": {"rotate": {"sets": {"ring": "{rin}"}}}}, "do not fill in"),
        (BLIND, {"actions": {}}, "at least 1"),
        (BLIND, {"secret": "in the open"}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_be_kept_are_refused(
    service: WebhookService, endpoint: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        WebhookSettings.model_validate(changed(service.entry(), endpoint, **fields))


def test_the_class_of_a_verb_is_that_of_its_endpoints(driver: WebhookDriver) -> None:
    assert driver.verbs == {
        "set_ring": CrashClass.KEYED,
        "restore": CrashClass.KEYED,
        "rotate": CrashClass.BLIND,
    }


def test_a_blind_refusal_is_a_failure_and_not_unknown(service: WebhookService, driver: WebhookDriver) -> None:
    service.rings[BLIND] = "wide"
    before = driver.observe(BLIND)
    service.rings[BLIND] = DEFAULT
    with pytest.raises(ConflictError):
        driver.apply(ROTATE.action, before, "key-1", ANSWERS_WITHIN_S)
    service.mode.status = 429
    assert isinstance(attempt(driver, ROTATE.action, ANSWERS_WITHIN_S), StepFailed)

"""The channels file, the filters, and the payloads."""

from pathlib import Path
from typing import Any

import pytest
from notifying import channel, notification

from autopilot.infra.notifier.channels import ChannelsFileError, read_channels
from autopilot.infra.notifier.messages import plain, slack
from autopilot.infra.webhook_signature import is_authentic, read_secret, signed_headers


@pytest.mark.parametrize(
    ("filters", "changes", "taken"),
    [
        ({}, {}, True),
        ({"reasons": ["escalation"]}, {}, True),
        ({"reasons": ["approval"]}, {}, False),
        ({"urgencies": ["page"]}, {"urgency": "notice"}, False),
        ({"audiences": ["payments"]}, {}, True),
        ({"audiences": ["search"]}, {}, False),
        ({"audiences": ["search"]}, {"audience": ""}, True),
        ({"domains": ["shop"]}, {}, True),
        ({"domains": ["bank"]}, {}, False),
        ({"domains": ["bank"]}, {"domain": ""}, True),
    ],
)
def test_a_channel_takes_what_passes_its_filters(filters: dict[str, Any], changes: dict[str, Any], taken: bool) -> None:
    assert channel(**filters).takes(notification(**changes)) is taken


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("channels: 3", "expected a list"),
        ("[", "cannot be read"),
        ("channels:\n- {name: a, kind: mail, url: http://x}", r"channels\[0\].kind"),
        ("channels:\n- {name: a, kind: webhook}", "expected one of `url` and `url_file`"),
        ("channels:\n- {name: a, kind: slack, url: http://x}", "a secret: put it into a `url_file`"),
        ("channels:\n- {name: a, kind: webhook, url: http://x, reasons: [typo]}", "reasons"),
        ("channels:\n- {name: a, kind: webhook, url: http://x, colour: red}", "colour"),
        ("channels:\n- &a {name: a, kind: webhook, url: http://x}\n- *a", r"channels\[1\].name is `a`, which is taken"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "channels.yaml"
    path.write_text(text)
    with pytest.raises(ChannelsFileError, match=message):
        read_channels(path)


def test_what_is_refused_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "channels.yaml"
    path.write_text("channels:\n- {name: a, kind: slack, url: http://hooks/very-secret}")
    with pytest.raises(ChannelsFileError) as refused:
        read_channels(path)
    assert "very-secret" not in str(refused.value)


def test_a_plain_message_has_everything_by_name() -> None:
    message = plain(notification())
    assert message["type"] == "autopilot.notification"
    assert message["notification_id"] == "ntf-1"
    assert (message["domain"], message["service"], message["requested_at_us"]) == ("shop", "checkout", 1_000_000)


def test_a_slack_message_shows_commands_as_code_and_makes_no_links() -> None:
    message = slack(notification())
    header, section, context = message["blocks"]
    assert message["text"] == "No remedy: &lt;checkout&gt; &amp; co"
    assert header["text"] == {"type": "plain_text", "text": "No remedy: <checkout> & co", "emoji": False}
    assert section["text"]["text"] == "It is yours.\n`autopilot timeline inc-1`"
    assert "`inc-1`" in context["elements"][0]["text"]


def test_a_slack_message_keeps_within_the_bounds() -> None:
    header, section, _ = slack(notification(title="t" * 500, text="<" * 2_000))["blocks"]
    assert len(header["text"]["text"]) <= 150
    assert len(section["text"]["text"]) <= 3_000
    assert slack(notification(text=""))["blocks"][1]["text"]["text"] == "-"


# -- signatures ------------------------------------------------------------------------------------------------------


def test_a_signature_is_the_one_of_the_specifications_example(tmp_path: Path) -> None:
    """The example of the Standard Webhooks specification and of its libraries."""
    path = tmp_path / "secret"
    path.write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    headers = signed_headers(read_secret(path), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_another_body_another_key_and_an_old_time_are_not_authentic() -> None:
    headers = signed_headers(b"key", "m", 1_000, b"body")
    assert is_authentic(b"key", headers, b"body", 1_200)
    assert not is_authentic(b"key", headers, b"other", 1_200)
    assert not is_authentic(b"other", headers, b"body", 1_200)
    assert not is_authentic(b"key", headers, b"body", 1_301)
    assert not is_authentic(b"key", {}, b"body", 1_000)
    rotated = {**headers, "webhook-signature": "v1,old " + headers["webhook-signature"]}
    assert is_authentic(b"key", rotated, b"body", 1_000)


@pytest.mark.parametrize("text", ["", "whsec_not base64!"])
def test_a_secret_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secret"
    path.write_text(text)
    with pytest.raises(ValueError, match="secret"):
        read_secret(path)

"""One try to send: what is told of it, and that neither an address nor a token is."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from notifying import channel, notification

from autopilot.infra.notifier.channels import Channel
from autopilot.infra.notifier.sending import Refused, Sent, Unsent, sender_of

ADDRESS = "https://hooks.example/services/T0/very-secret"
Answering = Callable[[httpx.Request], httpx.Response]


def answer_with(monkeypatch: pytest.MonkeyPatch, answering: Answering) -> None:
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda _, request: answering(request))


def secret_channel(folder: Path, address: str = ADDRESS, token: bytes | None = None) -> Channel:
    """A channel whose address and token stand in files."""
    files = {"url_file": folder / "address"}
    files["url_file"].write_text(address)
    if token is not None:
        files["token_file"] = folder / "token"
        files["token_file"].write_bytes(token)
    return channel(url=None, **files)


def test_of_an_answer_that_repeats_the_address_only_the_status_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def echo(request: httpx.Request) -> httpx.Response:
        phrase = {"reason_phrase": request.url.raw_path}
        return httpx.Response(404, text=f"no {request.url.path} here", extensions=phrase)

    answer_with(monkeypatch, echo)
    assert sender_of(secret_channel(tmp_path))(notification()) == Refused("404 Not Found")


@pytest.mark.parametrize(("status", "reason"), [(503, "503 Service Unavailable"), (599, "599")])
def test_a_status_that_passes_is_tried_again(monkeypatch: pytest.MonkeyPatch, status: int, reason: str) -> None:
    answer_with(monkeypatch, lambda _: httpx.Response(status, headers={"retry-after": "7"}))
    assert sender_of(channel())(notification()) == Unsent(reason, 7.0)


def test_what_the_files_hold_is_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []

    def take(request: httpx.Request) -> httpx.Response:
        seen.append((str(request.url), request.headers["authorization"]))
        return httpx.Response(200)

    answer_with(monkeypatch, take)
    assert sender_of(secret_channel(tmp_path, f"{ADDRESS}\n", b"word\n"))(notification()) == Sent()
    assert seen == [(ADDRESS, "Bearer word")]


@pytest.mark.parametrize(
    ("address", "token", "told"),
    [
        ("", None, "address is empty"),
        (" \n", None, "address is empty"),
        ("hooks.example/very-secret", None, "begins with http"),
        (ADDRESS + " very-secret", None, "printable ASCII"),
        (ADDRESS, "very-sécret".encode(), "token: expected printable ASCII"),
        (ADDRESS, b"very-secret\xff", "token: expected printable ASCII"),
        (ADDRESS, b"", "token is empty"),
    ],
)
def test_a_file_that_holds_no_address_or_token_is_told_by_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str, token: bytes | None, told: str
) -> None:
    sent: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200)

    answer_with(monkeypatch, take)
    answer = sender_of(secret_channel(tmp_path, address, token))(notification())
    assert isinstance(answer, Unsent)
    assert told in answer.reason
    assert "very-s" not in answer.reason
    assert sent == []


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UnicodeEncodeError("ascii", "very-secret", 0, 1, "no ASCII"), "UnicodeEncodeError"),
        (RuntimeError(f"at {ADDRESS}"), "RuntimeError"),
        (httpx.RemoteProtocolError(f"illegal: {ADDRESS}"), "RemoteProtocolError"),
        (httpx.ConnectError(f"no way to {ADDRESS}"), "ConnectError: no way to the channel's address"),
    ],
)
def test_whatever_goes_wrong_is_an_answer_without_a_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, told: str
) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    answer_with(monkeypatch, fail)
    assert sender_of(secret_channel(tmp_path))(notification()) == Unsent(told)

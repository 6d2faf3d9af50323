"""`autopilot kpis` of a domain that has no window: it says which there are, and not that nothing was counted."""

from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from autopilot.infra.cli import kpis
from autopilot.infra.cli.main import application

APP = application()


@pytest.mark.parametrize(
    ("known", "arguments", "code", "said"),
    [
        (
            ["shop", "bank"],
            ["--domain", "shp"],
            1,
            "domain is `shp`, of which no window is kept; there are some of bank, shop",
        ),
        ([], ["--domain", "shop"], 0, "no window has ended yet with anything in it"),
        ([], [], 0, "no window has ended yet with anything in it"),
    ],
)
def test_a_domain_without_a_window_is_told(
    known: list[str], arguments: list[str], code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = [SimpleNamespace(domain=name) for name in known]
    monkeypatch.setattr(kpis, "registry_of", lambda _: None)
    monkeypatch.setattr(kpis, "answering_kafka", lambda _: {})
    monkeypatch.setattr(kpis, "read_windows", lambda *_: windows)
    result = CliRunner().invoke(APP, ["kpis", *arguments])
    assert (result.exit_code, result.output.strip()) == (code, said)

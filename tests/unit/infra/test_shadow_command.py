"""`autopilot policy shadow compare`: what has decided nothing has not agreed with anything."""

import json

import pytest
from typer.testing import CliRunner

from autopilot.infra.cli import bundles
from autopilot.infra.cli.main import application


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_bundle_that_has_decided_no_plan_does_not_pass_for_one_that_agrees(
    monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.setattr(bundles, "answering_kafka", lambda _settings: {})
    monkeypatch.setattr(bundles, "registry_of", lambda _settings: None)
    monkeypatch.setattr(bundles, "read", lambda *_, **__: iter(()))
    found = CliRunner().invoke(application("policy"), ["policy", "shadow", "compare", "shop@1.1.0", *options])
    assert found.exit_code == 1
    assert "`shop@1.1.0` has decided nothing beside the live policy" in found.stderr
    if options:
        assert json.loads(found.stdout)["compared"] == 0
    else:
        assert "no plan to compare" in found.stdout

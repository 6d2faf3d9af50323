"""The import contracts of the project catch what they forbid: they are run over small trees that break them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("agents", "infra", "policies", "projections", "schemas", "streams")
AGENTS = ("executor", "observer", "planner", "policy", "verifier")
NOTICES = ("notices", "state", "wording")


def lint(tree: Path, **modules: str) -> tuple[int, str]:
    """Lints a tree of empty rooms in which `modules` (`room__name` -> source) stand, by the project's own contracts."""
    folders = [tree / "autopilot" / room for room in ROOMS]
    folders += [tree / "autopilot" / "agents" / agent for agent in AGENTS]
    folders.append(tree / "autopilot" / "infra" / "notifier")
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text("")
    for name in NOTICES:
        (tree / "autopilot" / "infra" / "notifier" / f"{name}.py").write_text("")
    for name, source in modules.items():
        (tree / "autopilot" / (name.replace("__", "/") + ".py")).write_text(source)
    command = [
        str(Path(sys.executable).parent / "lint-imports"),
        "--no-cache",
        "--config",
        str(ROOT / "pyproject.toml"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "300"}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_tree_that_keeps_them_passes(tmp_path: Path) -> None:
    code, output = lint(
        tmp_path,
        agents__planner__plan="import autopilot.policies, autopilot.schemas\n",
        streams__worker="import confluent_kafka\nimport autopilot.agents\n",
    )
    assert code == 0, output
    assert "0 broken" in output


@pytest.mark.parametrize(
    ("module", "source", "shown"),
    [
        ("schemas__up", "import autopilot.agents\n", "autopilot.schemas.up -> autopilot.agents"),
        ("agents__up", "from autopilot import streams\n", "autopilot.agents.up -> autopilot.streams"),
        ("policies__broker", "import confluent_kafka\n", "autopilot.policies.broker -> confluent_kafka"),
        ("agents__observer__clock", "import time\n", "autopilot.agents.observer.clock -> time"),
        ("agents__dice", "import random\n", "autopilot.agents.dice -> random"),
        ("schemas__trace", "from opentelemetry import trace\n", "autopilot.schemas.trace -> opentelemetry"),
        (
            "agents__planner__peek",
            "import autopilot.agents.executor\n",
            "agents.planner.peek -> autopilot.agents.executor",
        ),
        ("infra__notifier__wording", "import time\n", "autopilot.infra.notifier.wording -> time"),
        ("streams__act", "import supervisor\n", "autopilot.streams.act -> supervisor"),
    ],
)
def test_a_forbidden_import_is_caught_and_named(tmp_path: Path, module: str, source: str, shown: str) -> None:
    code, output = lint(tmp_path, **{module: source})
    assert code == 1, output
    assert "1 broken" in output
    assert shown in output

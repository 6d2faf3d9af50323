"""The folders for plans of an OpenTofu workspace, which may hold secrets: none outlives its use."""

import os
from pathlib import Path
from typing import Any

from autopilot.infra.effector.drivers.opentofu_workspace import Workspace

NO_TOFU: Any = None


def test_what_an_effector_of_the_same_process_id_left_is_removed_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    one, other = Workspace(tmp_path, NO_TOFU), Workspace(tmp_path, NO_TOFU)
    own = tmp_path / ".terraform" / "autopilot"
    with one.scratch() as here, other.scratch() as there:
        left = [own / f"{os.getpid()}-dead", own / "plans-dead"]
        for folder in left:
            folder.mkdir()
            (folder / "plan").write_text("secret")
        (own / "begun.json").write_text("{}")
        one.end()
        assert sorted(own.iterdir()) == sorted([here, there])
    assert list(own.iterdir()) == []

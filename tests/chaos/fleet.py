"""A synthetic fleet whose services are files: cheap enough for hundreds of incidents, real enough to count effects.

A service's state is one JSON file, replaced atomically: its release and the one before. Release `bad` answers half of
its requests with errors. Every effect is appended to a history file, so that what happened can be counted without
asking anyone who took part.
"""

import json
import os
from pathlib import Path


class FileFleet:
    """The services' files under one folder."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder = folder
        self.names = names
        self.history = folder / "history.jsonl"

    def create(self) -> None:
        """Every service on its good release."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.history.touch()
        for name in self.names:
            self.write(name, {"release": "good", "previous_release": "", "desired": "1", "running": "1", "max": "1"})

    def read(self, name: str) -> dict[str, str] | None:
        """A service's state, or None when there is no such service."""
        try:
            state: dict[str, str] = json.loads((self.folder / f"{name}.json").read_text())
        except FileNotFoundError:
            return None
        return state

    def write(self, name: str, state: dict[str, str]) -> None:
        """Replaces a service's state."""
        path = self.folder / f"{name}.json"
        draft = path.with_suffix(f".{os.getpid()}.new")
        draft.write_text(json.dumps(state))
        draft.replace(path)

    def switch(self, name: str, release: str, key: str) -> None:
        """Rolls out a release; `key` says on whose behalf, for the history."""
        state = self.read(name) or {}
        self.write(name, {**state, "release": release, "previous_release": state["release"]})
        with self.history.open("a") as history:
            history.write(json.dumps({"service": name, "release": release, "key": key}) + "\n")

    @property
    def is_any_bad(self) -> bool:
        """Whether the bad release is out anywhere."""
        return any(self.is_bad(name) for name in self.names)

    def is_bad(self, name: str) -> bool:
        """Whether the bad release is out."""
        return (self.read(name) or {}).get("release") == "bad"

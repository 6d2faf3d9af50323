"""The digest of the code that decides, so that a log says which code handled which offsets."""

import hashlib
from functools import cache
from pathlib import Path

import autopilot.agents
import autopilot.policies
import autopilot.schemas
from autopilot.streams import fold

DECIDING = (autopilot.agents, autopilot.policies, autopilot.schemas)


@cache
def code_digest() -> str:
    """SHA-256 over the sources of agents, policies, contracts and the fold, by relative path; as `sha256:HEX`."""
    whole = hashlib.sha256()
    for package in DECIDING:
        root = Path(next(iter(package.__path__)))
        for path in sorted(root.rglob("*.py")):
            whole.update(f"{package.__name__}/{path.relative_to(root).as_posix()}\0".encode())
            whole.update(path.read_bytes())
    whole.update(Path(str(fold.__file__)).read_bytes())
    return "sha256:" + whole.hexdigest()

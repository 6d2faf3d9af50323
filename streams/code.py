"""The digest of the code that decides, so that a log says which code handled which offsets."""

import hashlib
import sys
from functools import cache
from pathlib import Path

import autopilot.agents
import autopilot.policies
import autopilot.schemas
from autopilot.streams import fold, repetition, trust

DECIDING = (autopilot.agents, autopilot.policies, autopilot.schemas)
_AROUND = (fold, repetition, trust)
"""What the runtime decides, and remembers in a snapshot."""


def code_digest(agent: object) -> str:
    """The digest of what decides for `agent`: agents, policies, contracts, the fold with its checks, its own folder."""
    return _digest(type(agent).__module__)


@cache
def _digest(module: str) -> str:
    """SHA-256 over the sources, by relative path; as `sha256:HEX`."""
    whole = hashlib.sha256()
    for package in DECIDING:
        root = Path(next(iter(package.__path__)))
        for path in sorted(root.rglob("*.py")):
            whole.update(f"{package.__name__}/{path.relative_to(root).as_posix()}\0".encode())
            whole.update(path.read_bytes())
    beside = Path(str(sys.modules[module].__file__)).parent
    for source in (*(Path(str(module.__file__)) for module in _AROUND), *sorted(beside.glob("*.py"))):
        whole.update(source.read_bytes())
    return "sha256:" + whole.hexdigest()

"""Who is a person and who is not."""

from typing import Final

AGENTS: Final = frozenset({"observer", "planner", "policy", "executor", "effector", "verifier"})
"""Principals that propose, decide or act: none of them is a person, none may approve, promote or overrule."""

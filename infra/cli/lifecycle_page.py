"""`docs/lifecycles.md`: every transition table of the agents as a diagram, so that pictures cannot drift from code."""

import importlib
import pkgutil
from collections.abc import Iterator

import autopilot.agents
from autopilot.agents.lifecycle import Lifecycle

_INTRODUCTION = """\
# Lifecycles

Made from the transition tables in `agents/` by `autopilot schemas docs`; do not edit by hand.

An arrow is labelled with the events that move a thing from one state to the next. What has no arrow is rejected.
"""


def lifecycles_page() -> str:
    """The whole page, in Markdown, ordered by module and then by place within it."""
    sections = [
        f"## {lifecycle.name.replace('_', ' ').capitalize()}\n\n"
        f"In `{module.removeprefix('autopilot.').replace('.', '/')}.py`.\n\n```mermaid\n{lifecycle.diagram()}```\n"
        for module, lifecycle in lifecycles()
    ]
    return "\n".join([_INTRODUCTION, *sections])


def lifecycles() -> Iterator[tuple[str, Lifecycle[str, str]]]:
    """Module name and table of every lifecycle that an agents' module defines; each once, where it comes first."""
    seen: set[int] = set()
    names = sorted(info.name for info in pkgutil.walk_packages(autopilot.agents.__path__, "autopilot.agents."))
    for name in names:
        for value in vars(importlib.import_module(name)).values():
            if isinstance(value, Lifecycle) and id(value) not in seen:
                seen.add(id(value))
                yield name, value

"""`docs/lifecycles.md`: every transition table of the agents as a diagram, so that pictures cannot drift from code."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType

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
    """Module name and table of every lifecycle that an agents' module defines, each where it is defined."""
    names = sorted(info.name for info in pkgutil.walk_packages(autopilot.agents.__path__, "autopilot.agents."))
    for name in names:
        module = importlib.import_module(name)
        for defined in _assigned(module):
            value = getattr(module, defined, None)
            if isinstance(value, Lifecycle):
                yield name, value


def _assigned(module: ModuleType) -> Iterator[str]:
    """The names that a module gives a value at its top level, in order; what it imports is none of them."""
    for node in ast.parse(inspect.getsource(module)).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        yield from (target.id for target in targets if isinstance(target, ast.Name))

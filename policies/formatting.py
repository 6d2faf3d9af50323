"""One form for every bundle: order of fields, indentation, blank lines. Comments, quotes and block texts stay.

A comment goes with the field that it follows. What is formatted means the same as before, or it is refused.
"""

import io
import re
from collections.abc import Sequence
from typing import Any, Final

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from autopilot.policies.bundle import Case, Expectation, Param, PolicyBundle, Rule, RuleObligation

WIDTH: Final = 4_096
"""Lines are never broken: where to break a text is its author's choice."""
_ITEM: Final = re.compile(r"^  - (id|name|\{)")
_SECTION: Final = re.compile(r"^(params|rules|tests):")


def formatted(text: str) -> str:
    """The canonical form of a bundle's text, which must be YAML. Raises ValueError when that would change it."""
    reader = YAML()
    reader.preserve_quotes = True
    reader.width = WIDTH
    reader.indent(mapping=2, sequence=4, offset=2)
    tree = reader.load(text)
    _order(tree, list(PolicyBundle.model_fields))
    for param in _maps(tree.get("params")):
        _order(param, list(Param.model_fields))
    for rule in _items(tree.get("rules")):
        _order(rule, list(Rule.model_fields))
        _order(rule.get("obligation"), list(RuleObligation.model_fields))
    for case in _items(tree.get("tests")):
        _order(case, list(Case.model_fields))
        _order(case.get("expect"), list(Expectation.model_fields))
    out = io.StringIO()
    reader.dump(tree, out)
    result = _spaced(out.getvalue().splitlines())
    if yaml.safe_load(result) != yaml.safe_load(text):
        raise ValueError("formatting would change what the bundle says")
    return result


def _order(node: Any, fields: Sequence[str]) -> None:
    """Puts the known fields in order; what is in order already is not touched."""
    if not isinstance(node, CommentedMap):
        return
    wanted = sorted(node, key=lambda name: fields.index(name) if name in fields else len(fields))
    if wanted != list(node):
        for name in wanted:
            node.move_to_end(name)


def _maps(node: Any) -> list[Any]:
    return list(node.values()) if isinstance(node, CommentedMap) else []


def _items(node: Any) -> list[Any]:
    return [item for item in node or [] if isinstance(item, CommentedMap)]


def _spaced(lines: Sequence[str]) -> str:
    """A blank line before each section and each rule, none elsewhere but where a comment has one; none doubled."""
    out: list[str] = []
    section = ""
    for line in (line.rstrip() for line in lines):
        found = _SECTION.match(line)
        item = section == "rules" and bool(_ITEM.match(line))
        first = bool(out) and bool(_SECTION.match(out[-1]))
        if (found or (item and not first)) and out and out[-1] and not out[-1].lstrip().startswith("#"):
            out.append("")
        if line or (out and out[-1]):
            out.append(line)
        section = found[1] if found else section
    return "\n".join(out).rstrip("\n") + "\n"

"""The YAML documents of a folder as configuration: each validated with its model, and all checked against each other.

Pure but for reading the files. A finding names the file, the line, the field, the value and what was expected.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from autopilot.agents.planner.checks import faults
from autopilot.infra.remedy_surroundings import faults_around
from autopilot.policies.bundle import DOCUMENT_KINDS
from autopilot.policies.bundle_file import BundleError, Problem, parse_bundle
from autopilot.policies.checks import Level, check, run_tests
from autopilot.schemas.configuration import (
    Configuration,
    Fleet,
    RemedyCatalogue,
    ServiceLevelObjectives,
    Written,
    document,
)
from autopilot.schemas.events.people import Document
from autopilot.schemas.partition import partition_of
from autopilot.schemas.written import NAME_PATTERN, NAME_RULE

SUFFIXES = (".yaml", ".yml")
Loc = Sequence[str | int]


@dataclass(frozen=True)
class Finding:
    """Something that stands in the way. `line` counts from 1; 0 when the file as a whole is meant."""

    file: str
    line: int
    field: str
    value: str
    expected: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        if not self.field:
            return f"{where}: {self.expected}"
        return f"{where}: `{self.field}` is {self.value}, expected {self.expected}"


@dataclass(frozen=True)
class Loaded:
    """A document that its model accepts, and where it came from."""

    file: str
    model: Written
    node: yaml.Node = field(repr=False)
    content: Any = field(default=None, repr=False)
    """As it was written, with nothing added."""

    @property
    def kind(self) -> str:
        """Its kind."""
        return str(getattr(self.model, "kind", ""))

    @property
    def name(self) -> str:
        """Its name within its kind."""
        return str(getattr(self.model, "name", ""))

    def document(self) -> Document:
        """Its form in the log."""
        return document(self.model.model_dump(mode="json"))

    def finding(self, loc: Loc, value: object, expected: str) -> Finding:
        """A finding at the place that `loc` leads to."""
        return Finding(self.file, line_of(self.node, loc), dotted(loc), repr(value), expected)


def read_folder(folder: Path) -> tuple[list[Loaded], list[Finding]]:
    """Every document of every YAML file under `folder`, and what is wrong with those that are not here.

    A file may hold several documents. Files whose name begins with a dot are left out.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES and not path.name.startswith("."))
    read = [read_file(path, str(path.relative_to(folder))) for path in files]
    loaded = [item for found, _ in read for item in found]
    findings = [finding for _, found in read for finding in found]
    if not files:
        findings.append(Finding(str(folder), 0, "", "", f"no {' or '.join(SUFFIXES)} file is in this folder"))
    return loaded, findings


def read_file(path: Path, name: str) -> tuple[list[Loaded], list[Finding]]:
    """As `read_folder`, for one file. `name` is how findings name it."""
    outcomes = list(_of_file(path, name))
    loaded = [one for one in outcomes if isinstance(one, Loaded)]
    return loaded, [one for one in outcomes if isinstance(one, Finding)]


def line_of(node: yaml.Node, loc: Loc) -> int:
    """The line of the part of a YAML document that `loc` leads to, or of the nearest part around it."""
    for step in loc:
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next((value for key, value in node.value if key.value == str(step)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            found = node.value[step]
        if found is not None:
            node = found
    line: int = node.start_mark.line
    return line + 1


def dotted(loc: Loc) -> str:
    """A place as people write it: `services.0.domain`."""
    return ".".join(str(step) for step in loc)


def _of_file(path: Path, name: str) -> Iterator[Loaded | Finding]:
    text = path.read_text(encoding="utf-8")
    try:
        nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
        contents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        yield Finding(name, mark.line + 1 if mark else 0, "", "", f"not YAML: {getattr(error, 'problem', error)}")
        return
    for node, content in zip(nodes, contents, strict=True):
        if content is not None:
            yield from _of_document(name, node, content, text if len(nodes) == 1 else None)


def _of_document(name: str, node: yaml.Node, content: Any, text: str | None) -> Iterator[Loaded | Finding]:
    kind = content.get("kind") if isinstance(content, dict) else None
    model = DOCUMENT_KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        yield Finding(name, line_of(node, ["kind"]), "kind", repr(kind), f"one of {', '.join(DOCUMENT_KINDS)}")
        return
    if kind == "PolicyBundle":
        problems = _bundle_problems(text if text is not None else yaml.serialize(node), name)
        yield from (Finding(p.file, p.line if text is not None else 0, "", "", p.message) for p in problems)
        if problems:
            return
    try:
        yield Loaded(name, model.model_validate(content), node, content)
    except ValidationError as error:
        yield from _faults(name, node, content, error)


def _faults(name: str, node: yaml.Node, content: Any, error: ValidationError) -> Iterator[Finding]:
    """What is wrong with a document, one finding for each place: what may stand there is said in one of them."""
    wanted: dict[tuple[str, str], tuple[int, list[str]]] = {}
    for detail in error.errors(include_url=False):
        missing = detail["type"] == "missing"
        loc = written_place(content, detail["loc"], missing=missing)
        value = "missing" if missing else repr(detail["input"])[:200]
        _, expected = wanted.setdefault((dotted(loc), value), (line_of(node, loc), []))
        expected.append(_wanted(detail["type"], detail["msg"]))
    for (place, value), (line, expected) in wanted.items():
        if any(other.startswith(f"{place}.") for other, _ in wanted):
            continue  # what is wrong within it is said already
        yield Finding(name, line, place, value, " or ".join(dict.fromkeys(expected)))


def written_place(content: Any, loc: Sequence[int | str], *, missing: bool) -> list[int | str]:
    """The steps of `loc` that lead through what was written, without those by which alternatives are told apart.

    The last one may name what is `missing` there.
    """
    place: list[int | str] = []
    for at, step in enumerate(loc):
        if isinstance(content, dict) and step in content:
            content = content[step]
        elif isinstance(content, list) and isinstance(step, int):
            content = content[step] if step < len(content) else None
        elif not (missing and isinstance(content, dict) and at == len(loc) - 1):
            continue  # the name of an alternative, such as a model's
        place.append(step)
    return place


def _wanted(fault: str, message: str) -> str:
    """What was expected, in words that follow `expected`."""
    if fault in _WANTED:
        return _WANTED[fault]
    if fault == "string_pattern_mismatch" and NAME_PATTERN in message:
        return NAME_RULE
    return message.removeprefix("Input should be ").removeprefix("Value error, ")


_WANTED = {
    "missing": "a value: this field is required",
    "extra_forbidden": "nothing: there is no such field here",
    "model_type": "a mapping of fields",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
}


def _bundle_problems(text: str, name: str) -> list[Problem]:
    try:
        file = parse_bundle(text, name)
    except BundleError as error:
        return list(error.problems)
    problems = [finding.problem for finding in check(file) if finding.level is Level.ERROR]
    for index, result in enumerate(run_tests(file.compiled).results):
        problems += [
            file.problem(("tests", index), f"test `{result.case.name}`: {failure}") for failure in result.failures
        ]
    return problems


# -- checks of documents against each other ----------------------------------------------------------------------------


def check_together(
    loaded: Sequence[Loaded], in_force: Configuration, partitions: int, whole: bool = True
) -> list[Finding]:
    """What is wrong with the documents as a whole, given the configuration in force, which they would join.

    Not `whole` means that some documents could not be read: a name that is not known may be theirs and is no finding.
    """
    around = _Around(in_force.with_activated(item.document() for item in loaded), in_force, partitions, whole)
    findings = _duplicates(loaded)
    for item in loaded:
        findings += _CHECKS.get(item.kind, _nothing)(item, around)
    return findings


@dataclass(frozen=True)
class _Around:
    """What documents are checked against."""

    after: Configuration
    in_force: Configuration
    partitions: int
    whole: bool

    def named(self, item: Loaded, loc: Loc, name: str, known: Iterable[str]) -> list[Finding]:
        """A finding when `name`, which stands at `loc`, is none of the known ones."""
        names = sorted(known)
        if name in names or not self.whole:
            return []
        return [item.finding(loc, name, f"one of {', '.join(names) or 'nothing: there is none'}")]


Check = Callable[[Loaded, _Around], list[Finding]]


def _nothing(_item: Loaded, _around: _Around) -> list[Finding]:
    return []


def _duplicates(loaded: Sequence[Loaded]) -> list[Finding]:
    first: dict[tuple[str, str], str] = {}
    findings = []
    for item in loaded:
        other = first.setdefault((item.kind, item.name), item.file)
        if other is not item.file:
            findings.append(item.finding(["name"], item.name, f"a name that no other {item.kind} has: {other} has it"))
    return findings


def _check_fleet(item: Loaded, around: _Around) -> list[Finding]:
    assert isinstance(item.model, Fleet)
    fleet, after, partitions = item.model, around.after, around.partitions
    domains = {domain.name for each in after.fleets() for domain in each.domains}
    services = {service.name for each in after.fleets() for service in each.services}
    findings = _twice(item, "services", [service.name for service in fleet.services])
    findings += _twice(item, "domains", [domain.name for domain in fleet.domains])
    for i, service in enumerate(fleet.services):
        findings += around.named(item, ["services", i, "domain"], service.domain, domains)
        for j, needed in enumerate(service.depends_on):
            findings += around.named(item, ["services", i, "depends_on", j], needed, services)
    before = _places(around.in_force, partitions)
    for i, (name, place) in enumerate(_places_of(fleet, partitions).items()):
        pinned = fleet.domains[i].partition
        if pinned is not None and pinned >= partitions:
            findings.append(item.finding(["domains", i, "partition"], pinned, f"below {partitions}"))
        elif before.get(name, place) != place:
            expected = f"{before[name]}: a domain's history stays in its partition"
            findings.append(item.finding(["domains", i, "partition"], place, expected))
    return findings


def _check_objectives(item: Loaded, around: _Around) -> list[Finding]:
    assert isinstance(item.model, ServiceLevelObjectives)
    services = {service.name for each in around.after.fleets() for service in each.services}
    findings = _twice(item, "objectives", [objective.name for objective in item.model.objectives])
    for i, objective in enumerate(item.model.objectives):
        findings += around.named(item, ["objectives", i, "service"], objective.service, services)
        indicator = objective.indicator
        if indicator.type == "ratio" and (indicator.bad is None) == (indicator.good is None):
            expected = "exactly one of `bad` and `good`"
            findings.append(item.finding(["objectives", i, "indicator"], "a ratio", expected))
        if indicator.type == "threshold" and indicator.bad_above is None and indicator.bad_below is None:
            expected = "at least one of `bad_above` and `bad_below`"
            findings.append(item.finding(["objectives", i, "indicator"], "a threshold", expected))
        for j, alert in enumerate(objective.alerts):
            if alert.short_window_ms > alert.long_window_ms:
                place: Loc = ["objectives", i, "alerts", j, "short_window_ms"]
                findings.append(item.finding(place, alert.short_window_ms, f"at most {alert.long_window_ms}"))
    return findings


def _check_remedies(item: Loaded, around: _Around) -> list[Finding]:
    assert isinstance(item.model, RemedyCatalogue)
    found = [*faults(item.model), *faults_around(item.model, item.content, around.after.fleets())]
    return [item.finding(fault.loc, fault.value, fault.expected) for fault in found]


_CHECKS: Mapping[str, Check] = {
    "Fleet": _check_fleet,
    "ServiceLevelObjectives": _check_objectives,
    "RemedyCatalogue": _check_remedies,
}


def _twice(item: Loaded, part: str, names: Sequence[str]) -> list[Finding]:
    return [
        item.finding([part, i, "name"], name, "a name that is used once")
        for i, name in enumerate(names)
        if name in names[:i]
    ]


def _places(configuration: Configuration, partitions: int) -> dict[str, int]:
    places: dict[str, int] = {}
    for fleet in configuration.fleets():
        places |= _places_of(fleet, partitions)
    return places


def _places_of(fleet: Fleet, partitions: int) -> dict[str, int]:
    pins = {domain.name: domain.partition for domain in fleet.domains if domain.partition is not None}
    return {domain.name: partition_of(domain.name, partitions, pins) for domain in fleet.domains}

"""FULL_TRANSITIVE compatibility: every schema reads what every released schema wrote, and the other way round.

Follows the schema resolution of the Avro 1.12 specification, for all data that a writer schema admits: a union of the
writer is readable when each of its branches is. It is stricter in two places. `bytes` do not become a `string`, as
they need not be UTF-8; and a logical type must stay, as the number would mean something else.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from autopilot.schemas.avro_schema import Schema

_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_PROMOTIONS = {
    "int": frozenset({"long", "float", "double"}),
    "long": frozenset({"float", "double"}),
    "float": frozenset({"double"}),
    "string": frozenset({"bytes"}),
}
"""Writer's primitive -> what else it may be read as."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One way in which the current schemas break with a release, and what to do about it."""

    release: str
    event_type: str
    path: str
    problem: str
    advice: str

    def __str__(self) -> str:
        place = f"{self.event_type}.{self.path}" if self.path else self.event_type
        return f"{place}: {self.problem} (release {self.release}); {self.advice}"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a reader cannot resolve a writer's data, at a path such as `steps[].action`."""

    path: str
    problem: str
    advice: str


def check(current: Mapping[str, Schema], releases: Mapping[str, Mapping[str, Schema]]) -> list[Finding]:
    """Every finding of `current` (event type -> schema) against every release (version -> event type -> schema)."""
    found: list[Finding] = []
    for release, released in releases.items():
        for event_type, old in released.items():
            new = current.get(event_type)
            if new is None:
                obstacles = [
                    Obstacle("", "the event type is gone", "keep its model: the log holds such events for ever")
                ]
            else:
                obstacles = full_obstacles(new, old)
            found += [Finding(release, event_type, o.path, o.problem, o.advice) for o in obstacles]
    return found


def full_obstacles(new: Schema, old: Schema) -> list[Obstacle]:
    """What stands between two schemas in either direction; each place and problem once."""
    backward = obstacles(reader=new, writer=old, reader_is_new=True)
    forward = obstacles(reader=old, writer=new, reader_is_new=False)
    return list(dict.fromkeys([*backward, *forward]))


def obstacles(reader: Any, writer: Any, *, reader_is_new: bool = True) -> list[Obstacle]:
    """Why data of `writer` cannot be read with `reader`; empty when all of it can.

    `reader_is_new` says which of the two is being changed, so that the advice is given for that one.
    """
    sides = (_Side.of(reader), _Side.of(writer))
    return list(_Resolution(*sides, reader_is_new).between(sides[0].root, sides[1].root, ""))


@dataclass(slots=True)
class _Side:
    """One schema with full names: named types are looked up in `named`, references to them are their full names."""

    root: Any = None
    named: dict[str, Schema] = field(default_factory=dict)

    @classmethod
    def of(cls, schema: Any) -> "_Side":
        side = cls()
        side.root = side._qualified(schema, "")
        return side

    def at(self, node: Any) -> Any:
        """The definition behind a reference; other nodes as they are."""
        return self.named.get(node, node) if isinstance(node, str) else node

    def _qualified(self, node: Any, namespace: str) -> Any:
        if isinstance(node, str):
            return node if node in _PRIMITIVES else _full(node, namespace)
        if isinstance(node, list):
            return [self._qualified(branch, namespace) for branch in node]
        kind = node["type"]
        if kind in ("record", "error", "enum", "fixed"):
            return self._define(node, namespace)
        if kind in ("array", "map"):
            inner = "items" if kind == "array" else "values"
            return {"type": kind, inner: self._qualified(node[inner], namespace)}
        if "logicalType" in node:
            return {"type": kind, "logicalType": node["logicalType"]}
        return self._qualified(kind, namespace)

    def _define(self, node: Schema, namespace: str) -> str:
        name = _full(node["name"], node.get("namespace", namespace))
        inside = name.rpartition(".")[0]
        definition = self.named[name] = {**node, "name": name}
        definition["aliases"] = [_full(alias, inside) for alias in node.get("aliases", ())]
        if "fields" in node:
            definition["fields"] = [{**f, "type": self._qualified(f["type"], inside)} for f in node["fields"]]
        return name


def _full(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _kind(node: Any) -> str:
    if isinstance(node, list):
        return "union"
    return node if isinstance(node, str) else str(node["type"])


def _shown(node: Any) -> str:
    if isinstance(node, list):
        return "union of " + ", ".join(_shown(branch) for branch in node)
    if isinstance(node, dict):
        return str(node.get("name") or node.get("logicalType") or node["type"])
    return str(node)


@dataclass(slots=True)
class _Resolution:
    """Schema resolution between two sides. Recursive types are compared once."""

    reader: _Side
    writer: _Side
    reader_is_new: bool
    compared: set[tuple[str, str]] = field(default_factory=set)

    def between(self, read: Any, written: Any, path: str) -> Iterator[Obstacle]:
        read, written = self.reader.at(read), self.writer.at(written)
        if isinstance(written, list):
            for branch in written:
                yield from self.between(read, branch, path)
        elif isinstance(read, list):
            yield from self._into_union(read, written, path)
        elif _kind(read) != _kind(written):
            if _kind(read) not in _PROMOTIONS.get(_kind(written), ()):
                yield self._changed(read, written, path)
        else:
            yield from self._same_kind(read, written, path)

    def _into_union(self, read: list[Any], written: Any, path: str) -> Iterator[Obstacle]:
        attempts = [list(self._attempt(branch, written, path)) for branch in read]
        if all(attempts):
            alike = [a for branch, a in zip(read, attempts, strict=True) if self._alike(branch, written)]
            yield from alike[0] if alike else [self._changed(read, written, path)]

    def _attempt(self, branch: Any, written: Any, path: str) -> Iterator[Obstacle]:
        """As `between`, forgetting what it compared: a failed branch must fail again elsewhere."""
        return _Resolution(self.reader, self.writer, self.reader_is_new, set(self.compared)).between(
            branch, written, path
        )

    def _alike(self, branch: Any, written: Any) -> bool:
        branch = self.reader.at(branch)
        return _kind(branch) == _kind(written) and (_kind(branch) in ("array", "map") or _names_match(branch, written))

    def _same_kind(self, read: Any, written: Any, path: str) -> Iterator[Obstacle]:
        kind = _kind(read)
        if kind == "array":
            yield from self.between(read["items"], written["items"], path + "[]")
        elif kind == "map":
            yield from self.between(read["values"], written["values"], path + "{}")
        elif kind in ("record", "error", "enum", "fixed"):
            yield from self._named(kind, read, written, path)
        elif _logical(read) != _logical(written):
            yield self._changed(read, written, path)

    def _named(self, kind: str, read: Schema, written: Schema, path: str) -> Iterator[Obstacle]:
        if not _names_match(read, written):
            yield self._changed(read, written, path)
        elif kind == "enum":
            yield from self._enum(read, written, path)
        elif kind == "fixed":
            if read["size"] != written["size"] or _logical(read) != _logical(written):
                yield self._changed(read, written, path)
        elif (read["name"], written["name"]) not in self.compared:
            self.compared.add((read["name"], written["name"]))
            yield from self._record(read, written, path)

    def _enum(self, read: Schema, written: Schema, path: str) -> Iterator[Obstacle]:
        unknown = [symbol for symbol in written["symbols"] if symbol not in read["symbols"]]
        if unknown and "default" not in read:
            shown = ", ".join(f"`{symbol}`" for symbol in unknown)
            if self.reader_is_new:
                yield Obstacle(path, f"enum lost {shown}, which recorded events may bear", "put it back")
            else:
                yield Obstacle(path, f"enum gained {shown}, which released readers refuse", "use a string instead")

    def _record(self, read: Schema, written: Schema, path: str) -> Iterator[Obstacle]:
        fields = {f["name"]: f for f in written["fields"]}
        for wanted in read["fields"]:
            here = f"{path}.{wanted['name']}" if path else wanted["name"]
            match = next((fields[n] for n in (wanted["name"], *wanted.get("aliases", ())) if n in fields), None)
            if match is not None:
                yield from self.between(wanted["type"], match["type"], here)
            elif "default" not in wanted:
                yield self._absent(here)

    def _absent(self, path: str) -> Obstacle:
        if self.reader_is_new:
            return Obstacle(path, "field added without a default", "give it a default that is true of recorded events")
        return Obstacle(path, "field removed, and the release had no default for it", "put it back")

    def _changed(self, read: Any, written: Any, path: str) -> Obstacle:
        new, old = (read, written) if self.reader_is_new else (written, read)
        return Obstacle(
            path,
            f"type changed from {_shown(old)} to {_shown(new)}",
            "keep the type, and add a field of another name with a default",
        )


def _logical(node: Any) -> str | None:
    return node.get("logicalType") if isinstance(node, dict) else None


def _names_match(read: Any, written: Any) -> bool:
    """Whether named types resolve: equal unqualified names, or an alias of the reader. True for unnamed types."""
    if not (isinstance(read, dict) and isinstance(written, dict) and "name" in read and "name" in written):
        return True
    return _short(read["name"]) == _short(written["name"]) or written["name"] in read["aliases"]


def _short(name: str) -> str:
    return name.rpartition(".")[2]

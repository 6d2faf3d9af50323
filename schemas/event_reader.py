"""Reads events: what fastavro and pydantic make of the same bytes, in about 0.6 of the time, a decision in a quarter.

The reader of an event type is a function that is written out of its model, as its writer is out of its schema: one
statement after another, no call for each field, and the model's instance is made of the fields as they are. It checks
what the model asks for, and gives up on whatever it does not know for sure: bytes that end too early or too late, a
value out of its bounds, an array in several blocks. Those are for the slow reader, which says what is wrong with them,
if anything is; so there is one place that words errors, and nothing is read here that it would refuse.

A decision bears every fact that it saw, and most of them are those of the decision before. A record that stands where
the same one stood last is known by its bytes, and shared.

Avro 1.12, binary encoding: zig-zag variable-length numbers, lengths before texts, arrays and maps as one block.
"""

import struct
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Final, Union, get_args, get_origin

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from autopilot.schemas.contract import Contract, Payload
from autopilot.schemas.envelope import Envelope, Event
from autopilot.schemas.event_writer import KEPT

Read = Callable[[bytes, int], Event[Payload]]
"""Gives the event whose Avro record stands in these bytes from there to their end. Raises one of `GIVEN_UP`."""


class UnusualError(ValueError):
    """These bytes are for the slow reader."""


GIVEN_UP: Final = (UnusualError, LookupError, OverflowError, UnicodeDecodeError, struct.error)
_MOST_KEPT: Final = 256
_LONGEST_KEPT: Final = 256
"""Places of a list for which the last record is kept, and the longest one that is, in bytes."""
_WIDEST: Final = 63
"""The shift of a number's tenth and last byte. Without an end, a number as long as a record would take minutes."""
_LANE, _MOST_LANES = 8, 1_024
"""Bytes of a time, whose variable-length number has as many from 1971 to 2040; and the most that are taken together."""


@cache
def event_reader(model: type[Payload]) -> Read:
    """The reader of an event type, made once in a process. Raises TypeError for a model that it cannot do."""
    source = _Source()
    envelope, payload = source.instance(Envelope), source.instance(model)
    source.line("if at != len(data):")
    source.line("    raise UnusualError")
    source.line(f"return Event({envelope}, {payload})")
    read: Read = source.compiled(model.event_type())
    return read


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length number before its zig-zag is undone, and where it ends."""
    number = shift = 0
    while (byte := data[at]) > 127:
        number |= (byte & 127) << shift
        shift += 7
        at += 1
        if shift > _WIDEST:
            raise UnusualError
    number |= byte << shift
    if number >> 64:
        raise UnusualError
    return number, at + 1


def _extent(data: bytes, at: int) -> tuple[int, int]:
    """Where the text begins whose length stands there, and where it ends."""
    number, begin = _number(data, at)
    end = begin + (number >> 1)
    if number & 1 or end > len(data):
        raise UnusualError
    return begin, end


@cache
def _lanes(mask: int, count: int) -> int:
    """So many times the same 64 bits."""
    return int.from_bytes(mask.to_bytes(_LANE, "little") * count, "little")


def _longs(data: bytes, at: int, count: int) -> tuple[list[int], int]:
    """So many numbers, and where they end. Those of a column of times are taken together, as one large number."""
    end = at + _LANE * count
    if count <= _MOST_LANES and end <= len(data):
        lanes = int.from_bytes(data[at:end], "little")
        if lanes & _lanes(0x8080808080808081, count) == _lanes(0x0080808080808080, count):  # none ends early, or is odd
            lanes = lanes & _lanes(0x007F007F007F007F, count) | (lanes & _lanes(0x7F007F007F007F00, count)) >> 1
            lanes = lanes & _lanes(0x00003FFF00003FFF, count) | (lanes & _lanes(0x3FFF00003FFF0000, count)) >> 2
            lanes = lanes & _lanes(0x000000000FFFFFFF, count) | (lanes & _lanes(0x0FFFFFFF00000000, count)) >> 4
            return list(struct.unpack(f"<{count}Q", (lanes >> 1).to_bytes(_LANE * count, "little"))), end
    numbers = []
    for _ in range(count):
        number, at = _number(data, at)
        numbers.append((number >> 1) ^ -(number & 1))
    return numbers, at


class _Source:
    """The lines of the function that reads an event type, and the names that it uses."""

    def __init__(self) -> None:
        self._lines = ["def read(data, at):"]
        self._depth = 1
        self._used: dict[str, Any] = dict(_NAMES)
        self._count = 0

    def line(self, text: str) -> None:
        self._lines.append("    " * self._depth + text)

    def instance(self, model: type[Contract]) -> str:
        """Reads a contract, and gives the name of the instance."""
        decorators = model.__pydantic_decorators__
        if decorators.field_validators or decorators.model_validators or decorators.validators:
            raise TypeError(f"`{model.__name__}` has validators; let pydantic read it")
        fields = [
            f"{name!r}: {self._value(info.annotation, info.metadata)}" for name, info in model.model_fields.items()
        ]
        made, kind = self._new(), self._use(model)
        self.line(f"{made} = new({kind})")
        self.line(f"put({made}, '__dict__', {{{', '.join(fields)}}})")
        self.line(f"put({made}, '__pydantic_fields_set__', {self._use(set(model.model_fields))})")
        self.line(f"put({made}, '__pydantic_extra__', None)")
        self.line(f"put({made}, '__pydantic_private__', None)")
        return made

    def compiled(self, event_type: str) -> Any:
        """The function."""
        exec(compile("\n".join(self._lines), f"<reader of {event_type}>", "exec"), self._used)
        return self._used["read"]

    @contextmanager
    def _block(self, head: str) -> Iterator[None]:
        """What is added meanwhile belongs to the statement `head`."""
        self.line(head)
        self._depth += 1
        yield
        self._depth -= 1

    def _new(self) -> str:
        self._count += 1
        return f"v{self._count}"

    def _use(self, value: Any) -> str:
        """The name under which the function finds a value."""
        name = f"u{len(self._used)}"
        self._used[name] = value
        return name

    def _value(self, annotation: Any, bounds: list[Any]) -> str:
        """Reads a value, and gives the name of it."""
        origin, args = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            more = [one for said in args[1:] for one in (said.metadata if isinstance(said, FieldInfo) else [said])]
            return self._value(args[0], [*bounds, *more])
        if origin in (Union, types.UnionType):
            (inner,) = [one for one in args if one is not type(None)]
            return self._optional(inner, bounds)
        if bounds and annotation is not int:
            raise TypeError(f"`{annotation}` has bounds; let pydantic read it")
        if origin is list:
            return self._list(args[0])
        if origin is dict and args[0] is str:
            return self._map(args[1])
        if annotation is int:
            return self._whole(bounds)
        if isinstance(annotation, type) and issubclass(annotation, Contract):
            return self.instance(annotation)
        if isinstance(annotation, type) and issubclass(annotation, StrEnum):
            members = self._use({member.value: member for member in annotation})
            value = self._new()
            self.line(f"{value} = {members}[{self._lengthy()}.decode()]")
            return value
        return self._plain(annotation)

    def _plain(self, annotation: Any) -> str:
        value = self._new()
        if annotation is str:
            self.line(f"{value} = {self._lengthy()}.decode()")
        elif annotation is bytes:
            self.line(f"{value} = {self._lengthy()}")
        elif annotation is bool:
            self.line(f"{value} = FLAGS[data[at]]")
            self.line("at += 1")
        elif annotation is float:
            self.line(f"({value},) = double(data, at)")
            self.line("at += 8")
        else:
            raise TypeError(f"`{annotation}` cannot be read here; let pydantic read it")
        return value

    def _lengthy(self) -> str:
        """Goes past a length and the bytes after it, and gives an expression for these, which holds until the next."""
        self.line("size = data[at]")
        with self._block("if size & 129:"):
            self.line("begin, at = extent(data, at)")
        with self._block("else:"):
            self.line("begin = at + 1")
            self.line("at = begin + (size >> 1)")
        return "data[begin:at]"

    def _raw(self) -> str:
        """Reads a number before its zig-zag is undone."""
        raw = self._new()
        self.line(f"{raw} = data[at]")
        with self._block(f"if {raw} > 127:"):
            self.line(f"{raw}, at = number(data, at)")
        with self._block("else:"):
            self.line("at += 1")
        return raw

    def _whole(self, bounds: list[Any]) -> str:
        raw, value = self._raw(), self._new()
        self.line(f"{value} = ({raw} >> 1) ^ -({raw} & 1)")
        for bound in bounds:
            if not isinstance(bound, Ge | Le):
                raise TypeError(f"`{bound}` is no bound that is checked here; let pydantic read it")
            broken = f"{value} < {bound.ge}" if isinstance(bound, Ge) else f"{value} > {bound.le}"
            self._give_up(broken)
        return value

    def _give_up(self, condition: str) -> None:
        with self._block(f"if {condition}:"):
            self.line("raise UnusualError")

    def _optional(self, inner: Any, bounds: list[Any]) -> str:
        value = self._new()
        with self._block("if data[at] == 0:"):
            self.line("at += 1")
            self.line(f"{value} = None")
        with self._block("else:"):
            self._give_up("data[at] != 2")
            self.line("at += 1")
            self.line(f"{value} = {self._value(inner, bounds)}")
        return value

    def _list(self, items: Any) -> str:
        values, count = self._new(), self._raw()
        self.line(f"{values} = []")
        with self._block(f"if {count}:"):
            self._give_up(f"{count} & 1")
            if items is float:
                self._doubles(values, count)
            elif items is int:
                self.line(f"{values}, at = longs(data, at, {count} >> 1)")
            elif isinstance(items, type) and items.__name__ in KEPT:
                self._kept(items, values, count)
            else:
                with self._block(f"for _ in range({count} >> 1):"):
                    self.line(f"{values}.append({self._value(items, [])})")
            self._close()
        return values

    def _close(self) -> None:
        """Goes past the end of an array or a map, which has one block."""
        self._give_up("data[at]")
        self.line("at += 1")

    def _doubles(self, values: str, count: str) -> None:
        self._give_up(f"at + ({count} << 2) > len(data)")
        self.line(f"{values} += doubles(f'<{{{count} >> 1}}d', data, at)")
        self.line(f"at += {count} << 2")

    def _kept(self, items: type[Contract], values: str, count: str) -> None:
        """Reads a list whose records are looked up by their bytes at the same place of the list before."""
        known = self._use([(b"", None)] * _MOST_KEPT)
        place, begin, there, item = (self._new() for _ in range(4))
        with self._block(f"for {place} in range({count} >> 1):"):
            self.line(f"{there}, {item} = {known}[{place} & {_MOST_KEPT - 1}]")
            with self._block(f"if {item} is not None and data.startswith({there}, at):"):
                self.line(f"at += len({there})")
            with self._block("else:"):
                self.line(f"{begin} = at")
                self.line(f"{item} = {self._value(items, [])}")
                with self._block(f"if at <= len(data) and at - {begin} <= {_LONGEST_KEPT}:"):  # not one that was cut
                    self.line(f"{known}[{place} & {_MOST_KEPT - 1}] = (data[{begin}:at], {item})")
            self.line(f"{values}.append({item})")

    def _map(self, items: Any) -> str:
        values, count = self._new(), self._raw()
        self.line(f"{values} = {{}}")
        with self._block(f"if {count}:"):
            self._give_up(f"{count} & 1")
            with self._block(f"for _ in range({count} >> 1):"):
                key = self._plain(str)
                self.line(f"{values}[{key}] = {self._value(items, [])}")
            self._close()
        return values


_NAMES: Final[Mapping[str, Any]] = {
    "Event": Event,
    "UnusualError": UnusualError,
    "number": _number,
    "extent": _extent,
    "double": struct.Struct("<d").unpack_from,
    "doubles": struct.unpack_from,
    "longs": _longs,
    "FLAGS": (False, True),
    "new": object.__new__,
    "put": object.__setattr__,
}
"""What the functions use."""

"""The feed of changed rows as server-sent events (WHATWG HTML, section 9.2), resumable by `Last-Event-ID`.

An id names, for each projection, the generation and the change number up to which the reader has come, such as
`incidents=1.42,services=1.7`. Changes are kept in the views themselves, each row once with its last change, so a reader
may come back after any time. When a view was rebuilt meanwhile its numbers begin anew: the reader gets `reset`.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from autopilot.projections.answers import Reset, RowChange
from autopilot.projections.projector import View

POLL_S: Final = 0.1
KEEP_ALIVE_S: Final = 15.0
CHUNK: Final = 200
RETRY_MS: Final = 1_000
_PART = re.compile(r"([a-z_]{1,40})=(\d{1,9})\.(\d{1,18})")

Marks = dict[str, tuple[int, int]]
"""Projection -> generation and change number."""


class MalformedIdError(ValueError):
    """The id was not given out by this feed: leave it out."""


def marks_of(last_event_id: str) -> Marks:
    """The marks in an id; none in an empty one. Raises `MalformedIdError`."""
    marks = {}
    for part in filter(None, last_event_id.split(",")):
        found = _PART.fullmatch(part.strip())
        if found is None:
            raise MalformedIdError(f"`{part[:80]}` is no part of an id, expected NAME=GENERATION.NUMBER")
        marks[found[1]] = (int(found[2]), int(found[3]))
    return marks


def id_of(marks: Mapping[str, tuple[int, int]]) -> str:
    """The id of these marks."""
    return ",".join(f"{name}={generation}.{number}" for name, (generation, number) in sorted(marks.items()))


@dataclass
class Feed:
    """One reader's feed: `begin` is where it resumes; without a mark a projection begins with what comes next."""

    views: Mapping[str, View]
    begin: Marks
    is_over: Callable[[], bool]

    async def events(self) -> AsyncIterator[str]:
        """The text of the stream, until `is_over`."""
        marks: Marks = {name: self.begin.get(name, view.mark) for name, view in self.views.items()}
        yield f"retry: {RETRY_MS}\nid: {id_of(marks)}\nevent: hello\ndata: {{}}\n\n"
        quiet_s = 0.0
        while not self.is_over():
            told = False
            for name, view in self.views.items():
                for text in await asyncio.to_thread(self._news, name, view, marks):
                    told = True
                    yield text
            if told:
                quiet_s = 0.0
                continue
            await asyncio.sleep(POLL_S)
            quiet_s += POLL_S
            if quiet_s >= KEEP_ALIVE_S:
                quiet_s = 0.0
                yield ": still here\n\n"

    def _news(self, name: str, view: View, marks: Marks) -> list[str]:
        generation, since = marks[name]
        news = view.news(generation, since, CHUNK)
        if news.changes is None:
            marks[name] = news.mark
            return [_event("reset", id_of(marks), Reset(id=id_of(marks), projection=name).model_dump())]
        told = []
        for change in news.changes:
            marks[name] = (generation, change.number)
            at = id_of(marks)
            body = RowChange(id=at, projection=name, key=change.key, row=change.row, as_of=news.as_of)
            told.append(_event("change", at, body.model_dump()))
        marks[name] = news.mark
        return told


def _event(kind: str, at: str, body: Mapping[str, object]) -> str:
    return f"id: {at}\nevent: {kind}\ndata: {json.dumps(body, ensure_ascii=False)}\n\n"

"""Laws of the store: it is a dictionary that survives, and its changes tell everything that has changed."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from autopilot.projections.rows import MemoryRows, Row, is_shown
from autopilot.projections.store import Standing, Store
from autopilot.streams.repetition import Heard, LastWords

KEYS = st.sampled_from(["a", "a/1", "b", "ä", "~note"])
PUT = st.tuples(st.just("put"), KEYS, st.integers(0, 5))
DELETE = st.tuples(st.just("delete"), KEYS, st.just(0))
COMMIT = st.tuples(st.just("commit"), st.just(""), st.just(0))
KILL = st.tuples(st.just("kill"), st.just(""), st.just(0))
HISTORIES = st.lists(st.one_of(PUT, PUT, DELETE, COMMIT, KILL), max_size=40)


def shown(rows: dict[str, Row]) -> list[Row]:
    return [row for key, row in sorted(rows.items()) if is_shown(key)]


def standing(step: int) -> Standing:
    """What was heard and the time by a step."""
    heard = Heard({f"event-{step}": step}, {"policy/policy": LastWords(step, [f"event-{step}"])})
    return Standing(heard={0: heard}, now_us={0: step})


class Run:
    """A store and the dictionary that it must equal: `rows` as folded, `kept` as committed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "store"
        self.store = Store(self.path)
        self.rows: dict[str, Row] = {}
        self.kept: dict[str, Row] = {}
        self.steps = self.kept_steps = 0

    def step(self, what: str, key: str, value: int) -> None:
        self.steps += 1
        if what == "put":
            self.rows[key] = {"value": value, "step": self.steps}
            self.store.put(key, dict(self.rows[key]))
        elif what == "delete":
            self.rows.pop(key, None)
            self.store.delete(key)
        elif what == "commit":
            self.store.commit({0: self.steps}, standing(self.steps))
            self.kept, self.kept_steps = dict(self.rows), self.steps
        else:  # what was not committed is lost, with its offsets
            self.store.close()
            self.store = Store(self.path)
            self.rows, self.steps = dict(self.kept), self.kept_steps


@settings(max_examples=60, deadline=None)
@given(HISTORIES)
def test_rows_offsets_and_what_was_heard_are_those_of_the_last_commit(history: list[tuple[str, str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        for step in history:
            run.step(*step)
            if step[1]:
                assert run.store.get(step[1]) == run.rows.get(step[1])
        content = run.store.content()
        assert content.rows == shown(run.kept)
        assert content.as_of == ({0: run.kept_steps} if run.kept_steps else {})
        assert run.store.standing() == (standing(run.kept_steps) if run.kept_steps else Standing())
        reference = MemoryRows()
        reference.rows = run.kept
        assert run.store.digest() == reference.digest()
        assert run.store.count() == len(content.rows)
        run.store.close()


@settings(max_examples=60, deadline=None)
@given(HISTORIES, st.integers(1, 3))
def test_who_follows_the_changes_has_the_rows(history: list[tuple[str, str, int]], limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        mirror: dict[str, Row] = {}
        seen = 0
        for step in history:
            run.step(*step)
            changes = run.store.changes(seen, limit)
            assert len({change.key for change in changes}) == len(changes)
            for change in changes:
                assert change.number > seen
                seen = change.number
                if change.row is None:
                    mirror.pop(change.key, None)
                else:
                    mirror[change.key] = change.row
        while changes := run.store.changes(seen, limit):
            seen = changes[-1].number
            for change in changes:
                mirror = {k: v for k, v in mirror.items() if k != change.key}
                if change.row is not None:
                    mirror[change.key] = change.row
        assert mirror == {key: row for key, row in run.kept.items() if is_shown(key)}
        run.store.close()

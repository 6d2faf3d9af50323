"""Work under way beside the poll loop. It outlives a lost session: what was begun is known until it is answered."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class Jobs:
    """Named work on a pool of threads; each name is worked on once until it is forgotten."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._futures: dict[str, Future[Any]] = {}

    def submit(self, name: str, work: Callable[..., Any], *args: Any) -> None:
        """Begins the work, unless work of this name was begun before."""
        if name not in self._futures:
            self._futures[name] = self._pool.submit(work, *args)

    def has(self, name: str) -> bool:
        """Whether work of this name was begun and is not forgotten."""
        return name in self._futures

    def result(self, name: str) -> Any:
        """What came of it; None while it is under way, and for what was never begun. Raises what the work raised."""
        future = self._futures.get(name)
        return future.result() if future is not None and future.done() else None

    def forget(self, name: str) -> None:
        """Drops the work's result, or lets it run without anyone waiting for it."""
        self._futures.pop(name, None)

    @property
    def under_way(self) -> bool:
        """Whether anything is being worked on now."""
        return any(not future.done() for future in self._futures.values())

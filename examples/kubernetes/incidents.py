"""Incidents of several services at the same time, each followed in its own domain."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from examples.kubernetes.fleet import NAMESPACES
from examples.kubernetes.stage import ClusterStage
from examples.shop.incident import VERIFIED_WITHIN_S, Incident
from examples.shop.watch import NotSeenError, Told

T = TypeVar("T")
TURNED_BACK = frozenset({"OutcomeRejected", "ExecutionRolledBack"})
"""What is no failure of an incident whose remedy is to be rejected."""
ROLLED_BACK_WITHIN_S = 180
REMEDY, ROLLBACK = "remedy", "rollback"


class ServiceIncident(Incident):
    """An incident of one service. With `expects_rejection` its first remedy does not help."""

    def __init__(
        self,
        stage: ClusterStage,
        service: str,
        title: str,
        provoke: Callable[[], None],
        *,
        expects_rejection: bool = False,
    ) -> None:
        self._domain = NAMESPACES[service]
        self.outcome = ""
        self._expected = TURNED_BACK if expects_rejection else frozenset[str]()
        super().__init__(stage, title, provoke)

    def await_rejection(self, done_within_s: float) -> Told:
        """Waits until the plan was carried out, judged not to help, and undone; gives the verdict."""
        self._await_in_plan("ExecutionCompleted", done_within_s)
        verdict = self._await_in_plan("OutcomeRejected", VERIFIED_WITHIN_S, lambda p: p.outcome.phase == REMEDY)
        self._await_in_plan("ExecutionRolledBack", ROLLED_BACK_WITHIN_S)
        return verdict

    def await_hand_over(self) -> Told:
        """Waits for the word that a person is needed, and until the rollback is verified; gives the former."""
        said = self._await(
            f"a person to be asked in {self.incident_id}",
            lambda told: self._is_mine(told, "NoPlanFound"),
            VERIFIED_WITHIN_S,
        )
        self._await_in_plan("OutcomeVerified", VERIFIED_WITHIN_S, lambda p: p.outcome.phase == ROLLBACK)
        return said

    def only(self, name: str) -> Any:
        """The one thing that was said of that type in this incident. Raises `NotSeenError`."""
        said = [told.payload for told in self._log.events[self._since :] if self._is_mine(told, name)]
        require(len(said) == 1, f"{len(said)} times `{name}` in {self.incident_id}, expected 1")
        return said[0]

    def _await(self, what: str, is_it: Callable[[Told], bool], timeout_s: float) -> Told:
        return super()._await(what, lambda told: told.envelope.domain == self._domain and is_it(told), timeout_s)

    def _adverse(self, told: Told) -> str:
        return "" if told.event.type in self._expected else super()._adverse(told)


def require(condition: bool, complaint: str) -> None:
    """Raises `NotSeenError` with the complaint unless the condition holds."""
    if not condition:
        raise NotSeenError(complaint)


def at_once(*stories: Callable[[], list[T]]) -> list[T]:
    """Tells the stories at the same time; gives what they give in the order of the stories.

    Raises what the first of them to fail raised, at once: the others end with the stage that they are told on.
    """
    ended: SimpleQueue[tuple[int, list[T] | Exception]] = SimpleQueue()

    def tell(number: int) -> None:
        try:
            ended.put((number, stories[number]()))
        except Exception as error:  # a thread has nobody to raise to: who waits for it does
            ended.put((number, error))

    for number in range(len(stories)):
        threading.Thread(target=tell, args=(number,), daemon=True).start()
    told: dict[int, list[T]] = {}
    while len(told) < len(stories):
        number, outcome = ended.get()
        if isinstance(outcome, Exception):
            raise outcome
        told[number] = outcome
    return [one for number in range(len(stories)) for one in told[number]]

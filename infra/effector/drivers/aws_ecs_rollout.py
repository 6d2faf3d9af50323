"""How a deployment of an ECS service goes, told from one look at the service after another."""

from autopilot.infra.effector.drivers.aws_ecs_client import Deployment, Service

COMPLETED = "COMPLETED"
FAILED = "FAILED"


class Rollout:
    """The deployment that a service works towards when this is made, and those of its release that take its place.

    A look that does not know of it yet tells nothing: what the API tells may be older than what it was told.
    """

    def __init__(self, service: Service) -> None:
        self._release = service.release
        self._ours = {service.current.id}
        self._older = {one.id for one in service.deployments} - self._ours
        self._seen = False

    def is_over(self, now: Service) -> bool:
        """Whether it needs no more waiting, for good or ill."""
        self._seen = self._seen or any(one.id in self._ours for one in now.deployments)
        if not self._seen:
            return False
        if self._given_up(now) or self._is_gone(now):
            return True
        self._ours.add(now.current.id)
        return now.current.rollout == COMPLETED and now.settled

    def is_completed(self, now: Service) -> bool:
        """Whether it ended as it was meant to."""
        return not self._given_up(now) and not self._is_gone(now)

    def is_left_as_it_is(self, now: Service) -> bool:
        """Whether it was given up and the service works towards it all the same."""
        return now.current.id in self._ours and bool(self._given_up(now))

    def is_superseded(self, now: Service) -> bool:
        """Whether another writer's deployment took its place."""
        return self._is_gone(now) and not self._given_up(now) and now.current.id not in self._older

    def reason(self, now: Service) -> str:
        """Why it was given up, in the words of ECS."""
        return "; ".join(one.reason for one in self._given_up(now)) or "ECS gives no reason"

    def _given_up(self, now: Service) -> list[Deployment]:
        return [one for one in now.deployments if one.id in self._ours and one.rollout == FAILED]

    def _is_gone(self, now: Service) -> bool:
        return now.release != self._release or now.current.id in self._older

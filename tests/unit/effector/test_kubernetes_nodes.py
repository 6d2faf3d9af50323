"""A node writes itself every few seconds: a change of it that comes between is made anew, and tried out anew."""

from typing import Any

import pytest

from autopilot.infra.effector.drivers.kubernetes_client import KubernetesClient
from autopilot.infra.effector.drivers.kubernetes_nodes import WRITE_TRIES, Nodes
from autopilot.infra.effector.port import ConflictError, Difference

READY = {"unschedulable": "false", "evictable": "0"}


class Busy(KubernetesClient):
    """A node that has changed whenever it is written, so many times."""

    def __init__(self, conflicts: int) -> None:
        self.conflicts, self.written = conflicts, list[tuple[bool, bool]]()

    def node(self, name: str) -> dict[str, Any]:
        return {"metadata": {"name": name, "resourceVersion": str(self.conflicts)}, "spec": {}}

    def pods_on(self, node: str) -> list[dict[str, Any]]:
        return []

    def set_unschedulable(self, node: dict[str, Any], value: bool, *, dry_run: bool = False) -> dict[str, Any]:
        if self.conflicts:
            self.conflicts -= 1
            raise ConflictError("409")
        self.written.append((value, dry_run))
        return node


def test_a_difference_is_tried_out_until_the_node_holds_still() -> None:
    busy = Busy(WRITE_TRIES - 1)
    found = Nodes(busy, deletes_local_data=False).diff("cordon", "node-1", READY)
    assert (found, busy.written) == ([Difference("unschedulable", "false", "true")], [(True, True)])


@pytest.mark.parametrize("verb", ["cordon", "drain"])
def test_a_node_that_never_holds_still_is_a_conflict(verb: str) -> None:
    busy = Busy(WRITE_TRIES)
    with pytest.raises(ConflictError):
        Nodes(busy, deletes_local_data=False).diff(verb, "node-1", READY)
    assert busy.written == []

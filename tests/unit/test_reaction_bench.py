"""What the benchmark of the whole loop reads out of a cluster's own history, and which services it breaks when."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.grounds import Kubernetes, Mark
from bench.loop_latency import PARTITIONS
from bench.reaction import REHEARSAL_S, UP_WITHIN_S, Course

TEN_OCLOCK_US = 1_772_359_200_000_000


def logged(at: str, message: str) -> str:
    escaped = message.replace('"', '\\"')
    return f'time="{at}" level=info msg="{escaped}"\n'


def made(at: str, name: str, container: str) -> str:
    what = f"&ContainerMetadata{{Name:{name},Attempt:0,}}"
    began = logged(at, f'CreateContainer within sandbox "s" for container {what}')
    return began + logged(at, f'CreateContainer within sandbox "s" for {what} returns container id "{container}"')


def started(at: str, container: str, how: str = " returns successfully") -> str:
    return logged(at, f'StartContainer for "{container}"{how}')


def audited(name: str, at: str, *, resource: str = "deployments", code: int = 200, query: str = "") -> str:
    event: dict[str, Any] = {
        "requestURI": f"/apis/apps/v1/namespaces/bench/{resource}/{name}?fieldManager=autopilot-restart{query}",
        "objectRef": {"resource": resource, "namespace": "bench", "name": name},
        "responseStatus": {"code": code},
        "stageTimestamp": at,
    }
    return json.dumps(event) + "\n"


def test_a_container_of_a_service_runs_from_when_containerd_has_started_it(tmp_path: Path) -> None:
    log = [
        made("2026-03-01T10:00:01.6Z", "cart", "c1"),
        started("2026-03-01T10:00:01.7Z", "c1", how=""),
        started("2026-03-01T10:00:01.750000999Z", "c1"),
        made("2026-03-01T10:00:02.6Z", "cart-blue", "c2"),
        started("2026-03-01T10:00:02.7Z", "c2"),
        made("2026-03-01T11:00:03.6+01:00", "cart", "c3"),
        started("2026-03-01T11:00:03.7+01:00", "c3"),
        made("2026-03-01T10:00:04.6Z", "cart", "c4"),
        started("2026-03-01T10:00:04.7Z", "c4", how=" failed"),
    ]
    (tmp_path / "containerd.log").write_text("".join(log))
    assert Kubernetes(tmp_path).runs_us("cart") == [TEN_OCLOCK_US + 1_750_000, TEN_OCLOCK_US + 3_700_000]


def test_a_restart_is_accepted_when_the_api_server_has_answered_the_write_and_not_a_preview_of_it(
    tmp_path: Path,
) -> None:
    log = [
        audited("cart", "2026-03-01T10:00:01.000001Z", query="&dryRun=All"),
        audited("cart", "2026-03-01T10:00:01.000002Z", code=409),
        audited("cart", "2026-03-01T10:00:01.000003Z"),
        audited("cart-blue", "2026-03-01T10:00:01.000004Z"),
        audited("cart", "2026-03-01T10:00:01.000005Z", resource="replicasets"),
    ]
    (tmp_path / "audit.log").write_text("".join(log))
    assert Kubernetes(tmp_path).accepted_us("cart") == [TEN_OCLOCK_US + 1_000_003]


def test_before_anything_was_written_the_cluster_tells_of_no_restart(tmp_path: Path) -> None:
    assert Kubernetes(tmp_path).accepted_us("cart") == []


# -- which services break when ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scripted:
    """A ground on which services start when a test says so."""

    starts: dict[str, list[int]] = field(default_factory=dict)
    name: str = "scripted"
    every_s: float = 2.0
    entry: Mapping[str, object] = field(default_factory=dict)

    @property
    def marks(self) -> Sequence[Mark]:
        return (Mark("started", lambda service: self.starts.get(service, [])),)

    def target(self, service: str) -> str:
        return service


NAMES = [f"svc-{number}" for number in range(PARTITIONS + 2)]
FIRST, COUNTED = NAMES[:PARTITIONS], NAMES[PARTITIONS:]


def bad_in(course: Course, second: int) -> list[str]:
    return [name for name in NAMES if course.is_bad(name, second, second * 1_000_000)]


def test_until_the_loop_is_up_only_the_first_services_are_broken() -> None:
    course = Course(Scripted(), NAMES)
    assert bad_in(course, REHEARSAL_S - 1) == []
    assert course.goes_on(REHEARSAL_S)
    assert bad_in(course, REHEARSAL_S) == FIRST
    assert course.goes_on(REHEARSAL_S + UP_WITHIN_S)
    assert bad_in(course, REHEARSAL_S + UP_WITHIN_S) == FIRST


def test_a_loop_that_does_not_come_up_ends_the_benchmark() -> None:
    course = Course(Scripted(), NAMES)
    bad_in(course, REHEARSAL_S)
    with pytest.raises(RuntimeError, match="svc-0"):
        course.goes_on(REHEARSAL_S + UP_WITHIN_S + 1)


def test_then_the_others_break_one_by_one_and_each_stays_broken_until_it_runs_anew() -> None:
    ground = Scripted()
    course = Course(ground, NAMES)
    bad_in(course, REHEARSAL_S)
    ground.starts.update({name: [1, REHEARSAL_S * 1_000_000 + 1] for name in FIRST})
    assert bad_in(course, REHEARSAL_S + 1) == []
    assert course.goes_on(REHEARSAL_S + 2)
    second = 2 * REHEARSAL_S + 2
    assert [bad_in(course, second + passed) for passed in range(3)] == [COUNTED[:1], COUNTED[:1], COUNTED]
    ground.starts[COUNTED[0]] = [(second + 2) * 1_000_000 + 1]
    assert bad_in(course, second + 3) == COUNTED[1:]
    assert course.goes_on(second + 4)
    ground.starts[COUNTED[1]] = [(second + 4) * 1_000_000]
    assert bad_in(course, second + 5) == []
    assert not course.goes_on(second + 6)


def test_a_service_counts_as_broken_from_its_first_bad_sample() -> None:
    course = Course(Scripted(), NAMES)
    bad_in(course, REHEARSAL_S)
    bad_in(course, REHEARSAL_S + 1)
    assert course.broke_us == dict.fromkeys(FIRST, REHEARSAL_S * 1_000_000)

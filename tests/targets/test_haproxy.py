"""The HAProxy driver against a real HAProxy with real servers behind it."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from systems.haproxy import ANSWERS_WITHIN_S, BACKEND, SPARE, Haproxy, haproxy
from waiting import eventually

from autopilot.infra.effector.drivers.haproxy import HaproxyDriver, HaproxySettings
from autopilot.infra.effector.port import (
    Applied,
    ConflictError,
    DeniedError,
    MissingError,
    PermanentError,
    TargetTimeoutError,
    TransientError,
)
from autopilot.schemas.events.planner import Action


class Edge:
    """A driver before a running HAProxy, and shorthands."""

    def __init__(self, running: Haproxy, **settings: Any) -> None:
        self.system = running
        defaults: dict[str, Any] = {
            "url": running.url,
            "backends": (BACKEND, "be_other"),
            "networks": ("127.0.0.0/8",),
            "check": "check inter 100ms",
            "timeout_s": ANSWERS_WITHIN_S,
        }
        self.driver = HaproxyDriver(HaproxySettings(**defaults | settings))

    def with_settings(self, **settings: Any) -> "Edge":
        return Edge(self.system, **settings)

    def state(self, *keys: str) -> dict[str, str]:
        state = self.driver.observe(BACKEND).state
        return {key: state[key] for key in keys or state}

    def shares(self) -> dict[str, str]:
        return {key.removeprefix("percent."): v for key, v in self.state().items() if key.startswith("percent.")}

    def run(self, verb: str, timeout_s: float = ANSWERS_WITHIN_S, **parameters: str) -> Applied:
        return self.driver.apply(act(verb, **parameters), self.driver.observe(BACKEND), "key", timeout_s)

    def changes(self, verb: str, **parameters: str) -> list[tuple[str, str, str]]:
        return [tuple(d) for d in self.driver.diff(act(verb, **parameters), self.driver.observe(BACKEND))]

    def answered(self, requests: int) -> Counter[str]:
        return Counter(self.system.get() for _ in range(requests))


def act(verb: str, target: str = BACKEND, **parameters: str) -> Action:
    return Action(driver="haproxy", verb=verb, target=target, parameters=parameters)


@pytest.fixture
def edge() -> Iterator[Edge]:
    with haproxy() as running:
        yield Edge(running)


def test_it_observes_what_is_declared(edge: Edge) -> None:
    ports = edge.system.backends.ports
    assert edge.state() == {
        "servers": "canary-1,stable-1,stable-2",
        "addresses": ",".join(f"127.0.0.1:{ports[name]}" for name in ("canary-1", "stable-1", "stable-2")),
        "weights": "0,1,1",
        "sizes": "0,1,1",
        "states": "ready,ready,ready",
        "percent.canary-1": "0",
        "percent.stable-1": "50",
        "percent.stable-2": "50",
        "serving": "2",
    }


def test_a_diff_changes_nothing(edge: Edge) -> None:
    before = edge.state()
    assert edge.changes("split", servers="canary-1", percent="5") == [
        ("weight of canary-1", "0", "2"),
        ("weight of stable-1", "1", "19"),
        ("weight of stable-2", "1", "19"),
    ]
    assert edge.changes("drain", server="stable-1") == [("state of stable-1", "ready", "drain")]
    assert edge.changes("remove_server", server="stable-1")[0][0] == "server stable-1"
    assert (edge.state(), edge.system.relay.changes) == (before, [])


def test_a_split_gives_the_share_that_it_says(edge: Edge) -> None:
    assert edge.run("split", servers="canary-1", percent="5").changed
    assert edge.shares() == {"canary-1": "5", "stable-1": "47.5", "stable-2": "47.5"}
    assert abs(edge.answered(400)["canary-1"] - 20) <= 4
    assert edge.run("split", servers="canary-1", percent="25").changed
    assert abs(edge.answered(400)["canary-1"] - 100) <= 4
    assert edge.run("split", servers="canary-1", percent="100").changed
    assert edge.answered(20) == {"canary-1": 20}
    assert edge.run("split", servers="canary-1", percent="0").changed
    assert edge.answered(20).keys() == {"stable-1", "stable-2"}


def test_a_split_that_is_there_changes_nothing(edge: Edge) -> None:
    edge.run("split", servers="canary-1", percent="5")
    done = list(edge.system.relay.changes)
    assert not edge.run("split", servers="canary-1", percent="5").changed
    assert edge.changes("split", servers="canary-1", percent="5") == []
    assert edge.system.relay.changes == done


@pytest.mark.parametrize(("start", "percent"), [("35", "40"), ("40", "35"), ("5", "100"), ("100", "0"), ("0", "50")])
def test_a_share_is_never_above_both_its_ends_on_its_way(edge: Edge, start: str, percent: str) -> None:
    edge.run("split", servers="canary-1", percent=start)
    done = len(edge.system.relay.changes)
    weights = dict(zip(*(edge.state(key)[key].split(",") for key in ("servers", "weights")), strict=True))
    edge.run("split", servers="canary-1", percent=percent)
    seen = []
    for command in edge.system.relay.changes[done:]:
        name, weight = command.rpartition("/")[2].split()
        weights[name] = weight
        seen.append(100 * int(weights["canary-1"]) / sum(map(int, weights.values())))
    assert seen
    assert max(seen) <= max(int(start), int(percent))


def test_no_split_takes_the_last_server_that_gets_requests(edge: Edge) -> None:
    edge.system.backends.shut("canary-1")
    eventually(lambda: "canary-1" not in edge.answered(4) and "DOWN" in edge.system.tell("show stat"), ANSWERS_WITHIN_S)
    with pytest.raises(TransientError, match="`canary-1` is not up"):
        edge.run("split", servers="canary-1", percent="5", timeout_s=0.3)
    assert edge.state("weights") == {"weights": "0,1,1"}


def test_a_split_waits_for_a_server_that_comes_up(edge: Edge) -> None:
    edge.system.backends.shut("canary-1")
    eventually(lambda: "DOWN" in edge.system.tell("show stat"), ANSWERS_WITHIN_S)
    threading.Timer(0.5, edge.system.backends.open, ["canary-1"]).start()
    assert edge.run("split", servers="canary-1", percent="5").changed
    assert edge.shares()["canary-1"] == "5"


def test_requests_are_not_given_back_to_servers_that_are_not_up_yet(edge: Edge) -> None:
    edge.run("split", servers="canary-1", percent="100")
    for stable in ("stable-1", "stable-2"):
        edge.system.backends.shut(stable)
    eventually(lambda: edge.system.tell("show stat").count("DOWN") == 2, ANSWERS_WITHIN_S)
    with pytest.raises(TransientError, match="2 could, and 2 of them are not up"):
        edge.run("split", servers="canary-1", percent="0", timeout_s=0.3)
    assert edge.answered(2) == {"canary-1": 2}
    edge.system.backends.open("stable-1")
    assert edge.run("split", servers="canary-1", percent="0").changed


def test_another_writers_weight_is_a_conflict(edge: Edge) -> None:
    before = edge.driver.observe(BACKEND)
    edge.system.tell(f"set weight {BACKEND}/stable-1 7")
    with pytest.raises(ConflictError, match="weight of `stable-1` was changed from 1 to 7"):
        edge.driver.apply(act("split", servers="canary-1", percent="5"), before, "key", 1.0)
    assert edge.system.relay.changes == []


def test_a_split_that_was_cut_short_is_completed(edge: Edge) -> None:
    before = edge.driver.observe(BACKEND)
    edge.system.relay.changes_left = 1
    split = act("split", servers="canary-1", percent="5")
    with pytest.raises(TargetTimeoutError, match="may have done it"):
        edge.driver.apply(split, before, "key", 1.0)
    edge.system.relay.heal()
    assert edge.state("weights") == {"weights": "0,19,1"}
    assert edge.driver.happened(split, before.state, edge.driver.observe(BACKEND)) is False
    assert edge.driver.apply(split, before, "key", 1.0).changed
    assert edge.shares()["canary-1"] == "5"
    assert edge.driver.happened(split, before.state, edge.driver.observe(BACKEND)) is True


@contextmanager
def slow_request(edge: Edge) -> Iterator[list[str]]:
    """While it lasts, stable-1 works on a request; gives who has answered it, which is told after the end."""
    edge.run("set_weight", server="stable-2", weight="0")
    with ThreadPoolExecutor() as pool:
        answered: list[str] = []
        request = pool.submit(edge.system.get, "/slow")
        try:
            assert edge.system.backends.slow_one() == "stable-1"
            edge.run("set_weight", server="stable-2", weight="1")
            yield answered
        finally:
            edge.system.backends.let_go()
        answered.append(request.result())


def test_a_drained_server_ends_what_it_has_begun(edge: Edge) -> None:
    with ThreadPoolExecutor() as pool:
        with slow_request(edge) as answered:
            drain = pool.submit(edge.run, "drain", server="stable-1")
            eventually(lambda: edge.state("states") == {"states": "ready,draining,ready"}, ANSWERS_WITHIN_S)
            assert not drain.done()
        assert drain.result().changed
    assert answered == ["stable-1"]
    assert edge.state("states", "serving") == {"states": "ready,drain,ready", "serving": "1"}
    assert edge.answered(4) == {"stable-2": 4}
    assert edge.run("ready", server="stable-1").changed
    assert edge.answered(4) == {"stable-1": 2, "stable-2": 2}


def test_a_drain_that_takes_too_long_is_a_timeout(edge: Edge) -> None:
    with slow_request(edge):
        with pytest.raises(TargetTimeoutError, match="`stable-1` has 1 requests under way"):
            edge.run("drain", server="stable-1", timeout_s=0.1)
        assert edge.state("states") == {"states": "ready,draining,ready"}


def test_the_last_server_is_never_taken_out(edge: Edge) -> None:
    edge.run("drain", server="stable-1")
    for verb in ("drain", "remove_server"):
        with pytest.raises(PermanentError, match="the bound `min_serving` is 1"):
            edge.run(verb, server="stable-2")
    with pytest.raises(PermanentError, match="would leave 0 of 3"):
        edge.run("set_weight", server="stable-2", weight="0")
    assert edge.answered(2) == {"stable-2": 2}
    edge.run("ready", server="stable-1")
    with pytest.raises(PermanentError, match="the bound `min_serving` is 2"):
        edge.with_settings(min_serving=2).run("split", servers="stable-2", percent="100")


def test_servers_come_and_go(edge: Edge) -> None:
    address = f"127.0.0.1:{edge.system.backends.ports[SPARE]}"
    assert edge.run("add_server", server=SPARE, address=address, weight="2").changed
    assert not edge.run("add_server", server=SPARE, address=address, weight="2").changed
    assert edge.answered(8)[SPARE] == 4
    with pytest.raises(ConflictError, match="already"):
        edge.run("add_server", server=SPARE, address="127.0.0.2:80")
    assert edge.run("remove_server", server=SPARE).changed
    assert not edge.run("remove_server", server=SPARE).changed
    assert edge.state("servers") == {"servers": "canary-1,stable-1,stable-2"}


@pytest.mark.parametrize(("done", "left"), [("drain", ["state maint", "del server"]), ("maint", ["del server"])])
def test_a_removal_goes_on_where_an_earlier_one_was_cut_short(edge: Edge, done: str, left: list[str]) -> None:
    edge.system.tell(f"set server {BACKEND}/stable-1 state {done}")
    assert edge.run("remove_server", server="stable-1").changed
    changes = edge.system.relay.changes
    assert [expected in change for expected, change in zip(left, changes, strict=True)] == [True] * len(left)


@pytest.mark.parametrize("address", ["10.0.0.1:80", "127.0.0.1:80", "example.org:8080", "127.0.0.1:8080; disable"])
def test_servers_are_added_within_the_bounds_alone(edge: Edge, address: str) -> None:
    narrow = edge.with_settings(ports=(8_000, 9_000))
    with pytest.raises(PermanentError, match="`address` is"):
        narrow.run("add_server", server=SPARE, address=address)
    assert edge.system.relay.changes == []


@pytest.mark.parametrize(
    ("verb", "parameters", "complaint"),
    [
        ("split", {"servers": "canary-1", "percent": "101"}, "out of the bounds 0 to 100"),
        ("split", {"servers": "canary-1", "percent": "a"}, "expected a whole number"),
        ("set_weight", {"server": "stable-1", "weight": "257"}, "out of the bounds 0 to 256"),
        ("split", {"servers": "canary-1", "percent": "11"}, "`percent` is 11 after 0, .* `max_step_percent` is 10"),
        ("add_server", {"server": "a b", "address": "127.0.0.1:80"}, "`server` is `a b`"),
    ],
)
def test_what_is_out_of_bounds_is_refused(edge: Edge, verb: str, parameters: dict[str, str], complaint: str) -> None:
    with pytest.raises(PermanentError, match=complaint):
        edge.with_settings(max_step_percent=10).run(verb, **parameters)
    assert edge.system.relay.changes == []


def test_a_backend_that_is_not_allowed_is_not_touched(edge: Edge) -> None:
    with pytest.raises(PermanentError, match=f"`target` is `{BACKEND}`, the bound `backends` is be_other"):
        edge.with_settings(backends=("be_other",)).driver.observe(BACKEND)


def test_what_is_not_there_is_missing(edge: Edge) -> None:
    with pytest.raises(MissingError, match="Can't find backend"):
        edge.driver.observe("be_other")
    for verb, name in (("split", "servers"), ("drain", "server"), ("ready", "server"), ("set_weight", "server")):
        with pytest.raises(MissingError, match="no server `nobody`"):
            edge.run(verb, **{name: "nobody", "percent": "5", "weight": "1"})


def test_a_socket_of_a_lower_level_reads_and_is_denied_changes(edge: Edge) -> None:
    reader = edge.with_settings(url=f"unix://{edge.system.balancer.user_socket}")
    assert reader.state("serving") == {"serving": "2"}
    with pytest.raises(DeniedError, match="Permission denied"):
        reader.run("split", servers="canary-1", percent="5")
    assert edge.system.relay.changes == []


def test_one_that_does_not_answer_and_one_that_is_not_there(edge: Edge) -> None:
    impatient = edge.with_settings(timeout_s=0.2)
    edge.system.relay.deaf = True
    with pytest.raises(TargetTimeoutError, match="does not answer"):
        impatient.driver.observe(BACKEND)
    edge.system.relay.heal()
    with pytest.raises(TransientError, match="cannot be reached"):
        edge.with_settings(url="tcp://127.0.0.1:1").driver.observe(BACKEND)
    with pytest.raises(TransientError, match="cannot be reached"):
        edge.with_settings(url="unix:///nowhere.sock").driver.observe(BACKEND)


REVERSIBLE = [
    ("split", {"servers": "canary-1", "percent": "25"}),
    ("set_weight", {"server": "stable-1", "weight": "9"}),
    ("drain", {"server": "stable-1"}),
    ("remove_server", {"server": "stable-1"}),
]


@pytest.mark.parametrize(("verb", "parameters"), REVERSIBLE, ids=[verb for verb, _ in REVERSIBLE])
def test_a_revert_puts_back_what_was_changed(edge: Edge, verb: str, parameters: dict[str, str]) -> None:
    edge.run("set_weight", server="stable-1", weight="4")
    before = edge.state()
    edge.run(verb, **parameters)
    assert edge.state() != before
    assert edge.driver.revert(act(verb, **parameters), before, "key", ANSWERS_WITHIN_S).changed
    assert edge.state() == before
    assert not edge.driver.revert(act(verb, **parameters), before, "key", ANSWERS_WITHIN_S).changed


def test_a_revert_takes_out_what_was_added_and_drains_what_was_made_ready(edge: Edge) -> None:
    before = edge.state()
    address = f"127.0.0.1:{edge.system.backends.ports[SPARE]}"
    edge.run("add_server", server=SPARE, address=address)
    assert edge.driver.revert(act("add_server", server=SPARE, address=address), before, "key", ANSWERS_WITHIN_S).changed
    assert edge.state() == before
    edge.run("drain", server="stable-1")
    before = edge.state()
    edge.run("ready", server="stable-1")
    assert edge.driver.revert(act("ready", server="stable-1"), before, "key", ANSWERS_WITHIN_S).changed
    assert edge.state() == before


def test_a_revert_does_not_overwrite_another_writer(edge: Edge) -> None:
    before = edge.state()
    edge.run("split", servers="canary-1", percent="25")
    edge.system.tell(f"set weight {BACKEND}/canary-1 200")
    with pytest.raises(ConflictError, match="weight of `canary-1` was changed"):
        edge.driver.revert(act("split", servers="canary-1", percent="25"), before, "key", 1.0)


def test_an_address_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="should match pattern"):
        HaproxyDriver(HaproxySettings(url=f"http://{tmp_path}", backends=(BACKEND,)))
